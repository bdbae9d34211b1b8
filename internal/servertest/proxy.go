package servertest

import (
	"net"
	"net/url"
	"sync"
	"testing"
	"time"
)

// blockLimit is how long Block waits for bytes that are under way. They are
// stuck if the receiver is paused.
const blockLimit = time.Second

// Proxy is a TCP proxy on a free loopback port that fails on demand.
//
// It knows no protocol. A request is all that a client has sent on a
// connection since the server last sent something, a reply is what the server
// sends next. That is exact as long as the client waits for a reply before it
// sends the next request, as go-redis and pgx do. The handshake of a new
// connection has requests and replies too.
type Proxy struct {
	target   string
	listener net.Listener
	all      sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	links   map[*link]struct{}
	rules   []*rule
	dropped int
	blocked chan struct{} // not nil while blocked; closed by Unblock
	moving  int           // transfers under way
}

// StartProxy starts a proxy in front of the target, a host:port, that ends
// with the test.
func StartProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("cannot start a proxy: %v", err)
	}
	p := &Proxy{target: target, listener: listener, links: map[*link]struct{}{}}
	p.all.Add(1)
	go p.accept()
	t.Cleanup(p.close)
	return p
}

// Addr returns the proxy's address as host:port.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// URL returns the URL of a server with the proxy's address in it.
func (p *Proxy) URL(server string) string {
	u, err := url.Parse(server)
	if err != nil {
		panic("servertest: not a URL") // without the error, which has the password
	}
	u.Host = p.Addr()
	return u.String()
}

// DropReplies loses the replies to the next n requests: they reach the server,
// but the connection is closed in place of a reply. Requests that came before
// this call are not meant.
func (p *Proxy) DropReplies(n int) {
	p.DropReplyTo(n, func([]byte) bool { return true })
}

// DropReplyTo loses the replies to the next n requests that match. The match
// may see a request more than once, when it comes in pieces, and must not keep
// it.
func (p *Proxy) DropReplyTo(n int, match func(request []byte) bool) {
	p.add(&rule{verdict: dropReply, left: n, match: match})
}

// CutBefore closes the connection in place of forwarding the request, for the
// next n requests that match.
func (p *Proxy) CutBefore(n int, match func(request []byte) bool) {
	p.add(&rule{verdict: cut, left: n, match: match})
}

// Dropped returns how many replies were lost and requests cut so far.
func (p *Proxy) Dropped() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dropped
}

// Reset takes back what is left of DropReplies, DropReplyTo and CutBefore.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = nil
}

// CutAll closes every connection. New ones are welcome.
func (p *Proxy) CutAll() {
	for _, l := range p.current() {
		l.close()
	}
}

// Block makes the proxy a black hole: connections stay open and new ones are
// accepted, but nothing is forwarded. Nothing is lost either: Unblock lets
// everything through that came meanwhile.
func (p *Proxy) Block() {
	p.mu.Lock()
	if p.blocked == nil {
		p.blocked = make(chan struct{})
	}
	p.mu.Unlock()
	_ = poll(blockLimit, func() (bool, error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.moving == 0, nil
	})
}

// Unblock ends Block.
func (p *Proxy) Unblock() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.blocked != nil {
		close(p.blocked)
		p.blocked = nil
	}
}

func (p *Proxy) accept() {
	defer p.all.Done()
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return
		}
		l := &link{proxy: p, client: conn.(*net.TCPConn), gone: make(chan struct{})}
		if !p.register(l) {
			l.close()
			return
		}
		go l.run()
	}
}

// register makes a connection known, unless the proxy is closed.
func (p *Proxy) register(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.links[l] = struct{}{}
	p.all.Add(1)
	return true
}

func (p *Proxy) forget(l *link) {
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
	p.all.Done()
}

func (p *Proxy) current() []*link {
	p.mu.Lock()
	defer p.mu.Unlock()
	links := make([]*link, 0, len(p.links))
	for l := range p.links {
		links = append(links, l)
	}
	return links
}

// enter waits while the proxy is blocked. If it returns true something may be
// forwarded, until leave.
func (p *Proxy) enter(l *link) bool {
	for {
		p.mu.Lock()
		blocked := p.blocked
		if blocked == nil {
			p.moving++
			p.mu.Unlock()
			return true
		}
		p.mu.Unlock()
		select {
		case <-blocked:
		case <-l.gone:
			return false
		}
	}
}

func (p *Proxy) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.moving--
}

func (p *Proxy) count() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dropped++
}

func (p *Proxy) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	_ = p.listener.Close()
	p.CutAll()
	p.all.Wait()
}
