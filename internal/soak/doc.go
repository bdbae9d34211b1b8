// Package soak runs a sale for long and watches what it takes up: memory, goroutines,
// connections, and fields in Redis. It has a test only.
//
// Two services sell the same SKUs on private servers at a bounded rate, with every
// operation that there is: bookings of one line and of several, holds that are confirmed,
// extended, cancelled and left alone, accepted orders, callers that leave, crowds in front
// of a SKU that is sold out, capacities that change, and rebuilds. None of what it takes
// up may grow from the second tenth of the run to the last one, beyond a bound that
// stands beside it. In the end every order must be what its caller was told, and the
// books exact.
//
// LASTUNIT_SOAK is how long it runs; without it, it is short. make soak MINUTES=30 sets it.
// A tenth is one of the buyers: where a machine stands still, nothing grows meanwhile.
package soak
