package inventory

import (
	"context"
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/singleflight"

	"github.com/lastunit/lastunit/internal/gather"
)

// node is one of the servers that the keys are spread over, with lanes of its own: a
// batch waits for every server that it goes to, so that one which hangs would hold up
// what is on the others.
type node struct {
	deducts  [lanes]*gather.Gather[*deductCall, deducted] // see lane
	restores [lanes]*gather.Gather[[]Deduction, error]    // by the first SKU's
	accepts  [lanes]*gather.Gather[acceptCall, accepted]  // likewise

	// silent is until when its stock is not read, as sinceStart: it did not answer a
	// moment ago.
	silent atomic.Int64
}

func (r *Redis) newNode() *node {
	n := &node{}
	config := gather.Config{Batch: scriptBatch, Queue: maxQueue, Timeout: 2 * DeductTimeout, Abreast: abreast}
	for lane := range lanes {
		n.deducts[lane] = gather.New(config, r.deductBatch)
		n.restores[lane] = gather.New(config, r.restoreBatch)
		n.accepts[lane] = gather.New(config, r.acceptBatch)
	}
	return n
}

// nodes finds the node of a SKU. The zero value is for a client of one server.
type nodes struct {
	// client is that of the node which has a key now; nil for a client of one server.
	client func(ctx context.Context, key string) (*redis.Client, error)

	known  atomic.Bool // client has answered once, and does so from memory since
	asking singleflight.Group

	mu  sync.Mutex                       // is held to change all
	all atomic.Pointer[map[string]*node] // by address; the map is only read
}

// maxNodes bounds the nodes that have lanes of their own: as many as a cluster may
// have. One that changes addresses all the time shares lanes beyond it.
const maxNodes = 1000

// find looks at what the client can tell of where keys are.
func (n *nodes) find(client redis.UniversalClient) {
	switch client := client.(type) {
	case interface {
		MasterForKey(ctx context.Context, key string) (*redis.Client, error)
	}:
		n.client = client.MasterForKey
	case interface {
		GetShardClientForKey(key string) (*redis.Client, error)
	}:
		n.client = func(_ context.Context, key string) (*redis.Client, error) { return client.GetShardClientForKey(key) }
	}
}

// clientOf is the client of the node that has a SKU now, nil if that can't be told.
// It is looked up each time, as a failover or a resharding moves keys.
func (r *Redis) clientOf(ctx context.Context, sku string) *redis.Client {
	if r.nodes.client == nil {
		return nil
	}
	if !r.nodes.known.Load() {
		select {
		case answer := <-r.learnNodes(ctx, sku):
			if answer.Err != nil {
				return nil
			}
		case <-ctx.Done():
			return nil
		}
	}
	return r.knownClientOf(ctx, sku)
}

// knownClientOf is clientOf, once it is known where keys are: it asks nobody.
func (r *Redis) knownClientOf(ctx context.Context, sku string) *redis.Client {
	client, err := r.nodes.client(ctx, tag.Replace(sku)) // the hash tag is in the same place as the whole key
	if err != nil {
		return nil
	}
	return client
}

// learnNodes finds out where keys are. A cluster's client asks some node that, and tries
// others if that one does not answer. It does so for each caller, so one does for all.
func (r *Redis) learnNodes(ctx context.Context, sku string) <-chan singleflight.Result {
	return r.nodes.asking.DoChan("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), DeductTimeout)
		defer cancel()
		_, err := r.nodes.client(ctx, tag.Replace(sku))
		if err == nil {
			r.nodes.known.Store(true)
		}
		return nil, err
	})
}

var _ Locator = (*Redis)(nil)

// Locate implements Locator, for a client of a cluster, or of a Ring.
func (r *Redis) Locate(ctx context.Context, sku string) string {
	if r.nodes.client == nil {
		return ""
	}
	if !r.nodes.known.Load() {
		r.learnNodes(ctx, sku) // for those who come later
		return ""
	}
	client := r.knownClientOf(ctx, sku)
	if client == nil {
		return ""
	}
	return client.Options().Addr
}

// nodeOf is the node that has a SKU now. Where that can't be told, all share one.
func (r *Redis) nodeOf(ctx context.Context, sku string) *node {
	if r.nodes.client == nil {
		return r.shared
	}
	client := r.clientOf(ctx, sku)
	if client == nil {
		return r.shared
	}
	address := client.Options().Addr
	if all := r.nodes.all.Load(); all != nil {
		if n := (*all)[address]; n != nil {
			return n
		}
	}
	return r.addNode(address)
}

func (r *Redis) addNode(address string) *node {
	r.nodes.mu.Lock()
	defer r.nodes.mu.Unlock()
	all := make(map[string]*node)
	if known := r.nodes.all.Load(); known != nil {
		if n := (*known)[address]; n != nil {
			return n
		}
		all = maps.Clone(*known)
	}
	if len(all) >= maxNodes {
		return r.shared
	}
	n := r.newNode()
	all[address] = n
	r.nodes.all.Store(&all)
	return n
}

// part is what is on one node, by its indexes.
type part struct {
	*node
	at []int
}

// parts tells n things by the nodes of their SKUs.
func (r *Redis) parts(ctx context.Context, n int, sku func(i int) string) []part {
	var parts []part
	of := make(map[*node]int)
	for i := range n {
		at := r.nodeOf(ctx, sku(i))
		p, met := of[at]
		if !met {
			p = len(parts)
			of[at] = p
			parts = append(parts, part{node: at})
		}
		parts[p].at = append(parts[p].at, i)
	}
	return parts
}

// pick is the part's of all things.
func pick[T any](p part, all []T) []T {
	picked := make([]T, len(p.at))
	for n, i := range p.at {
		picked[n] = all[i]
	}
	return picked
}

// each does something with every part at the same time, and waits for all.
func each(parts []part, do func(p part) error) error {
	if len(parts) == 1 {
		return do(parts[0])
	}
	errs := make([]error, len(parts))
	var all sync.WaitGroup
	for n, p := range parts {
		all.Go(func() { errs[n] = do(p) })
	}
	all.Wait()
	return errors.Join(errs...)
}

const (
	// hangs is from when on a node that did not answer is not just slow, or its caller
	// in a hurry.
	hangs = 500 * time.Millisecond

	// silence is for how long its stock is not read then. The checks read that of all
	// SKUs, some after the others, and would wait for it each time.
	silence = time.Second
)

var errSilent = errors.New("the node did not answer a moment ago")

// started is what sinceStart is counted from: wall clocks are set.
var started = time.Now()

func sinceStart() int64 { return int64(time.Since(started)) }

// patiently asks the node for something that may be late, or be done twice. It returns
// when ctx ends, whatever the client does with a context, and at once for a while after
// that was so.
func patiently[T any](ctx context.Context, n *node, did string, read func() (T, error)) (T, error) {
	began := sinceStart()
	if began < n.silent.Load() {
		var none T
		return none, unavailableFor(did, errSilent)
	}
	type answer struct {
		read T
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		read, err := read()
		answers <- answer{read, err}
	}()
	var got answer
	select {
	case got = <-answers:
	case <-ctx.Done():
		got.err = unavailableFor(did, ctx.Err())
	}
	if now := sinceStart(); errors.Is(got.err, ErrUnavailable) && now-began >= int64(hangs) {
		n.silent.Store(now + int64(silence))
	}
	return got.read, got.err
}
