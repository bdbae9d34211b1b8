// Package faults injects faults into a sale on real servers, and shows what comes of
// each: the fault matrix. It has tests only.
//
// Every row is a test, TestFault/NN_what_happens. It kills, pauses or cuts off
// redis-server and postgres processes, or those of callers, in the middle of a rush
// whose demand is above the capacity. Afterwards the same audit runs: never more sold
// than there is, at any moment; every acknowledged order there once, as its caller was
// told; no order of anybody who was refused; the capacity sold to the last unit; and
// Redis equal to Postgres, with no deduction left over.
//
// A row also says what callers see and what is lost, and measures how long recovery
// took: docs/faults.md has all of it, written by make faults. With LASTUNIT_FAULTS=full,
// which that sets, the rushes are larger, faults that last do so for longer, and the
// services have their default settings, for the figures to be those that users see.
package faults
