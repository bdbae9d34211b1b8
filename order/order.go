package order

import (
	"time"

	"github.com/lastunit/lastunit/inventory"
)

// Status is where an order is in its life.
type Status string

// The statuses of an order. Held and Confirmed orders are live: their units
// count as sold. Nothing makes an order Held or Expired yet: they are for holds,
// which come with a later version.
const (
	Held      Status = "held"
	Confirmed Status = "confirmed"
	Cancelled Status = "cancelled"
	Expired   Status = "expired"
)

// Live says whether the order holds its units.
func (s Status) Live() bool { return s == Held || s == Confirmed }

// Valid says whether it is one of the statuses above.
func (s Status) Valid() bool {
	return s == Held || s == Confirmed || s == Cancelled || s == Expired
}

// Order is one customer's request under one ID, all or nothing. An Order that a
// Store returns is a copy; changing it changes nothing in the Store.
type Order struct {
	ID        string    `json:"id"`       // chosen by the caller: the idempotency key
	Customer  string    `json:"customer"` // empty if the order was cancelled before it was booked
	Status    Status    `json:"status"`
	Lines     []Line    `json:"lines"` // sorted by SKU, each SKU once
	CreatedAt time.Time `json:"created_at"`
	ChangedAt time.Time `json:"changed_at"` // when the status last changed
}

// Line is a quantity of one SKU.
type Line struct {
	SKU      string `json:"sku"`      // see inventory.CheckID
	Quantity int64  `json:"quantity"` // units: 1 to inventory.MaxQuantity
}

// Item is a SKU with its capacity, as it is put on sale.
type Item struct {
	SKU      string `json:"sku"`      // see inventory.CheckID
	Capacity int64  `json:"capacity"` // units: 0 to inventory.MaxCapacity
}

// Counters is what a Store knows of a SKU at one moment.
type Counters struct {
	SKU       string
	Store     string // the Store's name, a UUID
	Capacity  int64  // units there are
	Allocated int64  // units in live orders
	Admitted  int64  // units committed through Redis in this epoch
	Epoch     int64  // the life of the SKU's counters in Redis
	Version   int64  // of the supply
	TopSeq    int64  // the highest seq consumed in this epoch
}

// Supply is what Redis may deduct in this epoch. A commit that consumes a
// deduction leaves it as it is, so that a booking needs no push.
func (c Counters) Supply() inventory.Supply {
	return inventory.Supply{
		SKU: c.SKU, Store: c.Store, Epoch: c.Epoch, Version: c.Version,
		Units: c.Capacity - c.Allocated + c.Admitted, Admitted: c.Admitted,
	}
}

// Left is how many units may still be sold. It is negative if the capacity was
// set below what is sold.
func (c Counters) Left() int64 { return c.Capacity - c.Allocated }
