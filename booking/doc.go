// Package booking sells scarce stock to a crowd: never one unit too many, at
// Redis's speed, with every confirmed order in Postgres.
//
// A Service ties the two sides together. Book takes the units from the
// inventory (package inventory), commits the order (package order), and answers
// only then. Run, in every process, keeps the two sides equal whatever happens
// to either.
//
//	shop, err := booking.New(booking.Config{
//		Inventory: inventory.NewRedis(redisClient),
//		Orders:    order.NewPostgres(pool),
//	})
//	go shop.Run(ctx)
//
//	err = shop.PutOnSale(ctx, order.Item{SKU: "floor", Capacity: 1000})
//	o, err := shop.Book(ctx, booking.Request{
//		ID: "4711", Customer: "c-17",
//		Lines: []order.Line{{SKU: "floor", Quantity: 2}},
//	})
//
// Accept answers earlier, as soon as Redis has the units and the order, with a
// Receipt: a type of its own, as it is no booking. The order goes to Postgres behind
// it, which may still refuse it.
//
// Hold takes the units for a time; Confirm, Extend, Cancel and Reclaim change what
// becomes of them, and Run ends what nobody confirmed. Void makes an ID final of which
// nobody knows whether it was booked. ConfirmTx and CancelTx do so
// inside your own transaction on the order store's database.
//
// Check says before the sale what is wrong with the servers, the rights and the settings.
// Feed reads what was sold, and what changed, as an outbox. Retire ends a SKU, and Purge
// strips orders that ended long ago of their customer. Reconcile compares the two sides with
// the orders, and repairs them on request.
//
// # When the outcome is unknown
//
// order.ErrOutcomeUnknown says that what happened was left open: ask again with the
// same arguments. Its text and its chain tell the cause:
//
//   - A server did not answer in time, or has not answered for a while
//     (inventory.ErrUnavailable, order.ErrUnavailable).
//   - The caller's context ended, or Config.Timeout was over (context.Canceled,
//     context.DeadlineExceeded).
//   - A SKU's counters are missing in Redis, as after an eviction or a restart, and are
//     only just being rebuilt (inventory.ErrNotLoaded). Mostly the call waits for that.
//     Or they were rebuilt five times before it got to its commit (inventory.ErrUnavailable).
//   - A server refuses for a reason of its own: no memory or no disk, too many
//     connections, a lock that somebody keeps.
//   - A server refuses the login, or a call for want of a right: "permission denied",
//     SQLSTATE 42501, from Postgres; from Redis NOPERM, or, from within a script, "ERR The
//     user executing the script can't run this command".
//
// What is of the last kind does not mend itself, and who asks again hears the same: alert
// on it if it lasts. Service.Check names a right that is missing.
//
// # Without Redis
//
// With Config.Inventory left nil, Postgres alone sells: concurrent orders share a
// transaction, and requests for what is sold out are refused in the process. That is
// fewer parts to run, and enough for most. What Redis adds is that a crowd that is
// larger than the stock does not reach Postgres.
//
// # Clocks
//
// Postgres's clock decides when a hold's time is over and whether a sale is open,
// at the moment in which it decides about the order. Redis's clock only spares
// the way there: what it refuses, Postgres is asked about. This process's clock
// decides nothing, but how long ago an order must have ended for Purge.
package booking
