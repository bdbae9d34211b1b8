// Package lastunit sells scarce stock (tickets, drops, flash sales,
// appointments) down to the last unit, and never one more. Redis answers fast,
// Postgres decides for good.
//
// This package is empty. Start with package booking, whose Service ties
// together the two sides:
//
//   - package inventory takes units in Redis,
//   - package order keeps every confirmed order in Postgres.
//
// # What is promised
//
// An order that Book returned is committed in Postgres. It survives any loss of
// Redis and any crash of the caller's process.
//
// A definite refusal, such as inventory.ErrSoldOut, means that nothing was taken.
// An error that leaves open what happened is order.ErrOutcomeUnknown: ask again
// with the same order ID, and the answer is the same as the first time would have
// been, with at most one effect.
//
// Whatever Redis holds, held and confirmed units never exceed the capacity.
// Redis is disposable: FLUSHALL in the middle of a sale costs time, never an
// order and never an oversell. When faults stop, the books are exact again:
// what is available is the capacity less what is sold, with nothing stranded.
//
// # What is not
//
// That an order which is only accepted (booking.Service.Accept, which returns a
// Receipt and no order) survives a loss of Redis. It survives a crash of the process;
// a loss of Redis can lose it, or Postgres can refuse it later: then the caller is
// told, where anybody still knows of it.
//
// Strict first-come order across a failover. Anything after Postgres itself was
// restored from an old backup, or runs with fsync off.
//
// The programs in examples show it at work: quickstart in sixty lines, and
// boxoffice as a service.
package lastunit
