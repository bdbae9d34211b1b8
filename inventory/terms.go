package inventory

import "time"

// Terms say who may buy of a SKU, and when. The zero Terms let everybody buy at
// any time. They travel with a Supply, under its version.
type Terms struct {
	// CustomerLimit is how many units one customer may have in live orders; 0
	// for no limit, up to MaxQuantity. The order store decides it. A repository
	// knows only what is unsettled, and guards with that.
	CustomerLimit int64

	// OpensAt is when the sale begins, ClosesAt when it is over: at that very
	// moment it is. The zero time means that it is open already, and that it
	// never closes. Times are from 1970 to 2^52 milliseconds later, and it must
	// close after it opens. A repository counts in milliseconds: there it may be
	// open for up to a millisecond more at either end, never for less.
	OpensAt, ClosesAt time.Time

	// Paused stops the sale to everybody, whatever the times say.
	Paused bool
}

// lastTime is the latest time that fits a counter of milliseconds.
var lastTime = time.UnixMilli(maxCounter)

// Check returns an InvalidError that names the field which breaks a bound:
// "customer_limit", "opens_at" or "closes_at".
func (t Terms) Check() error {
	if err := checkRange("customer_limit", t.CustomerLimit, 0, MaxQuantity); err != nil {
		return err
	}
	if err := checkTime("opens_at", t.OpensAt); err != nil {
		return err
	}
	if err := checkTime("closes_at", t.ClosesAt); err != nil {
		return err
	}
	if !t.OpensAt.IsZero() && !t.ClosesAt.IsZero() && !t.ClosesAt.After(t.OpensAt) {
		return &InvalidError{"closes_at", "is " + stamp(t.ClosesAt) + ", want later than opens_at, " + stamp(t.OpensAt)}
	}
	return nil
}

func checkTime(field string, at time.Time) error {
	if !at.IsZero() && (at.Before(time.UnixMilli(0)) || at.After(lastTime)) {
		return &InvalidError{field, "is " + stamp(at) + ", want none, or 1970 to 2^52 milliseconds later"}
	}
	return nil
}

// At returns a *WindowError unless the SKU, which it names, is on sale at a
// moment of the caller's clock. A pause comes first; a customer's limit is not
// looked at. The error has neither epoch nor version.
func (t Terms) At(sku string, now time.Time) error {
	why := t.shut(now)
	if why == nil {
		return nil
	}
	return &WindowError{SKU: sku, OpensAt: t.OpensAt, ClosesAt: t.ClosesAt, Err: why}
}

// shut is why nobody may buy now: nil, ErrPaused, ErrNotOpen or ErrClosed.
func (t Terms) shut(now time.Time) error {
	switch {
	case t.Paused:
		return ErrPaused
	case !t.OpensAt.IsZero() && now.Before(t.OpensAt):
		return ErrNotOpen
	case !t.ClosesAt.IsZero() && !now.Before(t.ClosesAt):
		return ErrClosed
	}
	return nil
}

// SameTerms says whether a repository can't tell the terms from others: it counts in
// milliseconds.
func (t Terms) SameTerms(other Terms) bool { return t.kept() == other.kept() }

// kept is the terms as a repository keeps them.
func (t Terms) kept() Terms {
	opensAt, closesAt := t.window()
	t.OpensAt, t.ClosesAt = fromWindow(opensAt), fromWindow(closesAt)
	return t
}

// window is the times in whole milliseconds, 0 for none. They are rounded away
// from each other, so that a repository is never stricter than the order store.
// To have opened in 1970 is to be open already. To have closed then is not to
// be never closed, so that it is a millisecond later.
func (t Terms) window() (opensAt, closesAt int64) {
	if !t.OpensAt.IsZero() {
		opensAt = t.OpensAt.UnixMilli()
	}
	if !t.ClosesAt.IsZero() {
		closesAt = t.ClosesAt.UnixMilli()
		if time.UnixMilli(closesAt).Before(t.ClosesAt) {
			closesAt++
		}
		closesAt = max(1, closesAt)
	}
	return opensAt, closesAt
}

// fromWindow is the time that window gave: the zero time for 0.
func fromWindow(milliseconds int64) time.Time {
	if milliseconds == 0 {
		return time.Time{}
	}
	return time.UnixMilli(milliseconds)
}

// stamp is a time as errors tell it.
func stamp(at time.Time) string { return at.UTC().Format("2006-01-02T15:04:05.999999999Z07:00") }
