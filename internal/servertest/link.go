package servertest

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

const (
	dialLimit = 5 * time.Second
	pieceSize = 64 << 10
	// requestLimit bounds what is kept of a request for the rules.
	requestLimit = 1 << 20
)

// link is a client's connection to the proxy and that of the proxy to the
// server.
type link struct {
	proxy  *Proxy
	client *net.TCPConn
	gone   chan struct{} // closed by close

	mu      sync.Mutex
	closed  bool
	server  *net.TCPConn
	request []byte // what came from the client since the last reply
	doomed  bool   // the next reply is to be lost
}

func (l *link) run() {
	defer l.proxy.forget(l)
	defer l.close()
	if !l.proxy.enter(l) {
		return
	}
	conn, err := net.DialTimeout("tcp", l.proxy.target, dialLimit)
	l.proxy.leave()
	if err != nil || !l.connected(conn.(*net.TCPConn)) {
		return
	}
	var replies sync.WaitGroup
	replies.Go(func() {
		l.carry(l.server, l.client, l.reply)
		if l.isDoomed() {
			l.letServerFinish()
		}
	})
	l.carry(l.client, l.server, l.forward)
	replies.Wait()
}

// connected keeps the connection to the server, unless the link was closed.
func (l *link) connected(server *net.TCPConn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		_ = server.Close()
		return false
	}
	l.server = server
	return true
}

// carry hands every piece that comes in from one side to take, until that
// side has no more or take returns false. The end is passed on as well: the
// other side may still have something to say.
func (l *link) carry(from, to *net.TCPConn, take func(piece []byte) bool) {
	buffer := make([]byte, pieceSize)
	for {
		n, err := from.Read(buffer)
		if !l.proxy.enter(l) {
			return
		}
		more := n == 0 || take(buffer[:n])
		switch {
		case !more:
		case errors.Is(err, io.EOF):
			_ = to.CloseWrite()
			more = false
		case errors.Is(err, net.ErrClosed):
			more = false // we did that ourselves, and know what is left to do
		case err != nil:
			l.close()
			more = false
		}
		l.proxy.leave()
		if !more {
			return
		}
	}
}

// forward takes a piece of a request.
func (l *link) forward(piece []byte) bool {
	if !l.isDoomed() {
		switch l.proxy.judge(l.collect(piece)) {
		case cut:
			l.proxy.count()
			l.close()
			return false
		case dropReply:
			l.mu.Lock()
			l.doomed = true
			l.mu.Unlock()
		case pass:
		}
	}
	if _, err := l.server.Write(piece); err != nil {
		l.close()
		return false
	}
	return true
}

// reply takes a piece of a reply.
func (l *link) reply(piece []byte) bool {
	if l.isDoomed() {
		l.proxy.count()
		_ = l.client.Close()
		return false
	}
	l.mu.Lock()
	l.request = nil
	l.mu.Unlock()
	if _, err := l.client.Write(piece); err != nil {
		l.close()
		return false
	}
	return true
}

// letServerFinish tells the server that no more requests come, and takes its
// replies until it hangs up. A connection closed at once could make it abandon
// the request, if it has not yet sent the whole reply.
func (l *link) letServerFinish() {
	_ = l.server.CloseWrite()
	_, _ = io.Copy(io.Discard, l.server)
}

// collect adds a piece to the request and returns all of it.
func (l *link) collect(piece []byte) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.request = append(l.request, piece...)
	if extra := len(l.request) - requestLimit; extra > 0 {
		l.request = l.request[extra:]
	}
	return l.request
}

func (l *link) isDoomed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.doomed
}

// close cuts the connection on both sides.
func (l *link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.closed = true
	close(l.gone)
	_ = l.client.Close()
	if l.server != nil {
		_ = l.server.Close()
	}
}
