package booking

import (
	"context"

	"github.com/lastunit/lastunit/order"
)

// Movements lists up to limit movements of a SKU whose number is above after: 1
// to order.MaxMovements of them, in the order in which they happened. They are the
// ledger: every change of the SKU's capacity and of what is allocated, each
// written in the transaction that made it, but for those of ConfirmTx and
// CancelTx, which Run writes afterwards. An unknown SKU has none.
func (s *Service) Movements(ctx context.Context, sku string, after int64, limit int) ([]order.Movement, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	return s.config.Orders.Movements(ctx, sku, after, limit)
}

// Feed returns up to limit movements, 1 to order.MaxMovements, of any SKUs beyond
// a cursor, and the cursor beyond these. It is an outbox: keep the cursor when you
// are done with the movements, and begin with it after a crash. Then none is
// missed, those of one SKU come in their order, and only those come again whose
// cursor was not kept. No movements means that there are none at the moment: ask
// again after a while.
//
// An order has a movement for each SKU that it takes units of, pools too: a reader
// that sends a mail for each order goes by OrderID. Let one reader at a time use a
// cursor.
//
// It fails with order.ErrUnknownCursor (*order.CursorError) if the cursor is of
// another database, or beyond the end of the feed: the database was made anew, or
// restored from a backup. The error's documentation has what to do. A restored
// database that has sold on past the cursor meanwhile is not noticed.
func (s *Service) Feed(ctx context.Context, after order.Cursor, limit int) ([]order.Movement, order.Cursor, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	return s.config.Orders.Feed(ctx, after, limit)
}
