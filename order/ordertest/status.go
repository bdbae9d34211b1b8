package ordertest

import (
	"github.com/lastunit/lastunit/order"
)

// inStatus is an order of some kind, under an ID of its own.
type inStatus struct {
	id     string
	status order.Status // empty for no such order
	over   bool         // its time is
}

var everyStatus = []inStatus{
	{"unknown", "", false},
	{"held", order.Held, false},
	{"over", order.Held, true},
	{"booked", order.Confirmed, false},
	{"confirmed", order.Confirmed, false},
	{"cancelled", order.Cancelled, false},
	{"tombstone", order.Cancelled, false},
	{"expired", order.Expired, true},
}

// becomes is what an action makes of such an order, or why not.
func (i inStatus) becomes(action order.Action) (order.Status, error) {
	if i.status == "" && action == order.Void {
		return order.Cancelled, nil
	}
	if i.status == "" {
		return "", order.ErrNotFound
	}
	switch action {
	case order.Cancel, order.Void:
		return order.Cancelled, nil
	case order.Expire:
		if i.status == order.Held && i.over {
			return order.Expired, nil
		}
		return i.status, nil
	case order.Count:
		return i.status, nil
	}
	switch i.status {
	case order.Cancelled:
		return i.status, order.ErrCancelled
	case order.Expired:
		if action == order.Reclaim {
			return order.Confirmed, nil
		}
		return i.status, order.ErrHoldExpired
	case order.Held:
		if i.over && (action == order.Confirm || action == order.Extend) {
			return i.status, order.ErrHoldExpired
		}
		if action == order.Extend {
			return order.Held, nil
		}
	}
	return order.Confirmed, nil
}

// makeEvery makes an order of each kind, of 1 unit, under IDs with a prefix.
func (s *shop) makeEvery(prefix, sku string) {
	s.t.Helper()
	var last order.Order
	for _, i := range everyStatus {
		c := s.deducted(prefix+i.id, line(sku, 1))
		switch i.id {
		case "unknown":
		case "booked":
			s.book(c)
		case "over", "expired":
			last = s.hold(soon, c)
		case "tombstone":
			s.done(prefix+i.id, order.Void)
		default:
			s.hold(later, c)
		}
	}
	s.done(prefix+"confirmed", order.Confirm)
	s.cancel(prefix + "cancelled")
	s.past(sku, last.ExpiresAt)
	s.done(prefix+"expired", order.Expire)
}
