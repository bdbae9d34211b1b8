package booking_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lastunit/lastunit/inventory"
)

// losing is an inventory that loses what it holds.
type losing interface {
	inventory.InventoryRepository
	wipe(sku string)
	save(sku string)
	rollBack(sku string)
	deaf(bool) // it does not hear of new supplies
}

// memoryLoss is an inventory in memory, SKU by SKU, that can lose what it holds.
type memoryLoss struct {
	canary inventory.Memory // has it and nothing else: what is lost here are single SKUs
	mu     sync.Mutex
	skus   map[string]*followed
	isDeaf bool
}

// followed is an inventory of one SKU and the replicas of it. What has happened
// to a replica when it stops to follow, is what a roll back returns to.
type followed struct {
	memory        *inventory.Memory
	follow, saved []*inventory.Memory
}

func (f *followed) each(do func(*inventory.Memory)) {
	for _, replica := range f.follow {
		do(replica)
	}
}

// of is the inventory of a SKU; the caller has the lock.
func (l *memoryLoss) of(sku string) *followed {
	f := l.skus[sku]
	if f == nil {
		f = &followed{memory: inventory.NewMemory()}
		l.skus[sku] = f
	}
	return f
}

func (l *memoryLoss) wipe(sku string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.of(sku)
	f.memory, f.follow = inventory.NewMemory(), nil
}

func (l *memoryLoss) save(sku string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f := l.of(sku); len(f.follow) > 0 {
		f.saved = append(f.saved, f.follow[0])
		f.follow = f.follow[1:]
	}
}

func (l *memoryLoss) rollBack(sku string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f := l.of(sku); len(f.saved) > 0 {
		last := len(f.saved) - 1
		f.memory, f.saved, f.follow = f.saved[last], f.saved[:last], nil
	}
}

func (l *memoryLoss) deaf(deaf bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.isDeaf = deaf
}

// Name implements inventory.InventoryRepository.
func (l *memoryLoss) Name() string { return l.canary.Name() }

// Canaries implements inventory.InventoryRepository.
func (l *memoryLoss) Canaries(ctx context.Context, store string, watcher int) ([]inventory.Canary, error) {
	return l.canary.Canaries(ctx, store, watcher)
}

// Plant implements inventory.InventoryRepository.
func (l *memoryLoss) Plant(ctx context.Context, store string, seen inventory.Canary) error {
	return l.canary.Plant(ctx, store, seen)
}

// Load implements inventory.InventoryRepository.
func (l *memoryLoss) Load(ctx context.Context, supplies ...inventory.Supply) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, supply := range supplies {
		f := l.of(supply.SKU)
		before, err := f.memory.Stock(ctx, supply.SKU)
		if err != nil {
			return err
		}
		if err := f.memory.Load(ctx, supply); err != nil {
			return err
		}
		if before[0].Why != "" || before[0].Epoch < supply.Epoch {
			f.follow = []*inventory.Memory{inventory.NewMemory(), inventory.NewMemory()}
			f.each(func(replica *inventory.Memory) { err = errors.Join(err, replica.Load(ctx, supply)) })
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Push implements inventory.InventoryRepository.
func (l *memoryLoss) Push(ctx context.Context, supply inventory.Supply) error {
	return l.Settle(ctx, supply)
}

// Deduct implements inventory.InventoryRepository.
func (l *memoryLoss) Deduct(ctx context.Context, request inventory.Request) (inventory.Deduction, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.of(request.SKU)
	f.each(func(replica *inventory.Memory) { replica.Deduct(ctx, request) }) //nolint:errcheck // it says what the first one says
	return f.memory.Deduct(ctx, request)
}

// Accept implements inventory.InventoryRepository.
func (l *memoryLoss) Accept(ctx context.Context, accepted string, deductions ...inventory.Deduction) (inventory.Acceptance, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all inventory.Acceptance
	for _, d := range deductions {
		f := l.of(d.SKU)
		f.each(func(replica *inventory.Memory) { replica.Accept(ctx, accepted, d) }) //nolint:errcheck // it says what the first one says
		one, err := f.memory.Accept(ctx, accepted, d)
		if err != nil {
			return all, err
		}
		all.Keeping = append(all.Keeping, one.Keeping...)
	}
	return all, nil
}

// Settle implements inventory.InventoryRepository.
func (l *memoryLoss) Settle(ctx context.Context, supply inventory.Supply, deductions ...inventory.Deduction) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isDeaf && len(deductions) == 0 {
		return inventory.ErrUnavailable
	}
	f := l.of(supply.SKU)
	f.each(func(replica *inventory.Memory) { replica.Settle(ctx, supply, deductions...) }) //nolint:errcheck // it says what the first one says
	return f.memory.Settle(ctx, supply, deductions...)
}

// Restore implements inventory.InventoryRepository.
func (l *memoryLoss) Restore(ctx context.Context, deductions ...inventory.Deduction) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range deductions {
		f := l.of(d.SKU)
		f.each(func(replica *inventory.Memory) { replica.Restore(ctx, d) }) //nolint:errcheck // it says what the first one says
		if err := f.memory.Restore(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// Unsettled implements inventory.InventoryRepository.
func (l *memoryLoss) Unsettled(ctx context.Context, store, sku string, age time.Duration, limit int) ([]inventory.Deduction, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.of(sku).memory.Unsettled(ctx, store, sku, age, limit)
}

// Stock implements inventory.InventoryRepository.
func (l *memoryLoss) Stock(ctx context.Context, skus ...string) ([]inventory.Stock, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []inventory.Stock
	for _, sku := range skus {
		stocks, err := l.of(sku).memory.Stock(ctx, sku)
		if err != nil {
			return nil, err
		}
		all = append(all, stocks...)
	}
	return all, nil
}

// Remove implements inventory.InventoryRepository.
func (l *memoryLoss) Remove(ctx context.Context, store, sku string, epoch int64) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.of(sku).memory.Remove(ctx, store, sku, epoch)
}

// redisLoss is an inventory in Redis that can lose what it holds.
type redisLoss struct {
	inventory.InventoryRepository
	client *redis.Client
	prefix string
	saved  map[string]map[string]string
	isDeaf atomic.Bool
}

func (l *redisLoss) key(sku string) string { return l.prefix + ":{" + sku + "}:stock" }

func (l *redisLoss) wipe(sku string) { l.client.Del(context.Background(), l.key(sku)) }

// save waits until nothing is under way.
func (l *redisLoss) save(sku string) {
	ctx := context.Background()
	for range 1000 {
		if stocks, err := l.Stock(ctx, sku); err == nil && stocks[0].Unsettled == 0 {
			break
		}
		time.Sleep(time.Millisecond) // between polls
	}
	if hash := l.client.HGetAll(ctx, l.key(sku)).Val(); len(hash) > 0 {
		l.saved[sku] = hash
	}
}

func (l *redisLoss) rollBack(sku string) {
	ctx := context.Background()
	if hash := l.saved[sku]; hash != nil {
		l.client.TxPipelined(ctx, func(pipe redis.Pipeliner) error { //nolint:errcheck // then nothing is rolled back
			pipe.Del(ctx, l.key(sku))
			pipe.HSet(ctx, l.key(sku), hash)
			return nil
		})
	}
}

func (l *redisLoss) deaf(deaf bool) { l.isDeaf.Store(deaf) }

// Push implements inventory.InventoryRepository.
func (l *redisLoss) Push(ctx context.Context, supply inventory.Supply) error {
	return l.Settle(ctx, supply)
}

// Settle implements inventory.InventoryRepository.
func (l *redisLoss) Settle(ctx context.Context, supply inventory.Supply, deductions ...inventory.Deduction) error {
	if l.isDeaf.Load() && len(deductions) == 0 {
		return inventory.ErrUnavailable
	}
	return l.InventoryRepository.Settle(ctx, supply, deductions...)
}
