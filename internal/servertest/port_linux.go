package servertest

import (
	"os"
	"syscall"
)

// port is a loopback port set aside for a server.
//
// The socket is bound but does not listen. As both we and the servers set
// SO_REUSEADDR, the server may bind and listen on the port, whereas the kernel
// gives it to nobody who asks for any free port: neither to another server,
// while ours is down for a restart, nor to a client as its own address.
type port struct {
	number int
	fd     int
}

func reservePort() (*port, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	p := &port{fd: fd}
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		p.release()
		return nil, os.NewSyscallError("setsockopt", err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		p.release()
		return nil, os.NewSyscallError("bind", err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		p.release()
		return nil, os.NewSyscallError("getsockname", err)
	}
	p.number = name.(*syscall.SockaddrInet4).Port
	return p, nil
}

func (p *port) release() {
	_ = syscall.Close(p.fd)
}
