// Command bench measures lastunit beside what people use instead, in one run on
// one machine, and writes a table, JSON and a chart. From the repository's root:
//
//	make bench
//	make bench ARGS="-seconds 2 -callers 1000 -json FILE"
//
// It starts a redis-server and a postgres of its own, with the durability that
// they have by default (fsync on), and ends them with the run, also when it is
// interrupted. It is a module of its own, so that what it depends on stays out of
// the library's.
//
// # Rows
//
//	seed-postgres    what the seed did at first: a transaction for each booking, on one hot row
//	skip-locked      one row for each unit, FOR UPDATE SKIP LOCKED, as Shopify describes its own
//	seed-redis       what the seed did next: DECRBY, and INCRBY if that was too much; nothing stored
//	lua-per-call     one EVALSHA of a guarded decrement for each booking, go-redis; nothing stored
//	rueidis          the same script by rueidis, which pipelines by itself; nothing stored
//	deduct           inventory.Redis.Deduct, the fast side alone
//	book             booking.Service.Book: the order is in Postgres when it returns
//	book-no-ledger   the same with order.Store.SetLedger(ctx, false)
//	book-zipf        the same, but orders of three lines of 1,000 SKUs, and four processes that
//	                 share the callers
//	direct           the same as book without Redis: Config.Inventory is nil
//	accept           booking.Service.Accept: Redis has the units and the order when it returns, and
//	                 Postgres soon; until then a loss of Redis can lose it, so it is not durable
//	hold-confirm     Hold and then Confirm, counted as one
//	soldout          Book when all is sold: refusals of new orders; in 1 of 100 calls a buyer asks
//	                 again for an order that is there, and must get it
//	...-open         the same as without, with orders that arrive at a fixed rate
//	limit-evalsha    redis-benchmark: as many EVALSHA under way as there are callers, pipelined
//	limit-copy       COPY of rows like those of orders, as many at once as there are callers, up to
//	                 1,000 for a connection
//	bare-evalsha     one caller of lua-per-call
//	bare-insert      one caller that inserts one row like an order's
//
// A row is durable if what its caller was told survives any loss of Redis and any
// crash. A contender is a file with an opener of a [contender], and a line in rows.
//
// # How it measures
//
// Every contender is measured in turn, the whole round again for each repeat, and
// every second round backwards; the medians are shown. Each measurement finds
// empty servers, just checkpointed, and a collected heap. The callers are
// goroutines in a closed loop: each asks again as soon as it has its answer. What
// ends within the window after the warm-up counts for the throughput, what is under
// way in it for the latency. In the rows that end in -open
// the orders arrive at a fixed rate instead, whatever became of the ones before,
// and their latency counts from the moment when they were to arrive.
//
// After its measurement each contender is audited: what its store holds must be
// what the callers were told, to the unit, and to the order where there are
// orders. Before the first one it also has to sell 100 units to 50 callers that
// ask 400 times: exactly 100 of them must get one. An audit that finds anything
// fails the run.
//
// # Settings
//
// Servers: as their makers ship them, on this machine, over loopback TCP. Of
// PostgreSQL only sizes are raised: max_connections to 200, max_wal_size to 4 GB.
// Redis has its default snapshots and no append-only file.
//
// Clients: one process, GOMAXPROCS as Go sets it, beside the servers on the same
// cores. All who use go-redis have a pool of 128 connections (the seed had 100),
// all who use pgx one of 16. rueidis has what it comes with: 4 connections that it
// pipelines by itself. All else is as the clients' makers set it, but that nobody
// gives up while waiting for a connection.
package main
