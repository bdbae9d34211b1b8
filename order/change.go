package order

import (
	"fmt"
	"time"

	"github.com/lastunit/lastunit/inventory"
)

// Action is what is to be done with an order.
type Action string

// The actions. Each is safe to repeat: what an order is already, it stays, and
// that is no error. The Store's clock decides, at one moment for each order.
const (
	// Confirm makes a held order confirmed if its time is not over. It fails
	// with ErrHoldExpired, ErrCancelled or ErrNotFound.
	Confirm Action = "confirm"
	// ConfirmLate does so too if its time is over but nobody made it expire.
	ConfirmLate Action = "confirm_late"
	// Cancel gives the units of a live order back. An expired order becomes
	// cancelled too, for good; its units are back already, so it moves none. It
	// fails with ErrNotFound.
	Cancel Action = "cancel"
	// Void is Cancel, and makes an unknown ID a cancelled order without customer and
	// lines: nothing can be booked under it any more.
	Void Action = "void"
	// Expire gives the units of a held order back if its time has been over for
	// Change.Hold. Any other order stays as it is. It fails with ErrNotFound.
	Expire Action = "expire"
	// Extend lets a held order expire no sooner than after Change.Hold, if its
	// time is not over. A confirmed order stays as it is. It fails with
	// ErrHoldExpired, ErrCancelled or ErrNotFound.
	Extend Action = "extend"
	// Reclaim makes a held or expired order confirmed. An expired one takes its
	// units anew, if they are left and the customer's limit allows it, whether or
	// not the sale is open. It fails with inventory.ErrSoldOut,
	// inventory.ErrLimitExceeded, ErrRetired, ErrPurged, ErrCancelled or ErrNotFound.
	Reclaim Action = "reclaim"
	// Count does nothing but what every action does first: it counts what was
	// done to the order in somebody's own transaction. See TxStore. It fails with
	// ErrNotFound.
	Count Action = "count"
)

// Change asks for an order to be changed.
type Change struct {
	ID     string
	Action Action
	Hold   time.Duration // of Extend: 1 ms to MaxHold; of Expire: 0 to MaxHold
}

// Changed is the answer to one Change.
type Changed struct {
	Order Order // as it is now; zero if Err is ErrNotFound or ErrBusy
	Err   error // nothing was changed, for this reason
}

// checkChanges returns an inventory.InvalidError unless every change is within bounds.
func checkChanges(changes []Change) error {
	if len(changes) > MaxCommits {
		return &inventory.InvalidError{Field: "changes", Reason: fmt.Sprintf("are %d, want at most %d", len(changes), MaxCommits)}
	}
	for _, c := range changes {
		if err := c.Check(); err != nil {
			return err
		}
	}
	return nil
}

// Check returns an inventory.InvalidError unless every field is within bounds.
func (c Change) Check() error {
	if err := inventory.CheckID("id", c.ID); err != nil {
		return err
	}
	switch c.Action {
	case Confirm, ConfirmLate, Cancel, Void, Reclaim, Count:
		return nil
	case Expire:
		if c.Hold == 0 {
			return nil
		}
		return CheckHold("hold", c.Hold)
	case Extend:
		return CheckHold("hold", c.Hold)
	}
	return &inventory.InvalidError{Field: "action", Reason: fmt.Sprintf("is %q, which is none", c.Action)}
}

// CheckHold returns an inventory.InvalidError for the named field unless the
// time is 1 ms to MaxHold.
func CheckHold(field string, hold time.Duration) error {
	if hold < time.Millisecond || hold > MaxHold {
		return &inventory.InvalidError{Field: field, Reason: fmt.Sprintf("is %v, want %v to %v", hold, time.Millisecond, MaxHold)}
	}
	return nil
}
