package inventory

import (
	"fmt"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds of what may come in. The scripts check the numbers once more.
const (
	MaxIDBytes  = 128               // bytes of a SKU, an order ID, an attempt, a customer ID
	MaxQuantity = 1_000_000         // units of one SKU in one order
	MaxAccepted = 16_384            // bytes of an accepted order, which every one of its SKUs holds until it is committed
	MaxCapacity = 1_000_000_000_000 // units of one SKU; far below 2^53, where Lua's numbers stop being exact
)

// CheckID returns an InvalidError for the named field unless the ID has 1 to
// MaxIDBytes bytes of valid UTF-8 without control characters and without U+FFFD.
func CheckID(field, id string) error {
	switch {
	case id == "":
		return &InvalidError{field, "is empty"}
	case len(id) > MaxIDBytes:
		return &InvalidError{field, fmt.Sprintf("has %d bytes, want at most %d", len(id), MaxIDBytes)}
	}
	for i := range len(id) {
		if c := id[i]; c < ' ' || c > '~' { // most IDs are of plain ASCII, and looked at by bytes
			return checkRunes(field, id)
		}
	}
	return nil
}

func checkRunes(field, id string) error {
	if !utf8.ValidString(id) {
		return &InvalidError{field, "is not valid UTF-8"}
	}
	for _, r := range id {
		if r == utf8.RuneError {
			// encoding/json, among others, puts it in place of what it can't decode, so
			// that two IDs become one.
			return &InvalidError{field, fmt.Sprintf("contains %U, which stands for text that was lost", r)}
		}
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

// Check returns an InvalidError that names the field which breaks a bound, of
// the supply or of its terms.
func (s Supply) Check() error {
	if err := CheckID("sku", s.SKU); err != nil {
		return err
	}
	if err := CheckID("store", s.Store); err != nil {
		return err
	}
	if err := checkRange("epoch", s.Epoch, 1, maxCounter); err != nil {
		return err
	}
	if s.Replaces != 0 {
		if err := checkRange("replaces", s.Replaces, s.Epoch+1, maxCounter); err != nil {
			return err
		}
	}
	if err := checkRange("version", s.Version, 1, maxCounter); err != nil {
		return err
	}
	if err := checkRange("units", s.Units, -maxCounter, maxCounter); err != nil {
		return err
	}
	if err := checkRange("admitted", s.Admitted, 0, maxCounter); err != nil {
		return err
	}
	return s.Terms.Check()
}

func checkLoad(supplies []Supply) error {
	for _, supply := range supplies {
		if err := supply.Check(); err != nil {
			return fmt.Errorf("load SKU %q: %w", supply.SKU, err)
		}
	}
	return nil
}

func (r Request) check() error {
	for _, id := range [...]struct{ field, value string }{
		{"sku", r.SKU}, {"store", r.Store}, {"attempt", r.Attempt}, {"order_id", r.OrderID}, {"customer", r.Customer},
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

// errOtherRequest is for an attempt that is on record with other content.
func errOtherRequest() error {
	return &InvalidError{"attempt", "is on record with another order, quantity or customer"}
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

func checkAccept(accepted string, deductions []Deduction) error {
	if len(accepted) < 1 || len(accepted) > MaxAccepted {
		return &InvalidError{"accepted", fmt.Sprintf("has %d bytes, want 1 to %d", len(accepted), MaxAccepted)}
	}
	if len(deductions) == 0 {
		return &InvalidError{"deductions", "are none"}
	}
	return checkRestore(deductions)
}

// errOtherOrder is for a deduction that has another accepted order beside it.
func errOtherOrder() error {
	return &InvalidError{"accepted", "is another order than the one that is kept beside the deduction"}
}

func checkSettle(supply Supply, deductions []Deduction) error {
	if err := supply.Check(); err != nil {
		return err
	}
	for _, d := range deductions {
		if err := d.check(); err != nil {
			return err
		}
		if d.SKU != supply.SKU {
			return &InvalidError{"sku", fmt.Sprintf("is %q, want the supply's, %q", d.SKU, supply.SKU)}
		}
	}
	return nil
}

func checkRestore(deductions []Deduction) error {
	for _, d := range deductions {
		if err := d.check(); err != nil {
			return err
		}
	}
	return nil
}

func checkUnsettled(store, sku string, age time.Duration, limit int) error {
	if err := CheckID("store", store); err != nil {
		return err
	}
	if err := CheckID("sku", sku); err != nil {
		return err
	}
	if err := checkRange("age", age.Milliseconds(), 0, maxCounter); err != nil {
		return err
	}
	return checkRange("limit", int64(limit), 1, maxCounter)
}

func checkRemove(store, sku string, epoch int64) error {
	if err := CheckID("store", store); err != nil {
		return err
	}
	if err := CheckID("sku", sku); err != nil {
		return err
	}
	return checkRange("epoch", epoch, 1, maxCounter)
}

func checkStock(skus []string) error {
	for _, sku := range skus {
		if err := CheckID("sku", sku); err != nil {
			return err
		}
	}
	return nil
}
