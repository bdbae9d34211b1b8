package servertest

import "github.com/redis/go-redis/v9/logging"

// go-redis writes lines of its own for each connection that fails, past every logger: in
// tests that break servers, thousands that are meant. A process of a test that needs one
// imports this package, so that it is quiet there too.
func init() { logging.Disable() }
