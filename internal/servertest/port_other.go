//go:build !linux

package servertest

import "net"

// port is a loopback port that was free a moment ago.
type port struct {
	number int
}

func reservePort() (*port, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	number := l.Addr().(*net.TCPAddr).Port
	return &port{number: number}, l.Close()
}

func (p *port) release() {}
