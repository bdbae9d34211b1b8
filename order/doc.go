// Package order is the durable side of a sale: it keeps every order, and it
// alone decides what is sold.
//
// A Store commits orders under the guard of each SKU's row: the capacity, the
// order IDs that are taken, and the deductions that an order may consume are
// decided in one round trip for a whole batch. What Redis may deduct is computed
// here and nowhere else. Package booking ties it together with the fast side
// (package inventory), and is what most programs use. Package ordertest has a
// ready store for tests, and the suite that every implementation must pass.
//
// # PostgreSQL
//
// PostgreSQL 15 or newer. Migrate makes the schema lastunit and all that is in
// it; who migrates with goose, tern or psql finds the same SQL in Migrations.
// Migrate needs a role that may create a schema. With psql:
//
//	cat order/migrations/*.sql | psql -1 -v ON_ERROR_STOP=1
//
// The database records the hash of each file. Migrate and booking.Service.Check
// compare it, and the body of each function, with those of this build: ErrOtherBuild. A
// version that this build does not know is ErrNewerSchema. Builds whose schema has one
// format sell side by side, so that processes can be brought up to date one after the
// other; calls of a build that meets another format are refused.
//
// The database must be encoded in UTF8: another encoding lacks what an ID may have. All
// query modes of pgx will do, and whatever the session's settings are. Two things only
// Check can name: the simple protocol, in which pgx sends nothing unless
// standard_conforming_strings is on and client_encoding is UTF8; and a pooler that gives
// each transaction another session, as PgBouncer with pool_mode=transaction, which breaks
// the prepared statements of pgx's default mode. There it takes
// default_query_exec_mode=cache_describe or exec.
//
// The role that sells needs no more than
//
//	GRANT USAGE ON SCHEMA lastunit TO shop;
//	GRANT SELECT ON lastunit.migrations TO shop; -- if it calls Migrate, to see that it is done
//	GRANT SELECT, UPDATE (ledger), UPDATE (inventory) ON lastunit.store TO shop;
//	GRANT SELECT, INSERT, UPDATE ON lastunit.skus, lastunit.orders TO shop;
//	GRANT SELECT, INSERT ON lastunit.adjustments, lastunit.movement_batches TO shop;
//	GRANT SELECT, UPDATE ON lastunit.feed TO shop;
//	GRANT SELECT, INSERT ON lastunit.feed_entries TO shop;
//	GRANT SELECT, INSERT, DELETE ON lastunit.fences TO shop;
//	GRANT SELECT, UPDATE ON lastunit.partitions TO shop;
//
// and EXECUTE on the functions of that schema, which PUBLIC has unless somebody
// revoked it. booking.Service.Check says by name which right is missing.
//
// The tables are for reading too: lastunit.orders has a row for each order, with
// what it takes of each SKU in the arrays skus and quantities, pools included.
// What was sold of each SKU:
//
//	SELECT l.sku, sum(l.quantity)
//	FROM lastunit.orders o, unnest(o.skus, o.quantities) AS l(sku, quantity)
//	WHERE o.status IN ('held', 'confirmed')
//	GROUP BY l.sku;
//
// The same from the ledger, for each SKU and kind of movement:
//
//	SELECT sku, kind, sum(quantity) FROM lastunit.movements GROUP BY sku, kind;
//
// # The life of an order
//
//	         Book                  Cancel
//	(new) ----------> confirmed ----------> cancelled
//	  |                ^  ^                   ^  ^
//	  | Hold   Confirm |  | Reclaim    Cancel |  | Cancel
//	  +--------------> held --> expired ------|--+
//	                   |  (its time is over)  |
//	                   +----------------------+
//
// What is cancelled stays so. Void makes an ID that was never used cancelled too.
// An order that was accepted ahead of its commit, and can't be booked, is cancelled
// from the start: see Refuse, and the column refused.
//
// The Store's clock decides whether a hold's time is over, in the statement that
// changes the order, under its row's lock.
//
// # The ledger
//
// Every change of a SKU's counters is a [Movement], written in the transaction
// that makes it, so that the sums are the counters. It is the outbox too: see
// Feed. What a transaction moves of a SKU is one row of lastunit.movement_batches,
// and a line for each movement in the view lastunit.movements. SetLedger(ctx, false)
// switches it off for a store: then a commit writes one row less for each SKU.
//
// Don't write to the tables, but for one thing: a customer may be erased without the
// ID being forgotten, as what a repeated request is compared with is a keyed
// digest.
//
//	UPDATE lastunit.orders SET customer = '' WHERE customer = $1;
package order
