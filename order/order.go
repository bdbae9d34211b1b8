package order

import (
	"slices"
	"strings"
	"time"
)

// Status is where an order is in its life.
type Status string

// The statuses of an order. Held and Confirmed orders are live: their units
// count as sold. A held order becomes confirmed, cancelled or expired.
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
	ID       string `json:"id"`       // chosen by the caller: the idempotency key
	Customer string `json:"customer"` // empty if the order was cancelled before it was booked
	Status   Status `json:"status"`
	Lines    []Line `json:"lines"` // sorted by SKU, each SKU once

	// Draws are what the lines take of pools, sorted by SKU, each SKU once: see
	// Item.Draws. Nil if they take nothing there.
	Draws []Line `json:"draws,omitempty"`

	// ExpiresAt is when the hold ends or has ended, by the store's clock. Zero
	// for an order that was never held.
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	CreatedAt time.Time `json:"created_at"`
	ChangedAt time.Time `json:"changed_at"` // when the status last changed

	// Refused is why a cancelled order was refused after it had been accepted, for
	// lack of anything that was sold. Zero for any other order.
	Refused Refusal `json:"refused,omitzero"`
}

// Line is a quantity of one SKU.
type Line struct {
	SKU      string `json:"sku"`      // see inventory.CheckID
	Quantity int64  `json:"quantity"` // units: 1 to inventory.MaxQuantity
}

// Units are what the order takes of each SKU, by its lines and by what they draw
// on pools: sorted by SKU, each once. Without draws they are the lines themselves.
func (o Order) Units() []Line {
	if len(o.Draws) == 0 {
		return o.Lines
	}
	units := slices.Concat(o.Lines, o.Draws)
	slices.SortFunc(units, func(a, b Line) int { return strings.Compare(a.SKU, b.SKU) })
	n := 0
	for _, line := range units {
		if n > 0 && units[n-1].SKU == line.SKU {
			units[n-1].Quantity += line.Quantity
			continue
		}
		units[n] = line
		n++
	}
	return units[:n]
}
