package servertest

import (
	"testing"
)

// controls are the methods Redis and Postgres have in common.
type controls struct {
	t      testing.TB
	s      *server
	shared bool
}

// own ends the test if it must not disturb the server.
func (c *controls) own() {
	c.t.Helper()
	if c.shared {
		c.t.Fatalf("other tests share this %s: start one of your own to stop or pause it", c.s.name)
	}
}

func (c *controls) check(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err.Error())
	}
}

// Kill ends the server and its children by SIGKILL, and waits until they are
// gone. A stopped server stays stopped.
func (c *controls) Kill() {
	c.t.Helper()
	c.own()
	c.check(c.s.kill())
}

// Stop ends the server in the orderly way: it saves what it is set to save.
func (c *controls) Stop() {
	c.t.Helper()
	c.own()
	c.check(c.s.stop(c.s.stopSignal))
}

// Pause stops the server and its children by SIGSTOP, and returns when they
// stand still. Connections stay open, and new ones are taken by the kernel,
// but nobody answers.
func (c *controls) Pause() {
	c.t.Helper()
	c.own()
	c.check(c.s.pause())
}

// Resume lets a paused server go on.
func (c *controls) Resume() {
	c.t.Helper()
	c.own()
	c.s.resume()
}

// Restart starts the server again, on the same port and with the data that is
// on disk, and waits until it answers. A server that still runs is killed.
func (c *controls) Restart() {
	c.t.Helper()
	c.own()
	c.check(c.s.restart())
}

// Addr returns the server's address as host:port.
func (c *controls) Addr() string { return c.s.addr() }

// Password returns the server's password.
func (c *controls) Password() string { return c.s.password }

// Dir returns the directory of the data files.
func (c *controls) Dir() string {
	c.t.Helper()
	if c.s.external != nil {
		c.own()
	}
	return c.s.dir.data()
}

// showLog prints the end of the server's log if the test has failed.
func (c *controls) showLog() {
	if c.t.Failed() && c.s.external == nil {
		c.t.Logf("the log of %s ends:\n%s", c.s.name, c.s.log().tail())
	}
}

// end is the cleanup of a server that is not shared.
func (c *controls) end() {
	c.showLog()
	if err := c.s.end(); err != nil {
		c.t.Error(err.Error())
	}
}
