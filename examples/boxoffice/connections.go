package main

import (
	"net"
	"sync"
)

// limit bounds how many connections are open at one time. Further ones wait in
// the kernel until one of them ends, as each does by one of the timeouts.
func limit(listener net.Listener, connections int) net.Listener {
	return &limited{Listener: listener, slots: make(chan struct{}, connections), closed: make(chan struct{})}
}

type limited struct {
	net.Listener
	slots  chan struct{} // one element for each open connection
	closed chan struct{}
	once   sync.Once
}

func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &connection{Conn: conn, free: sync.OnceFunc(func() { <-l.slots })}, nil
}

func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type connection struct {
	net.Conn
	free func()
}

func (c *connection) Close() error {
	defer c.free()
	return c.Conn.Close()
}
