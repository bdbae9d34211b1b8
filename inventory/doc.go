// Package inventory is the fast side of a sale: it takes units in Redis, one
// script call for a deduction.
//
// An InventoryRepository holds counters and unsettled deductions that may be
// lost at any moment. What is sold is decided elsewhere: by an order store
// (package order), which supplies the counters and says what became of each
// deduction. Package booking ties the two together, and is what most programs
// use. Package inventorytest has a ready repository for tests, and the suite
// that every implementation must pass.
//
// # Redis
//
// Redis 7.0 or newer, alone, with replicas, or as a cluster. The user of the
// connection needs the keys of the prefix, and these commands:
//
//	ACL SETUSER shop on >PASSWORD ~lastunit:* +evalsha +eval +time +type +hmget +hset +hdel +hscan +del
//
// Two more are optional, so that booking.Service.Check can say whether keys may be
// evicted, and what Redis keeps on disk:
//
//	ACL SETUSER shop +info +config|get
//
// What ACL SETUSER sets is gone when Redis restarts: put it into redis.conf as
// "user shop on …", or use an aclfile and ACL SAVE.
//
// A ClusterClient needs +cluster|slots for itself, a Ring +ping, and WithReplicas +wait.
// Your own use of the client may need more: ping for a health check, select for
// a database other than 0, client|setname for a client name.
//
// Let maxmemory-policy be noeviction, or one that begins with volatile, as none of these
// keys expires. A key that Redis evicts is noticed and rebuilt, but that costs time.
// booking.Service.Check says what else is wrong.
//
// With go-redis, set ContextTimeoutEnabled, so that a call ends with its context
// and not only with ReadTimeout; and DialerRetries to 1, as it else connects five times
// for each of its tries, so that nobody knows for some 2 seconds that Redis is down. With
// a ClusterClient also set a ClusterStateReloadInterval of a second or so, as it may
// notice a failover no sooner. go-redis writes lines of its own while Redis is down, past
// your logger: see redis.SetLogger. Deductions that come while others are under way travel
// together, so that a few connections are enough.
package inventory
