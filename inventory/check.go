package inventory

import (
	"fmt"
	"unicode"
	"unicode/utf8"
)

// Bounds of what may come in. The scripts check the numbers once more.
const (
	MaxIDBytes  = 128               // bytes of a SKU, an order ID, an attempt, a customer ID
	MaxQuantity = 1_000_000         // units of one SKU in one order
	MaxCapacity = 1_000_000_000_000 // units of one SKU; far below 2^53, where Lua's numbers stop being exact
)

// CheckID returns an InvalidError for the named field unless the ID has 1 to
// MaxIDBytes bytes of valid UTF-8 without control characters.
func CheckID(field, id string) error {
	switch {
	case id == "":
		return &InvalidError{field, "is empty"}
	case len(id) > MaxIDBytes:
		return &InvalidError{field, fmt.Sprintf("has %d bytes, want at most %d", len(id), MaxIDBytes)}
	case !utf8.ValidString(id):
		return &InvalidError{field, "is not valid UTF-8"}
	}
	for _, r := range id {
		if unicode.IsControl(r) {
			return &InvalidError{field, fmt.Sprintf("contains the control character %U", r)}
		}
	}
	return nil
}

// CheckQuantity returns an InvalidError for the named field unless the quantity
// is 1 to MaxQuantity.
func CheckQuantity(field string, quantity int64) error {
	return checkRange(field, quantity, 1, MaxQuantity)
}

// CheckCapacity returns an InvalidError for the named field unless the capacity
// is 0 to MaxCapacity.
func CheckCapacity(field string, capacity int64) error {
	return checkRange(field, capacity, 0, MaxCapacity)
}

func checkRange(field string, n, low, high int64) error {
	if n < low || n > high {
		return &InvalidError{field, fmt.Sprintf("is %d, want %d to %d", n, low, high)}
	}
	return nil
}

// maxCounter is the scripts' bound of a counter: 2^52.
const maxCounter = 1 << 52

func (s Supply) check() error {
	if err := CheckID("sku", s.SKU); err != nil {
		return err
	}
	if err := CheckID("store", s.Store); err != nil {
		return err
	}
	if err := checkRange("epoch", s.Epoch, 1, maxCounter); err != nil {
		return err
	}
	if err := checkRange("version", s.Version, 1, maxCounter); err != nil {
		return err
	}
	if err := checkRange("units", s.Units, -maxCounter, maxCounter); err != nil {
		return err
	}
	return checkRange("admitted", s.Admitted, 0, maxCounter)
}

func (r Request) check() error {
	for _, id := range [...]struct{ field, value string }{
		{"sku", r.SKU}, {"store", r.Store}, {"attempt", r.Attempt}, {"order_id", r.OrderID},
	} {
		if err := CheckID(id.field, id.value); err != nil {
			return err
		}
	}
	if err := CheckQuantity("quantity", r.Quantity); err != nil {
		return err
	}
	if err := checkRange("watermark.epoch", r.Watermark.Epoch, 0, maxCounter); err != nil {
		return err
	}
	return checkRange("watermark.seq", r.Watermark.Seq, 0, maxCounter)
}

// check looks at what makes the identity. The rest of a Deduction is detail.
func (d Deduction) check() error {
	for _, id := range [...]struct{ field, value string }{
		{"sku", d.SKU}, {"store", d.Store}, {"attempt", d.Attempt},
	} {
		if err := CheckID(id.field, id.value); err != nil {
			return err
		}
	}
	if err := checkRange("epoch", d.Epoch, 1, maxCounter); err != nil {
		return err
	}
	return checkRange("seq", d.Seq, 1, maxCounter)
}
