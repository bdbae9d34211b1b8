package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/order"
)

const goodRequest = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

// hurried serves with the real server's settings, but short timeouts, and says
// how many connections were open at one time at most.
func hurried(t *testing.T, connections int) (address string, most *atomic.Int64) {
	t.Helper()
	server := newServer(handler(t), quiet)
	for _, timeout := range []time.Duration{server.ReadHeaderTimeout, server.ReadTimeout, server.WriteTimeout, server.IdleTimeout} {
		require.Positive(t, timeout)
	}
	server.ReadHeaderTimeout, server.ReadTimeout, server.IdleTimeout = 200*time.Millisecond, 400*time.Millisecond, 200*time.Millisecond
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	counted := &counted{Listener: listener}
	served := make(chan error, 1)
	go func() { served <- server.Serve(limit(counted, connections)) }()
	t.Cleanup(func() {
		require.NoError(t, shutdown(server))
		require.ErrorIs(t, <-served, http.ErrServerClosed)
	})
	return listener.Addr().String(), &counted.most
}

// counted counts the connections that are open at one time.
type counted struct {
	net.Listener
	open, most atomic.Int64
}

func (c *counted) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err != nil {
		return nil, err
	}
	n := c.open.Add(1)
	for seen := c.most.Load(); n > seen && !c.most.CompareAndSwap(seen, n); seen = c.most.Load() {
	}
	return &countedConn{Conn: conn, ended: sync.OnceFunc(func() { c.open.Add(-1) })}, nil
}

type countedConn struct {
	net.Conn
	ended func()
}

func (c *countedConn) Close() error {
	c.ended()
	return c.Conn.Close()
}

func dial(t *testing.T, address, send string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(testPatience)))
	_, err = io.WriteString(conn, send)
	require.NoError(t, err)
	return conn
}

// Clients that hold connections and say nothing, or never finish, or read
// nothing, are got rid of, and then the others are served.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	address, most := hurried(t, 10)
	var slow []net.Conn
	for range 10 {
		for _, send := range []string{"", "GET /healthz HTT", "GET /healthz HTTP/1.1\r\nHost: x\r\nX: ", "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"} {
			slow = append(slow, dial(t, address, send))
		}
	}
	require.NoError(t, servertest.Eventually(testPatience, func() error { // a busy machine may be taken for a slow client
		answer, err := io.ReadAll(dial(t, address, goodRequest))
		if err == nil && !strings.Contains(string(answer), "HTTP/1.1 200 OK") {
			err = fmt.Errorf("it answers %q", answer)
		}
		return err
	}))
	assert.LessOrEqual(t, most.Load(), int64(10+1)) // one is counted as closed only after it let its successor in
	for _, conn := range slow {
		_, err := io.ReadAll(conn)
		assert.NoError(t, err, "the server closes it")
	}
}

func TestSlowBody(t *testing.T) {
	t.Parallel()
	address, _ := hurried(t, 10)
	answer, err := io.ReadAll(dial(t, address,
		"POST /api/v1/book HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"id\":"))
	require.NoError(t, err)
	assert.Contains(t, string(answer), "HTTP/1.1 408 Request Timeout")
	assert.Contains(t, string(answer), `"code":"timeout"`)
}

func TestHeaderBounds(t *testing.T) {
	t.Parallel()
	address, _ := hurried(t, 10)
	conn := dial(t, address, "GET /healthz HTTP/1.1\r\nHost: x\r\n")
	// The server may stop reading before we have sent it all.
	io.WriteString(conn, "X: "+strings.Repeat("x", 3*maxHeaderBytes)+"\r\n\r\n") //nolint:errcheck // see above
	line, err := bufio.NewReader(conn).ReadString('\n')
	require.NoError(t, err)
	assert.Contains(t, line, "431 Request Header Fields Too Large")
}

func TestManyConnections(t *testing.T) {
	t.Parallel()
	// As many as this test's process may open; a thousand is enough to see that
	// nothing grows with them but a slot.
	address, most := hurried(t, 100)
	for range 1000 {
		dial(t, address, "")
	}
	answer, err := io.ReadAll(dial(t, address, goodRequest))
	require.NoError(t, err)
	assert.Contains(t, string(answer), "HTTP/1.1 200 OK")
	assert.LessOrEqual(t, most.Load(), int64(100))
}

// slowOrders are orders whose commit waits to be let go.
type slowOrders struct {
	order.Store
	committing chan struct{}
	release    chan struct{}
	once       sync.Once
}

func (s *slowOrders) Commit(ctx context.Context, commits []order.Commit) ([]order.Outcome, []order.Counters, error) {
	s.once.Do(func() {
		close(s.committing)
		<-s.release
	})
	return s.Store.Commit(ctx, commits)
}

func TestShutdownFinishesWhatIsInHand(t *testing.T) {
	t.Parallel()
	on := inside(t)
	slow := &slowOrders{Store: on.orders, committing: make(chan struct{}), release: make(chan struct{})}
	on.orders = slow
	shop := newShop(t, on)
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 1}))

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	open := make(chan string, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- serve(ctx, shop, on, "127.0.0.1:0", quiet, func(ctx context.Context, url string) error {
			open <- url
			<-ctx.Done()
			return nil
		})
	}()
	url := within(t, testPatience, "open", open)

	client := newClient(func() string { return url }, 1)
	defer client.close()
	booked := make(chan error, 1)
	go func() {
		var o order.Order
		booked <- client.try(context.Background(), "/api/v1/book", []byte(`{"id":"x","customer":"c","lines":[{"sku":"floor","quantity":1}]}`), &o)
	}()
	within(t, testPatience, "commit", slow.committing)

	cancel()
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err == nil {
			conn.Close()
		}
		return err != nil
	}, testPatience, 5*time.Millisecond, "nobody new is let in")
	select {
	case err := <-ended:
		require.NoError(t, err)
		require.Fail(t, "it ended with a request in hand")
	default:
	}
	close(slow.release)
	require.NoError(t, within(t, testPatience, "answer", booked))
	require.NoError(t, within(t, testPatience, "end", ended))
	differences, err := shop.ReconcileAll(t.Context(), booking.DryRun)
	require.NoError(t, err)
	assert.Empty(t, differences, "what was on its way to Redis has arrived")
}

func TestPortTaken(t *testing.T) {
	t.Parallel()
	on := inside(t)
	url := start(t, on, newShop(t, on))
	err := serve(t.Context(), newShop(t, on), on, strings.TrimPrefix(url, "http://"), quiet, nil)
	require.ErrorContains(t, err, "address already in use")
}
