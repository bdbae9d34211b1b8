package booking

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/lastunit/lastunit/inventory"
)

// place is a server that Redis is spread over.
type place struct {
	name    string // empty if there is only one, or nobody knows which it is
	circuit circuit

	mu     sync.Mutex
	sample []string // SKUs that were on it when Redis was asked, at random
	met    int      // of how many
}

// sampled is how many SKUs a place remembers, as it can't go through all there are.
const sampled = 64

// meet takes note of a SKU that was not on the place before.
func (p *place) meet(sku string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.met++
	if len(p.sample) < sampled {
		p.sample = append(p.sample, sku)
	} else if n := rand.IntN(p.met); n < sampled {
		p.sample[n] = sku
	}
}

// some are SKUs that were on it, in no order.
func (p *place) some() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	some := slices.Clone(p.sample)
	rand.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
	return some
}

func newPlace(name string) *place { return &place{name: name, circuit: circuit{several: true}} }

// places are all of them that SKUs are, or were, on.
type places struct {
	locator inventory.Locator // nil if there is only one
	one     *place
	all     sync.Map // of *place, by name
	cut     sync.Map // has the SKUs whose own circuit is open
}

// named are the attributes of a line in the log, with the name of the server before them.
func named(server string, attributes ...any) []any {
	if server == "" {
		return attributes
	}
	return append([]any{"server", server}, attributes...)
}

// of is the place of a SKU now: a failover or a resharding moves it.
func (p *places) of(ctx context.Context, sku string) *place {
	if p.locator == nil {
		return p.one
	}
	name := p.locator.Locate(ctx, sku)
	if name == "" {
		return p.one
	}
	if at, there := p.all.Load(name); there {
		return at.(*place)
	}
	at, _ := p.all.LoadOrStore(name, newPlace(name))
	return at.(*place)
}

// each calls do with every place.
func (p *places) each(do func(*place)) {
	do(p.one)
	p.all.Range(func(_, at any) bool {
		do(at.(*place))
		return true
	})
}

// cutsPlace takes note of a server's circuit that has opened.
func (s *Service) cutsPlace(ctx context.Context, on *place, sku string, because error) {
	s.cutOff.Add(1)
	s.log.WarnContext(ctx, "lastunit: Redis does not answer: "+s.meanwhile(), on.named("sku", sku, "error", because)...)
}

func (p *place) named(attributes ...any) []any { return named(p.name, attributes...) }

// tryPlace says why a server is not to be asked, nil if it is, and tries it where it is
// time to.
func (s *Service) tryPlace(ctx context.Context, on *place, sku string, now time.Time) (because error) {
	s.suspect(&on.circuit, now, func(ctx context.Context) error {
		_, err := s.config.Inventory.Stock(ctx, s.anyOn(on, sku))
		return err
	}, func() { s.cutsPlace(ctx, on, sku, errHangs) })
	try, because := on.circuit.check(now)
	if try {
		s.tryAgain(&on.circuit, func(ctx context.Context) error { return s.bringToRedis(ctx, s.anyOn(on, sku)) }, func(after time.Duration) {
			s.cutOff.Add(-1)
			s.log.Info("lastunit: Redis answers again", on.named("after", after)...)
		})
	}
	return because
}

// anyOn is a SKU that is on the server, at random; one that is not to blame for its
// circuit, if there is any: what fails may be theirs alone.
func (s *Service) anyOn(on *place, sku string) string {
	blamed := on.circuit.blamed()
	for _, other := range on.some() {
		if at := s.shelf.spot(other); at != nil && at.on.Load() == on && !slices.Contains(blamed[:], other) {
			return other
		}
	}
	return sku
}

// askAgain asks the servers again whose circuits are open, also where nobody wants to
// buy: else the next buyers would be refused, however long ago that was.
func (s *Service) askAgain(ctx context.Context) (did bool, _ error) {
	now := time.Now()
	_ = s.tryPostgres(now) // nobody here wants to buy
	if lasts, tell := s.postgres.lasts(now); tell {
		s.log.WarnContext(ctx, "lastunit: Postgres still does not answer", "for", lasts, "error", s.postgres.whyCut())
	}
	if s.cutOff.Load() == 0 {
		return false, nil
	}
	s.places.each(func(on *place) {
		if sku, there := s.stillOn(ctx, on); there {
			_ = s.tryPlace(ctx, on, sku, now)
		} else if on.circuit.forget(now) {
			s.cutOff.Add(-1) // all that was on it is elsewhere
		}
		if lasts, tell := on.circuit.lasts(now); tell {
			s.log.WarnContext(ctx, "lastunit: Redis still does not answer", on.named("for", lasts, "error", on.circuit.whyCut())...)
		}
	})
	s.places.cut.Range(func(key, _ any) bool {
		sku := key.(string)
		_ = s.tryRedis(ctx, sku, s.shelf.spot(sku), s.places.of(ctx, sku), now)
		return true
	})
	return false, nil
}

// stillOn is a SKU that is on the server now.
func (s *Service) stillOn(ctx context.Context, on *place) (sku string, there bool) {
	for _, sku := range on.some() {
		if s.places.of(ctx, sku) == on {
			return sku, true
		}
	}
	return "", false
}
