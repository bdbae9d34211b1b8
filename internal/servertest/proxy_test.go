package servertest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func contains(word string) func([]byte) bool {
	return func(request []byte) bool { return bytes.Contains(bytes.ToLower(request), []byte(word)) }
}

// behind returns a client that goes through the proxy and never retries.
func behind(t *testing.T, p *Proxy, r *Redis) *redis.Client {
	return r.Client(t, func(o *redis.Options) {
		o.Addr = p.Addr()
		o.MaxRetries = -1
		o.ReadTimeout = 10 * time.Second
	})
}

func TestDroppedReplyWasApplied(t *testing.T) {
	t.Parallel()
	r := SharedRedis(t)
	p := StartProxy(t, r.Addr())
	ctx := testContext(t)
	key := newKey(t)
	far, near := behind(t, p, r), r.Client(t)
	require.NoError(t, far.Ping(ctx).Err())
	require.Zero(t, p.Dropped())

	p.DropReplyTo(2, contains("incr"))
	for n := 1; n <= 2; n++ {
		require.NoError(t, far.Ping(ctx).Err())
		require.Error(t, far.Incr(ctx, key).Err())
		require.Equal(t, n, p.Dropped())
		require.Equal(t, fmt.Sprint(n), near.Get(ctx, key).Val())
	}
	require.EqualValues(t, 3, far.Incr(ctx, key).Val())
	require.Equal(t, 2, p.Dropped())
}

func TestDropReplies(t *testing.T) {
	t.Parallel()
	r := SharedRedis(t)
	p := StartProxy(t, r.Addr())
	ctx := testContext(t)
	key := newKey(t)
	far := behind(t, p, r)
	require.NoError(t, far.Ping(ctx).Err())

	p.DropReplies(1)
	require.Error(t, far.Set(ctx, key, "1", 0).Err())
	require.Equal(t, 1, p.Dropped())
	require.Equal(t, "1", far.Get(ctx, key).Val())

	p.DropReplies(1)
	p.Reset()
	require.NoError(t, far.Ping(ctx).Err())
}

func TestCutBefore(t *testing.T) {
	t.Parallel()
	r := SharedRedis(t)
	p := StartProxy(t, r.Addr())
	ctx := testContext(t)
	key := newKey(t)
	far := behind(t, p, r)
	p.CutBefore(1, contains("incr"))
	require.Error(t, far.Incr(ctx, key).Err())
	require.Equal(t, 1, p.Dropped())
	require.EqualValues(t, 1, far.Incr(ctx, key).Val())
}

func TestCutAll(t *testing.T) {
	t.Parallel()
	r := SharedRedis(t)
	p := StartProxy(t, r.Addr())
	ctx := testContext(t)
	key := newKey(t)
	far := behind(t, p, r)
	failed := make(chan error, 1)
	go func() { failed <- far.BLPop(ctx, 0, key).Err() }()
	eventually(t, "the client waits", func() bool {
		list, err := r.Client(t).ClientList(ctx).Result()
		return err == nil && bytes.Contains([]byte(list), []byte("cmd=blpop"))
	})
	p.CutAll()
	require.Error(t, <-failed)
	require.NoError(t, far.Ping(ctx).Err())
}

func TestBlock(t *testing.T) {
	t.Parallel()
	r := SharedRedis(t)
	p := StartProxy(t, r.Addr())
	ctx := testContext(t)
	key := newKey(t)
	far, near := behind(t, p, r), r.Client(t)
	require.NoError(t, far.Ping(ctx).Err())

	p.Block()
	fresh := behind(t, p, r)
	answers := make(chan error, 2)
	for _, client := range []*redis.Client{far, fresh} {
		go func() { answers <- client.Incr(ctx, key).Err() }()
	}
	select {
	case err := <-answers:
		t.Fatalf("something came through: %v", err)
	case <-time.After(150 * time.Millisecond):
	}
	require.ErrorIs(t, near.Get(ctx, key).Err(), redis.Nil)

	p.Unblock()
	require.NoError(t, <-answers)
	require.NoError(t, <-answers)
	require.Equal(t, "2", near.Get(ctx, key).Val())
}

// Cleanup must not wait for a proxy that is blocked.
func TestBlockedProxyEnds(t *testing.T) {
	t.Parallel()
	r := SharedRedis(t)
	var conn net.Conn
	t.Run("proxy", func(t *testing.T) {
		p := StartProxy(t, r.Addr())
		p.Block()
		var err error
		conn, err = net.Dial("tcp", p.Addr())
		require.NoError(t, err)
		_, err = conn.Write([]byte("PING\r\n"))
		require.NoError(t, err)
	})
	_, err := conn.Read(make([]byte, 1))
	require.Error(t, err)
	require.NoError(t, conn.Close())
}

func TestProxyOfDeadServer(t *testing.T) {
	t.Parallel()
	r := StartRedis(t)
	p := StartProxy(t, r.Addr())
	ctx := testContext(t)
	far := behind(t, p, r)
	require.NoError(t, far.Ping(ctx).Err())
	r.Kill()
	require.Error(t, far.Ping(ctx).Err())
	require.Error(t, far.Ping(ctx).Err())
	r.Restart()
	eventually(t, "the server is back", func() bool { return far.Ping(ctx).Err() == nil })
}

// The commit arrives although nobody hears of it: the worst case for a caller.
func TestDroppedCommit(t *testing.T) {
	t.Parallel()
	pg := SharedPostgres(t)
	url := pg.Database(t)
	p := StartProxy(t, pg.Addr())
	ctx := testContext(t)
	near := connect(t, url)
	_, err := near.Exec(ctx, "CREATE TABLE a (n int)")
	require.NoError(t, err)
	insert := func() error {
		far, err := pgx.Connect(ctx, p.URL(url))
		require.NoError(t, err)
		defer func() { _ = far.Close(ctx) }()
		return pgx.BeginFunc(ctx, far, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, "INSERT INTO a VALUES ($1)", 1)
			return err
		})
	}
	rows := func() (n int) {
		require.NoError(t, near.QueryRow(ctx, "SELECT count(*) FROM a").Scan(&n))
		return n
	}

	p.CutBefore(1, contains("commit"))
	require.Error(t, insert())
	require.Zero(t, rows())

	p.DropReplyTo(1, contains("commit"))
	require.Error(t, insert())
	require.Equal(t, 1, rows())
	require.NoError(t, insert())
	require.Equal(t, 2, rows())
	require.Equal(t, 2, p.Dropped())
}

// A request whose reply is lost is carried out to its end, even when the reply
// is so long that the server has only sent the beginning.
func TestDroppedLongReply(t *testing.T) {
	t.Parallel()
	pg := SharedPostgres(t)
	url := pg.Database(t)
	p := StartProxy(t, pg.Addr())
	ctx := testContext(t)
	near := connect(t, url)
	_, err := near.Exec(ctx, "CREATE TABLE a (n int, filler text)")
	require.NoError(t, err)
	far := connect(t, p.URL(url))
	const rows = 100_000
	p.DropReplyTo(1, contains("returning"))
	_, err = far.Exec(ctx,
		fmt.Sprintf("INSERT INTO a SELECT n, repeat('x', 100) FROM generate_series(1, %d) n RETURNING *", rows),
		pgx.QueryExecModeSimpleProtocol)
	require.Error(t, err)
	eventually(t, "the insert is complete", func() bool {
		var n int
		require.NoError(t, near.QueryRow(ctx, "SELECT count(*) FROM a").Scan(&n))
		require.Contains(t, []int{0, rows}, n)
		return n == rows
	})
}

// A request in pieces is matched as a whole, and both directions carry much
// data without a change.
func TestProxyCarriesEverything(t *testing.T) {
	t.Parallel()
	r := SharedRedis(t)
	p := StartProxy(t, r.Addr())
	ctx := testContext(t)
	var clients sync.WaitGroup
	for i := range 4 {
		clients.Go(func() {
			key := newKey(t)
			value := bytes.Repeat([]byte{byte(i), 'x', '\n'}, 500_000)
			far := behind(t, p, r)
			if err := far.Set(ctx, key, value, 0).Err(); err != nil {
				t.Error(err)
				return
			}
			got, err := far.Get(ctx, key).Bytes()
			if err != nil || !bytes.Equal(got, value) {
				t.Errorf("not the same came back: %d bytes, %v", len(got), err)
			}
		})
	}
	clients.Wait()
}

func TestRequestInPieces(t *testing.T) {
	t.Parallel()
	r := SharedRedis(t)
	p := StartProxy(t, r.Addr())
	conn, err := net.Dial("tcp", p.Addr())
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	seen := make(chan int, 10)
	p.CutBefore(1, func(request []byte) bool {
		seen <- len(request)
		return contains("needle")(request)
	})
	_, err = io.WriteString(conn, "PING nee")
	require.NoError(t, err)
	require.Equal(t, 8, <-seen)
	_, err = io.WriteString(conn, "dle\r\n")
	require.NoError(t, err)
	require.Equal(t, 13, <-seen)
	_, err = conn.Read(make([]byte, 1))
	require.Error(t, err)
	require.Equal(t, 1, p.Dropped())
}

// What a server says last still arrives, as does what a client says last.
func TestProxyPassesEnds(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = listener.Close() }()
	heard := make(chan string, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		text, _ := io.ReadAll(conn)
		heard <- string(text)
		_, _ = io.WriteString(conn, "bye")
	}()
	p := StartProxy(t, listener.Addr().String())
	var dialer net.Dialer
	conn, err := dialer.DialContext(context.Background(), "tcp", p.Addr())
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	_, err = io.WriteString(conn, "hello")
	require.NoError(t, err)
	require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	require.Equal(t, "hello", <-heard)
	answer, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.Equal(t, "bye", string(answer))
}
