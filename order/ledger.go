package order

import (
	"fmt"
	"time"

	"github.com/lastunit/lastunit/inventory"
)

// MovementKind is what happened to a SKU.
type MovementKind string

// The kinds of movement. In the same transaction as the counters, each but
// MovedConfirmed adds its quantity to one of them. For every SKU the sum of the
// quantities is the counter, always.
const (
	// These change the capacity.
	MovedOnSale   MovementKind = "on_sale"   // the SKU was put on sale with a capacity
	MovedCapacity MovementKind = "capacity"  // the capacity was set
	MovedRestock  MovementKind = "restock"   // units came in
	MovedWriteOff MovementKind = "write_off" // units are gone; the quantity is negative

	// These change what is allocated to live orders.
	MovedHeld      MovementKind = "held"      // an order holds the units
	MovedBooked    MovementKind = "booked"    // an order has the units, confirmed
	MovedReclaimed MovementKind = "reclaimed" // an expired order has them again, confirmed
	MovedCancelled MovementKind = "cancelled" // an order gave them back; the quantity is negative
	MovedExpired   MovementKind = "expired"   // a hold gave them back; the quantity is negative
	MovedRecounted MovementKind = "recounted" // the counter was wrong, and was set right by so much

	// MovedConfirmed: a held order became confirmed. Its units are allocated
	// already, so this changes no counter.
	MovedConfirmed MovementKind = "confirmed"
)

// Movement is an entry of the ledger: what happened to a SKU. Nothing ever
// changes or removes one.
type Movement struct {
	SKU       string       `json:"sku"`
	Number    int64        `json:"number"` // 1, 2, 3 and so on, for each SKU, in the order in which things happened
	Kind      MovementKind `json:"kind"`
	Quantity  int64        `json:"quantity"`            // units
	OrderID   string       `json:"order_id,omitempty"`  // of a movement of an order
	Reference string       `json:"reference,omitempty"` // of an adjustment
	Reason    string       `json:"reason,omitempty"`    // of an adjustment
	At        time.Time    `json:"at"`
}

// MaxMovements bounds the movements that are read at once.
const MaxMovements = 10_000

func checkMovements(after int64, limit int) error {
	if after < 0 {
		return &inventory.InvalidError{Field: "after", Reason: fmt.Sprintf("is %d, want 0 or more", after)}
	}
	if limit < 1 || limit > MaxMovements {
		return &inventory.InvalidError{Field: "limit", Reason: fmt.Sprintf("is %d, want 1 to %d", limit, MaxMovements)}
	}
	return nil
}
