package booking

import (
	"context"
	"time"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// Losers are the crowd. Once Postgres has said that a SKU is sold out, requests
// for it are refused in this process, for SoldOutFor at most, without asking
// anybody. Nobody is refused whose order may be there: the order IDs of the SKU
// are in a filter, read from its movements, and who is in it is looked up.
//
// Nor may the order have come in since, or have units in hand: what comes back to a
// SKU that was sold out is neither deducted nor committed again before
// order.Reopening has passed, by the clocks of Redis and Postgres, and by then what
// this process was told is forgotten.

// soldOut is what a process knows of a SKU that is sold out.
type soldOut struct {
	store  string    // whose it is
	over   int64     // units allocated beyond the capacity
	asked  time.Time // before Postgres was
	filter *filter   // of the orders there are; nil if these are not known
}

// turnedAway finds a SKU of the order that is known to be sold out, and says
// whether the order ID is known to be new too. Then nobody need be asked.
func (s *Service) turnedAway(o *order.Order, minted bool) (_ *inventory.StockError, unheardOf bool) {
	for _, line := range o.Lines {
		sku := line.SKU
		known, draws := s.knownSoldOut(sku)
		for i := 0; known == nil && i < len(draws); i++ {
			sku = draws[i].SKU
			known, _ = s.knownSoldOut(sku)
		}
		if known == nil {
			continue
		}
		requested, right := s.requested(o, sku)
		if !right {
			return nil, false
		}
		unheardOf = minted || known.filter != nil && !known.filter.has(o.ID) && !s.acceptedHere(o.ID)
		// Of several lines the others may fall short too: Postgres tells, with the ID.
		return &inventory.StockError{SKU: sku, Requested: requested, Over: known.over}, unheardOf && len(o.Lines) == 1
	}
	return nil, false
}

// acceptedHere says whether this process may have accepted an order that neither Redis
// could tell of, when it was asked whether the SKU is sold out, nor Postgres.
func (s *Service) acceptedHere(id string) bool { return s.cutOff.Load() > 0 && s.backlog.has(id) }

// requested is how many units of a SKU an order asks for, as a line and as a pool
// of others. It is not right if another SKU is not known here or can't be ordered, or
// if the order asks for too many of one: these are other errors.
func (s *Service) requested(o *order.Order, sku string) (units int64, right bool) {
	drawing := false
	for _, line := range o.Lines {
		k, met := s.shelf.get(line.SKU)
		if !met || k.poolOnly {
			return 0, false
		}
		drawing = drawing || k.draws != nil
		if line.SKU == sku {
			units = line.Quantity
		}
	}
	if !drawing {
		return units, true
	}
	draws, err := s.shelf.drawsOf(o.Lines)
	if err != nil {
		return 0, false
	}
	for _, unit := range (order.Order{Lines: o.Lines, Draws: draws}).Units() {
		if unit.SKU == sku {
			units = unit.Quantity
		}
	}
	return units, true
}

// knownSoldOut is what is known of a SKU now, nil if that may not be used any more,
// and what it draws on pools. It is asked for anew before that, while somebody
// wants to know.
func (s *Service) knownSoldOut(sku string) (_ *soldOut, draws []order.Line) {
	at := s.shelf.spot(sku)
	if at == nil {
		return nil, nil
	}
	draws = at.now.Load().draws
	known := at.soldOut.Load()
	if known == nil {
		return nil, draws
	}
	age := time.Since(known.asked)
	if age >= s.config.SoldOutFor/2 {
		s.learnSoldOut(sku, at)
	}
	if age >= s.config.SoldOutFor || known.store != at.now.Load().store {
		return nil, draws
	}
	return known, draws
}

// learnSoldOut finds out in the background whether the SKU is sold out, unless
// somebody does. The next loser finds what it learns.
func (s *Service) learnSoldOut(sku string, at *spot) {
	if s.config.SoldOutFor < 0 || !at.learning.CompareAndSwap(false, true) {
		return
	}
	s.inHand.enter()
	go func() {
		defer s.inHand.leave()
		defer at.learning.Store(false)
		ctx, cancel := context.WithTimeout(context.Background(), s.config.Timeout)
		defer cancel()
		if err := s.askSoldOut(ctx, sku, at); err != nil {
			s.log.DebugContext(ctx, "lastunit: could not find out whether it is still sold out", "sku", sku, "error", err)
		}
	}()
}

// askSoldOut asks both sides. An order that is not in Postgres yet, but has units
// in Redis, would have to be fenced before it is refused: so Redis must have what
// Postgres has, and not more taken than there is. Only then the order IDs are
// read: none that Postgres had counted is missing.
func (s *Service) askSoldOut(ctx context.Context, sku string, at *spot) error {
	opened := at.opened()
	var stocks []inventory.Stock
	if !s.without(sku) {
		var err error
		if stocks, err = s.config.Inventory.Stock(ctx, sku); err != nil {
			return err
		}
	}
	asked := time.Now()
	latest, err := s.config.Orders.Latest(ctx, sku)
	if err != nil || len(latest) == 0 {
		return err
	}
	c := latest[0]
	s.shelf.observeCounters(c)
	if c.Left() > 0 {
		at.open()
		return nil
	}
	for _, redis := range stocks {
		if !usable(c, redis) || redis.Version != c.Version || redis.Available() < 0 && redis.Unsettled > 0 {
			return nil
		}
	}
	filter, err := at.orderIDs.read(ctx, s.config.Orders, c, &s.shelf.filters)
	if err == nil {
		at.close(&soldOut{store: c.Store, over: -c.Left(), asked: asked, filter: filter}, opened)
	}
	return err
}
