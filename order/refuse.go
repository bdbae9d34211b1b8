package order

import (
	"errors"
	"fmt"

	"github.com/lastunit/lastunit/inventory"
)

// Refusal is why an order was refused for good, after it had been accepted. The
// zero Refusal is that of an order that was not.
type Refusal struct {
	Why Why    `json:"why"`
	SKU string `json:"sku,omitempty"` // that decided; empty if it was none
}

// Why is the reason of a Refusal.
type Why string

// The reasons, and the error that each is.
const (
	WhySoldOut  Why = "sold_out"       // inventory.ErrSoldOut
	WhyLimited  Why = "limit_exceeded" // inventory.ErrLimitExceeded
	WhyNotOpen  Why = "not_open"       // inventory.ErrNotOpen
	WhyClosed   Why = "closed"         // inventory.ErrClosed
	WhyPaused   Why = "paused"         // inventory.ErrPaused
	WhyRetired  Why = "retired"        // ErrRetired
	WhyUnknown  Why = "unknown_sku"    // ErrUnknownSKU
	WhyPoolOnly Why = "pool_only"      // ErrPoolOnly
	WhyRejected Why = "rejected"       // ErrRejected
)

var reasons = map[Why]error{
	WhySoldOut: inventory.ErrSoldOut, WhyLimited: inventory.ErrLimitExceeded,
	WhyNotOpen: inventory.ErrNotOpen, WhyClosed: inventory.ErrClosed, WhyPaused: inventory.ErrPaused,
	WhyRetired: ErrRetired, WhyUnknown: ErrUnknownSKU, WhyPoolOnly: ErrPoolOnly, WhyRejected: ErrRejected,
}

// Refusal is the reason for which Commit did not store an order, given its units.
// It is zero for any verdict but Full, Closed, Limited, Unknown, and Failed by
// ErrRejected or ErrPoolOnly.
func (o Outcome) Refusal(units []Line) Refusal {
	switch o.Verdict {
	case VerdictFull:
		return Refusal{WhySoldOut, units[o.Unit].SKU}
	case VerdictUnknown:
		return Refusal{WhyUnknown, units[o.Unit].SKU}
	case VerdictClosed, VerdictLimited:
		if errors.Is(o.Err, ErrRetired) { // which is ErrClosed too
			return Refusal{WhyRetired, units[o.Unit].SKU}
		}
		for why, err := range reasons {
			if errors.Is(o.Err, err) {
				return Refusal{why, units[o.Unit].SKU}
			}
		}
	case VerdictFailed:
		var ofSKU *SKUError
		switch {
		case errors.Is(o.Err, ErrPoolOnly) && errors.As(o.Err, &ofSKU):
			return Refusal{WhyPoolOnly, ofSKU.SKU}
		case errors.Is(o.Err, ErrRejected):
			return Refusal{Why: WhyRejected}
		}
	}
	return Refusal{}
}

// RefusedError says why an accepted order was refused. It is ErrRefused, and the
// error of the reason, such as inventory.ErrSoldOut.
type RefusedError struct {
	ID string
	Refusal
}

// Error names the order, the SKU and the reason.
func (e *RefusedError) Error() string {
	text := fmt.Sprintf("order %q: %v: ", e.ID, ErrRefused)
	if e.SKU != "" {
		text += fmt.Sprintf("SKU %q: ", e.SKU)
	}
	if reason := reasons[e.Why]; reason != nil {
		return text + reason.Error()
	}
	return text + string(e.Why)
}

// Unwrap is ErrRefused and the error of the reason.
func (e *RefusedError) Unwrap() []error {
	if reason := reasons[e.Why]; reason != nil {
		return []error{ErrRefused, reason}
	}
	return []error{ErrRefused}
}

// checkRefused returns an inventory.InvalidError unless every order is within
// bounds and says why it is refused.
func checkRefused(orders []Order) error {
	if err := checkCommits(commitsOf(orders)); err != nil {
		return err
	}
	for _, o := range orders {
		if reasons[o.Refused.Why] == nil {
			return fmt.Errorf("order %q: %w", o.ID, &inventory.InvalidError{Field: "refused.why", Reason: fmt.Sprintf("is %q, which is none", o.Refused.Why)})
		}
		if o.Refused.SKU == "" {
			continue
		}
		if err := inventory.CheckID("refused.sku", o.Refused.SKU); err != nil {
			return fmt.Errorf("order %q: %w", o.ID, err)
		}
	}
	return nil
}

// commitsOf are commits that would book the orders, directly.
func commitsOf(orders []Order) []Commit {
	commits := make([]Commit, len(orders))
	for i, o := range orders {
		commits[i] = Commit{Order: o}
	}
	return commits
}
