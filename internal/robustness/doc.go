// Package robustness checks the whole library against its promises while
// everything around it breaks. It has tests only.
//
// Several processes call everything that package booking offers, on a real
// redis-server and postgres behind proxies, while a schedule of faults, drawn from
// a seed, kills, stops, wipes and cuts them. Every call is written down with when it
// began, when it ended, and what its caller was told. Then three things are checked.
// The history of each SKU must be linearizable (porcupine): there must be an order
// of events, each within its call, in which every answer was right. The books must be
// exact in the end. And a reader of the feed, which dies now and then, must have had
// every movement once.
//
// A checker that finds nothing proves nothing by itself. So there is a list of
// planted bugs, each switched on from outside, and a test that all of them are
// found: see TestPlantedBugs. Histories that must be rejected are in TestModel.
//
// Not checked here, as the traffic has none of it: limits and windows that change
// while there are orders, write-offs, and processes with and without Redis in one sale.
package robustness
