// Package servertest starts private, real redis-server, postgres and pgbouncer processes
// for tests, and a TCP proxy that loses replies on purpose. Several redis-server
// make a cluster ([StartRedisCluster]) or a pair that a Sentinel watches
// ([StartRedisPair]), which fail over. A test may also start itself once more,
// as a process that it can kill ([StartChild]).
//
// Every server listens on a free loopback port only, needs a random password,
// and keeps its data in a directory of its own. It ends with the test that
// started it, or, when shared, with [Main]. Nothing is left behind. Should the
// test process itself be killed, its servers die with it, and the next test
// process that uses this package removes their directories.
//
// When a server is not installed, [SharedRedis] and [SharedPostgres] use those
// that the environment variables REDIS_URL and DATABASE_URL name, such as
// docker compose up -d has started. Tests make databases of their own there,
// leave their keys behind in Redis, and touch nothing else. [StartRedis] and
// [StartPostgres] cannot use them, as the test may kill its server.
//
// Where that leaves a test without a server it is skipped, unless the variable
// LASTUNIT_REQUIRE_SERVERS is "1": then it fails. No other place in this
// repository may skip a test.
//
// Methods without a testing.TB report a failure to the test which was given
// to the function that returned the value, by calling its Fatal.
package servertest
