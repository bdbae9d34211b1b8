package inventory

import (
	"context"
	"time"
)

// memoryCanary is the canary of a Memory, and how often each watcher looked at it.
type memoryCanary struct {
	Canary
	beats map[int]int64
}

// Name implements InventoryRepository. It is the same for every Memory.
func (m *Memory) Name() string { return "memory" }

// Canaries implements InventoryRepository: a Memory has one, as it is one server.
func (m *Memory) Canaries(ctx context.Context, store string, watcher int) ([]Canary, error) {
	if err := checkCanaries(store, watcher); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, unavailableCanary("", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.canary.Canary
	c.Found = m.canary.beats[watcher]
	if c.Store != "" && c.Store == store {
		m.canary.beats[watcher]++
	}
	c.Beats = m.canary.beats[watcher]
	return []Canary{c}, nil
}

// Plant implements InventoryRepository.
func (m *Memory) Plant(ctx context.Context, store string, seen Canary) error {
	if err := checkPlant(store, seen); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return unavailableCanary("", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch there := m.canary.Canary; {
	case there.Store != seen.Store || there.Epoch != seen.Epoch:
	case !seen.Whole:
		m.canary = memoryCanary{
			Canary{Store: store, Format: Format, Epoch: max(seen.Epoch+1, time.Now().UnixMilli())},
			make(map[int]int64),
		}
	case there.Store == store:
		m.canary.Whole = true
	}
	return nil
}
