package order

import (
	"fmt"

	"github.com/lastunit/lastunit/inventory"
)

// AdjustmentKind is in what way an Adjustment changes a capacity.
type AdjustmentKind string

// The kinds of adjustment.
const (
	SetCapacity AdjustmentKind = "set_capacity" // to Units
	Restock     AdjustmentKind = "restock"      // by Units more
	WriteOff    AdjustmentKind = "write_off"    // by Units less, also below what is sold
)

// Adjustment changes how many units of a SKU there are. It is done once,
// however often it is asked for under one ID: a Restock or WriteOff that was made is
// no error, and neither is a SetCapacity while the capacity is still what it was set
// to; else that is ErrSuperseded.
type Adjustment struct {
	ID    string         `json:"id"` // chosen by the caller: the idempotency key; see inventory.CheckID
	SKU   string         `json:"sku"`
	Kind  AdjustmentKind `json:"kind"`
	Units int64          `json:"units"` // 0 to inventory.MaxCapacity to set it, else from 1

	// For the ledger. Each may be empty, and has the bounds of an ID.
	Reason    string `json:"reason,omitempty"`
	Reference string `json:"reference,omitempty"` // a delivery note, a stocktaking
}

// Check returns an inventory.InvalidError unless every field is within bounds.
func (a Adjustment) Check() error {
	if err := inventory.CheckID("id", a.ID); err != nil {
		return err
	}
	if err := inventory.CheckID("sku", a.SKU); err != nil {
		return err
	}
	low := int64(1)
	switch a.Kind {
	case SetCapacity:
		low = 0
	case Restock, WriteOff:
	default:
		return &inventory.InvalidError{Field: "kind", Reason: fmt.Sprintf("is %q, want %s, %s or %s", a.Kind, SetCapacity, Restock, WriteOff)}
	}
	if a.Units < low || a.Units > inventory.MaxCapacity {
		return &inventory.InvalidError{Field: "units", Reason: fmt.Sprintf("is %d, want %d to %d", a.Units, low, int64(inventory.MaxCapacity))}
	}
	for _, text := range [...]struct{ field, value string }{{"reason", a.Reason}, {"reference", a.Reference}} {
		if text.value != "" {
			if err := inventory.CheckID(text.field, text.value); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkAdjusted returns an inventory.InvalidError if the adjustment would leave
// the bounds of a capacity, of which there is so much now.
func (a Adjustment) checkAdjusted(capacity int64) error {
	switch {
	case a.Kind == WriteOff && a.Units > capacity:
		return &inventory.InvalidError{Field: "units", Reason: fmt.Sprintf("is %d, want at most the capacity, %d", a.Units, capacity)}
	case a.Kind == Restock && a.Units > inventory.MaxCapacity-capacity:
		return &inventory.InvalidError{Field: "units", Reason: fmt.Sprintf("is %d, want at most %d beside the capacity, %d", a.Units, inventory.MaxCapacity-capacity, capacity)}
	}
	return nil
}

// adjusted is the capacity afterwards.
func (a Adjustment) adjusted(capacity int64) int64 {
	switch a.Kind {
	case Restock:
		return capacity + a.Units
	case WriteOff:
		return capacity - a.Units
	default:
		return a.Units
	}
}
