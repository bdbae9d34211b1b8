package order

import (
	"time"

	"github.com/lastunit/lastunit/inventory"
)

// Counters is what a Store knows of a SKU at one moment.
type Counters struct {
	SKU       string
	Store     string // the Store's name, a UUID
	Capacity  int64  // units there are
	Allocated int64  // units in live orders, and in those that ended and are not counted yet
	Admitted  int64  // units committed through Redis in this epoch
	Epoch     int64  // the life of the SKU's counters in Redis
	Version   int64  // of the supply
	TopSeq    int64  // the highest seq consumed in this epoch
	Recorded  bool   // its movements tell of every order: its ledger was never switched off

	// RetiredAt is when the SKU was retired, by the Store's clock; zero if it was not.
	// Then it is Paused too, for good.
	RetiredAt time.Time

	inventory.Terms           // who may buy, and when
	Draws           []Line    // what one unit takes of its pools, those of pools included, sorted by SKU
	PoolOnly        bool      // it can only be drawn on: see Item.PoolOnly
	At              time.Time // when it was read, by the Store's clock, which decides whether the sale is open
}

// Supply is what Redis may deduct in this epoch. A commit that consumes a
// deduction leaves it as it is, so that a booking needs no push.
func (c Counters) Supply() inventory.Supply {
	return inventory.Supply{
		SKU: c.SKU, Store: c.Store, Epoch: c.Epoch, Version: c.Version,
		Units: c.Capacity - c.Allocated + c.Admitted, Admitted: c.Admitted,
		Terms: c.Terms,
	}
}

// Retired reports whether the SKU was retired: it is never sold again.
func (c Counters) Retired() bool { return !c.RetiredAt.IsZero() }

// Left is how many units may still be sold. It is negative if the capacity was
// set below what is sold.
func (c Counters) Left() int64 { return c.Capacity - c.Allocated }
