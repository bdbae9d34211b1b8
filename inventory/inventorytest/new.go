package inventorytest

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/lastunit/lastunit/inventory"
)

// New returns an empty repository for a test of something that needs one: an
// [inventory.Memory], which works inside a bubble of testing/synctest too. When
// the test ends, the books of each SKU that it loaded are checked: what is
// available and what is taken make up the supply, and the unsettled deductions
// add up.
func New(t testing.TB) inventory.InventoryRepository {
	t.Helper()
	b := &books{Memory: inventory.NewMemory(), skus: make(map[string]bool)}
	t.Cleanup(func() { b.audit(t) })
	return b
}

// books is a repository that remembers which SKUs it was given.
type books struct {
	*inventory.Memory
	mu   sync.Mutex
	skus map[string]bool
}

// Load implements inventory.InventoryRepository.
func (b *books) Load(ctx context.Context, supplies ...inventory.Supply) error {
	b.mu.Lock()
	for _, supply := range supplies {
		b.skus[supply.SKU] = true
	}
	b.mu.Unlock()
	return b.Memory.Load(ctx, supplies...)
}

func (b *books) audit(t testing.TB) {
	t.Helper()
	ctx := context.Background()
	b.mu.Lock()
	defer b.mu.Unlock()
	for sku := range b.skus {
		if inventory.CheckID("sku", sku) != nil {
			continue // it was refused
		}
		stocks, err := b.Stock(ctx, sku)
		if !assert.NoError(t, err) || stocks[0].Why != "" {
			continue
		}
		unsettled, err := b.Unsettled(ctx, stocks[0].Store, sku, 0, everything)
		assert.NoError(t, err)
		checkBooks(t, stocks[0], unsettled)
	}
}
