package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// selfVariable makes the test binary be the box office, in a process of its own.
const selfVariable = "BOXOFFICE_TEST_SELF"

func TestMain(m *testing.M) {
	if os.Getenv(selfVariable) != "" {
		go func() {
			// The test holds the other end: when it dies, so do we.
			io.Copy(io.Discard, os.Stdin) //nolint:errcheck // the end is the end
			os.Exit(1)
		}()
		main()
	}
	goleak.VerifyTestMain(servertest.Wrap(m))
}

var quiet = slog.New(slog.DiscardHandler)

// inside are stores inside the test.
func inside(t testing.TB) *stores {
	t.Helper()
	on, err := embedded(inventory.DefaultKeyPrefix)
	require.NoError(t, err)
	t.Cleanup(on.close)
	return on
}

// outside are stores on the given servers.
func outside(t testing.TB, redis *servertest.Redis, database string) *stores {
	t.Helper()
	on, err := connect(t.Context(), redis.URL(), database, t.Name())
	require.NoError(t, err)
	t.Cleanup(on.close)
	return on
}

func newShop(t testing.TB, on *stores) *booking.Service {
	t.Helper()
	shop, err := booking.New(booking.Config{Inventory: on.inventory, Orders: on.orders, Logger: quiet, Timeout: testPatience})
	require.NoError(t, err)
	return shop
}

// runs runs the program. Its first look at the servers has a bound, which a busy machine
// may not keep: then it is run again.
func runs(t *testing.T, environment func(string) string, arguments ...string) (code int, printed, complained string) {
	t.Helper()
	for began := time.Now(); ; {
		var stdout, stderr strings.Builder
		code = run(t.Context(), arguments, environment, &stdout, &stderr)
		late := code != 0 && strings.Contains(stderr.String(), "boxoffice: check") && strings.Contains(stderr.String(), "deadline exceeded")
		if !late || time.Since(began) > testPatience {
			return code, stdout.String(), stderr.String()
		}
	}
}

// start serves on a free port until the test ends.
func start(t testing.TB, on *stores, shop *booking.Service) (url string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	open := make(chan string, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- serve(ctx, shop, on, "127.0.0.1:0", quiet, func(ctx context.Context, url string) error {
			open <- url
			<-ctx.Done()
			return nil
		})
	}()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	select {
	case url := <-open:
		return url
	case err := <-ended:
		ended <- nil
		require.NoError(t, err)
		return ""
	}
}

// handler is the service's handler over embedded stores.
func handler(t testing.TB) http.Handler {
	t.Helper()
	on := inside(t)
	return newAPI(newShop(t, on), on.ping, quiet)
}

// onBoth runs a test on stores inside it, and on real servers.
func onBoth(t *testing.T, test func(t *testing.T, h http.Handler)) {
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		test(t, handler(t))
	})
	t.Run("real servers", func(t *testing.T) {
		t.Parallel()
		test(t, serverHandler(t))
	})
}

// serverHandler is the service's handler over real servers.
func serverHandler(t *testing.T) http.Handler {
	t.Helper()
	on := outside(t, servertest.SharedRedis(t), servertest.SharedPostgres(t).Database(t))
	shop := newShop(t, on)
	start(t, on, shop)
	return newAPI(shop, on.ping, quiet)
}

// answered is what a handler answered.
type answered struct {
	*httptest.ResponseRecorder
	problem problem
}

// ask sends a request to a handler. A body is sent as JSON.
func ask(t testing.TB, h http.Handler, method, target, body string, change ...func(*http.Request)) answered {
	t.Helper()
	var content io.Reader = http.NoBody
	if body != "" {
		content = bytes.NewReader([]byte(body))
	}
	r := httptest.NewRequestWithContext(t.Context(), method, target, content)
	if body != "" {
		r.Header.Set("Content-Type", "application/json; charset=utf-8")
	}
	for _, f := range change {
		f(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	require.Equal(t, "application/json", w.Header().Get("Content-Type"), w.Body)
	var said struct{ Error problem }
	if w.Code >= 400 {
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &said), w.Body)
		require.NotEmpty(t, said.Error.Code)
		require.NotEmpty(t, said.Error.Message)
	}
	return answered{w, said.Error}
}

// parse reads a good answer.
func parseAnswer[T any](t testing.TB, a answered) T {
	t.Helper()
	require.Equal(t, http.StatusOK, a.Code, a.Body)
	var value T
	decoder := json.NewDecoder(a.Body)
	decoder.DisallowUnknownFields()
	require.NoError(t, decoder.Decode(&value))
	return value
}

// failing are stores that fail as they are told.
type failing struct {
	order.Store
	err error
}

func (f failing) PutOnSale(context.Context, ...order.Item) ([]order.Counters, []bool, error) {
	return nil, nil, f.err
}

func (f failing) Counters(context.Context, ...string) ([]order.Counters, error) { return nil, f.err }

func (f failing) Order(context.Context, string) (order.Order, error) { return order.Order{}, f.err }

func (f failing) Change(context.Context, []order.Change) ([]order.Changed, []order.Counters, error) {
	return nil, nil, f.err
}

func (f failing) Adjust(context.Context, order.Adjustment) (order.Counters, error) {
	return order.Counters{}, f.err
}

func (f failing) SetPaused(context.Context, string, bool) (order.Counters, error) {
	return order.Counters{}, f.err
}

func (f failing) Movements(context.Context, string, int64, int) ([]order.Movement, error) {
	return nil, f.err
}

func (f failing) Feed(context.Context, order.Cursor, int) ([]order.Movement, order.Cursor, error) {
	return nil, order.Cursor{}, f.err
}

// testPatience bounds all waiting for something that must come.
const testPatience = 5 * time.Minute

// within fails the test if something does not end soon.
func within[T any](t testing.TB, limit time.Duration, what string, from <-chan T) T {
	t.Helper()
	select {
	case value := <-from:
		return value
	case <-time.After(limit):
		require.FailNow(t, "too late: "+what)
		panic("unreachable")
	}
}
