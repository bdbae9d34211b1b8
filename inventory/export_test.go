package inventory

import "github.com/redis/go-redis/v9"

// Scripts are the scripts by name, for tests that send them what Redis never
// sends.
var Scripts = map[string]*redis.Script{
	"deduct":    deductScript,
	"settle":    settleScript,
	"restore":   restoreScript,
	"load":      loadScript,
	"unsettled": unsettledScript,
}

// StockKey is the key of a SKU's hash.
func (r *Redis) StockKey(sku string) string { return r.keys.stock(sku) }

// InFlight returns the units that count for each customer of a SKU.
func (m *Memory) InFlight(sku string) map[string]int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := make(map[string]int64)
	if c, ok := m.skus[sku]; ok {
		for customer, units := range c.inFlight {
			found[customer] = units
		}
	}
	return found
}
