package inventory

import (
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// reply is what a script returned. The first value of the wrong type sets err;
// that happens only if something else than our script answered.
type reply struct {
	values []any
	err    error
}

func (r *reply) text(i int) string {
	if i >= 0 && i < len(r.values) {
		if text, ok := r.values[i].(string); ok {
			return text
		}
	}
	r.fail(i)
	return ""
}

func (r *reply) number(i int) int64 {
	if i < len(r.values) {
		if number, ok := r.values[i].(int64); ok {
			return number
		}
	}
	r.fail(i)
	return 0
}

func (r *reply) fail(i int) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: value %d of the script's reply %q is not what it returns", ErrUnavailable, i, r.values)
	}
}

func (r *reply) unknown(did, sku string) error {
	return unavailable(did, sku, fmt.Errorf("unknown reply %q", r.values))
}

// A deduction's field and value, as prelude.lua has them.
var deductionValue = regexp.MustCompile(`(?s)^([1-9]\d{0,15}):([1-9]\d{0,15}):([1-9]\d{0,15}):(\d{1,16}):(0|[1-9]\d{0,2}):(.+)$`)

func parseDeduction(field, value string) (Deduction, error) {
	garbage := fmt.Errorf("field %q is no deduction", field)
	parts := deductionValue.FindStringSubmatch(value)
	if parts == nil || len(field) < 3 || CheckID("attempt", field[len("d:"):]) != nil {
		return Deduction{}, garbage
	}
	var numbers [5]int64
	for i := range numbers {
		numbers[i], _ = strconv.ParseInt(parts[i+1], 10, 64) // 16 digits always fit
		if numbers[i] > maxCounter {
			return Deduction{}, garbage
		}
	}
	// The customer comes first, if there is one.
	bytes, ids := int(numbers[4]), parts[6]
	if bytes >= len(ids) || CheckID("order_id", ids[bytes:]) != nil || bytes > 0 && CheckID("customer", ids[:bytes]) != nil {
		return Deduction{}, garbage
	}
	return Deduction{
		Attempt: field[len("d:"):],
		Seq:     numbers[0], Quantity: numbers[1], Version: numbers[2],
		At:      time.UnixMilli(numbers[3]),
		OrderID: ids[bytes:],
	}, nil
}
