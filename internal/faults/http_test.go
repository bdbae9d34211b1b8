package faults_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// boxoffice is the example service, in a process of its own.
type boxoffice struct {
	url    string
	client *http.Client
	said   servertest.Output // on stderr
}

// built is the program, for those who use it at the moment.
var built struct {
	mu    sync.Mutex
	users int
	dir   string
}

// buildBoxoffice builds the program, unless it is there, and returns its path. It is
// gone after the last test that uses it.
func buildBoxoffice(t *testing.T) (program string) {
	t.Helper()
	built.mu.Lock()
	defer built.mu.Unlock()
	if built.users == 0 {
		dir, err := os.MkdirTemp("", "lastunit-boxoffice-")
		require.NoError(t, err)
		built.dir = dir
	}
	built.users++
	t.Cleanup(func() {
		built.mu.Lock()
		defer built.mu.Unlock()
		if built.users--; built.users == 0 {
			assert.NoError(t, os.RemoveAll(built.dir))
		}
	})
	program = filepath.Join(built.dir, "boxoffice")
	if _, err := os.Stat(program); err == nil {
		return program
	}
	// As this binary was built, so that what it has in common need not be built again.
	arguments := []string{"build", "-o", program}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			if setting.Key == "-race" && setting.Value == "true" {
				arguments = append(arguments, "-race")
			}
		}
	}
	out, err := exec.Command("go", append(arguments, "../../examples/boxoffice")...).CombinedOutput() //nolint:gosec // our own
	require.NoError(t, err, "%s", out)
	return program
}

// boxoffice opens one that sells for this sale, through its proxies.
func (s *sale) boxoffice() *boxoffice {
	s.t.Helper()
	t, ok := s.t.(*testing.T)
	require.True(s.t, ok)
	b := &boxoffice{client: &http.Client{Timeout: oneTry, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	t.Cleanup(b.client.CloseIdleConnections)
	command := exec.Command(buildBoxoffice(t), "-listen", "127.0.0.1:0", "-prefix", s.prefix, "-anyway") // our servers run without fsync
	command.Env = append(os.Environ(), "REDIS_URL="+s.redisProxy.URL(s.redis.URL()), "DATABASE_URL="+s.postgresProxy.URL(s.database))
	command.Stderr = &b.said
	out, err := command.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
		if t.Failed() {
			t.Logf("the box office said:\n%s", b.said.String())
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err, "%s", b.said.String())
	for word := range strings.FieldsSeq(line) {
		if strings.HasPrefix(word, "http://") {
			b.url = word
		}
	}
	require.NotEmpty(t, b.url, line)
	return b
}

// post sends a body, and returns the status, the code of a problem, and the answer.
func (b *boxoffice) post(ctx context.Context, path, contentType string, body []byte) (status int, code string, answer []byte, _ error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, b.url+path, bytes.NewReader(body))
	if err != nil {
		return 0, "", nil, err
	}
	r.Header.Set("Content-Type", contentType)
	response, err := b.client.Do(r)
	if err != nil {
		return 0, "", nil, err
	}
	defer response.Body.Close()
	if answer, err = io.ReadAll(response.Body); err != nil {
		return 0, "", nil, err
	}
	var problem struct{ Error struct{ Code string } }
	_ = json.Unmarshal(answer, &problem)
	return response.StatusCode, problem.Error.Code, answer, nil
}

// book is a buy by HTTP.
func (b *boxoffice) book(ctx context.Context, _ *booking.Service, r booking.Request) (o order.Order, _ error) {
	body, err := json.Marshal(r)
	if err != nil {
		return o, err
	}
	status, code, answer, err := b.post(ctx, "/api/v1/book", "application/json", body)
	switch {
	case err != nil: // a connection that broke says nothing
		return o, fmt.Errorf("%w: %w", order.ErrOutcomeUnknown, err)
	case status == http.StatusOK:
		err = json.Unmarshal(answer, &o)
		return o, err
	case code == "sold_out":
		return o, inventory.ErrSoldOut
	case status == http.StatusServiceUnavailable:
		return o, fmt.Errorf("%w: %s", order.ErrOutcomeUnknown, answer)
	}
	return o, fmt.Errorf("HTTP %d: %s", status, answer)
}

// Row 33: clients of the example service that do what they shouldn't, while others buy.
// It asks for no credentials, so that none can be wrong.
func badClients(t *testing.T, m *measured) {
	s := begin(t, setup{})
	b := s.boxoffice()
	address := strings.TrimPrefix(b.url, "http://")
	s.rushWith(m, rush{buy: b.book}, func() {
		// They hold their connections and say nothing, or not all; the last one is slow
		// with its body.
		slow := make([]net.Conn, 0, either(10_000, 500))
		for range cap(slow) {
			slow = append(slow, s.dial(address, ""))
		}
		slow = append(slow, s.dial(address, "POST /api/v1/book HTT"), s.dial(address, "GET /healthz HTTP/1.1\r\nHost: x\r\nX: "))
		for _, bad := range []struct {
			status            int
			contentType, body string
		}{
			{http.StatusRequestEntityTooLarge, "application/json", `{"id":"` + strings.Repeat("x", 1<<20) + `"}`},
			{http.StatusBadRequest, "application/json", `{"id":"x","customer":"c","lines":[{"sku":"floor","quantity":1}],"price":0}`},
			{http.StatusBadRequest, "application/json", `{"id":"x","customer":"c","lines":[{"sku":"floor","quantity":"1"}]}`},
			{http.StatusBadRequest, "application/json", `{"id":"x","customer":"c","lines":[{"sku":"floor","quantity":1e3}]}`},
			{http.StatusBadRequest, "application/json", `[]`},
			{http.StatusBadRequest, "application/json", ``},
			{http.StatusUnsupportedMediaType, "text/plain", `{"id":"x","customer":"c","lines":[{"sku":"floor","quantity":1}]}`},
		} {
			s.surely(func(ctx context.Context) error {
				status, code, _, err := b.post(ctx, "/api/v1/book", bad.contentType, []byte(bad.body))
				// A body that is too large may be cut off before it is sent.
				if err != nil {
					return err
				}
				assert.Equal(t, bad.status, status, "%.80s", bad.body)
				assert.NotEmpty(t, code, "%.80s", bad.body)
				return nil
			})
		}
		// The service ends them, each at its time.
		for _, conn := range slow[len(slow)-2:] {
			answer, err := io.ReadAll(conn)
			var timeout net.Error
			assert.False(t, errors.As(err, &timeout) && timeout.Timeout(), "it is still open")
			assert.NotContains(t, string(answer), "200 OK")
		}
	})
}

// dial opens a connection that ends with the test.
func (s *sale) dial(address, send string) net.Conn {
	s.t.Helper()
	conn, err := net.Dial("tcp", address)
	require.NoError(s.t, err)
	s.t.Cleanup(func() { conn.Close() })
	require.NoError(s.t, conn.SetDeadline(time.Now().Add(patience)))
	_, err = io.WriteString(conn, send)
	require.NoError(s.t, err)
	return conn
}
