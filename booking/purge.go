package booking

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// purgeBatch is how many orders are purged in one transaction: it takes some
// milliseconds, so that nobody waits for long for one of them.
const purgeBatch = 500

// PurgeAfter is how long ago an order must have ended to be purged. By then its
// deductions in Redis are settled or void: a sweep does that within seconds. Where no
// process has run a sweep for all that time, units of a purged order may come back in
// Redis although Postgres has counted them; the comparison that Run makes finds that, and
// rebuilds the SKU. Postgres never sells them twice.
const PurgeAfter = time.Hour

// Purge strips the orders that ended before a moment, by Postgres's clock: those that
// were cancelled, expired or refused. It returns how many. Customer and lines go; the ID,
// the status and the times stay, so that the ID is not forgotten: the same request again
// has the same answer, and any other one is order.ErrIdempotencyConflict. A purged order
// has no lines, and can't be reclaimed any more: order.ErrPurged. Live orders stay as they
// are, and so does the ledger.
//
// The moment is at least PurgeAfter and Config.SweepAfter ago, else it is
// inventory.ErrInvalid: by this process's clock, so that one that is ahead may purge what
// ended later than that. Orders go in small batches, each in a transaction of its own,
// beside all other traffic; only the context bounds the whole. What a call has purged
// stays purged, and the number comes beside an error too: repeating does the rest. Orders
// that the database lets nobody strip, as by a trigger of your own, keep no others from it:
// the error, order.ErrRejected, names some of them. Several may purge at once.
func (s *Service) Purge(ctx context.Context, before time.Time) (purged int, _ error) {
	if latest := time.Now().Add(-max(PurgeAfter, s.config.SweepAfter)); before.After(latest) {
		return 0, &inventory.InvalidError{Field: "before", Reason: fmt.Sprintf(
			"is %s, want %s ago at least", before.UTC().Format(time.RFC3339), max(PurgeAfter, s.config.SweepAfter))}
	}
	if err := sendable(ctx); err != nil {
		return 0, err
	}
	var kept failures
	for {
		n, err := s.purge(ctx, before)
		kept.add(unknown(err))
		if purged += n; n == 0 || err != nil && !isAboutOrders(err) {
			return purged, kept.join()
		}
	}
}

// isAboutOrders reports whether an error of Purge concerns orders, and not the whole page.
func isAboutOrders(err error) bool {
	var one *order.OrderError
	return errors.As(err, &one)
}

func (s *Service) purge(ctx context.Context, before time.Time) (int, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	return s.config.Orders.Purge(ctx, before, purgeBatch)
}
