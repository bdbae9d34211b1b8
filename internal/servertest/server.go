package servertest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// startLimit is long, as a recovery on a busy machine takes its time.
	startLimit = 5 * time.Minute
	// pingLimit bounds one question whether the server is ready.
	pingLimit = 2 * time.Second
	// portTries is how many ports are tried for a new server.
	portTries = 5
)

// errPortTaken says that another process was faster to take the port.
var errPortTaken = errors.New("the port is taken")

// server is what Redis and Postgres have in common. An external one has but
// name, password and external.
type server struct {
	name     string
	external *external
	dir      *directory
	password string
	account  *account

	command    func(port int) *exec.Cmd
	ping       func(ctx context.Context) error
	stopSignal syscall.Signal // saves what is to be saved
	endSignal  syscall.Signal // is fast
	afterKill  func()

	mu     sync.Mutex // held while the state changes
	port   *port
	proc   *process
	paused []int // pids, while the server is paused
	guard  *guard
}

func (s *server) addr() string {
	if s.external != nil {
		return s.external.addr
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port.number))
}

func (s *server) log() logFile {
	return logFile{path: s.dir.join("server.log"), secret: s.password}
}

// launch starts a new server on a free port. The port is fixed from then on.
func (s *server) launch() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	for range portTries {
		if s.port, err = reservePort(); err != nil {
			return err
		}
		if err = s.start(); err == nil {
			return nil
		}
		s.port.release()
		if !errors.Is(err, errPortTaken) {
			break
		}
	}
	return err
}

// start starts the process and waits until it is ready.
func (s *server) start() error {
	log, err := s.log().open()
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	before := s.log().size()
	cmd := s.command(s.port.number)
	cmd.Dir = s.dir.path
	cmd.Env = serverEnvironment()
	cmd.Stdout = log
	cmd.Stderr = log
	cmd.SysProcAttr = attributes(s.account)
	proc, err := startProcess(cmd)
	if err != nil {
		return fmt.Errorf("cannot start %s: %w", s.name, err)
	}
	if err := s.awaitReady(proc); err != nil {
		err = errors.Join(err, proc.kill())
		printed := s.log().since(before)
		if strings.Contains(printed, "Address already in use") {
			err = errors.Join(errPortTaken, err)
		}
		return fmt.Errorf("%s did not start: %w\nIts log ends:\n%s", s.name, err, s.log().tail())
	}
	s.proc = proc
	return nil
}

func (s *server) awaitReady(proc *process) error {
	var last error
	err := poll(startLimit, func() (bool, error) {
		if proc.ended() {
			return false, fmt.Errorf("the process ended: %w", proc.err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), pingLimit)
		defer cancel()
		last = s.ping(ctx)
		return last == nil, nil
	})
	if errors.Is(err, errTooLate) {
		return errors.Join(err, last)
	}
	return err
}

// serverEnvironment is ours without what would change a server's behaviour.
func serverEnvironment() []string {
	env := []string{"LC_ALL=C"}
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		switch {
		case strings.HasPrefix(name, "PG"), strings.HasPrefix(name, "LC_"), name == "LANG", name == "LANGUAGE":
		default:
			env = append(env, entry)
		}
	}
	return env
}

func (s *server) isRunning() bool {
	return s.proc != nil && !s.proc.ended()
}

func (s *server) kill() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.killLocked()
}

func (s *server) killLocked() error {
	if s.proc == nil {
		return nil
	}
	if err := s.proc.kill(); err != nil {
		return err
	}
	s.guard.release()
	s.proc, s.paused, s.guard = nil, nil, nil
	s.afterKill()
	return nil
}

func (s *server) stop(signal syscall.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resumeLocked()
	if !s.isRunning() {
		return s.killLocked()
	}
	return errors.Join(s.proc.stop(signal), s.killLocked())
}

func (s *server) pause() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.paused != nil:
		return nil
	case !s.isRunning():
		return fmt.Errorf("%s is not running", s.name)
	}
	pids, err := s.proc.freeze()
	if err != nil {
		return err
	}
	s.paused = pids
	s.guard, err = startGuard(pids)
	if err != nil {
		s.resumeLocked()
	}
	return err
}

func (s *server) resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resumeLocked()
}

func (s *server) resumeLocked() {
	thaw(s.paused)
	s.guard.release()
	s.paused, s.guard = nil, nil
}

// restart kills the server if it runs, and starts it on the same port.
func (s *server) restart() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.killLocked(); err != nil {
		return err
	}
	var last error
	err := poll(signalLimit, func() (bool, error) {
		last = s.start()
		if errors.Is(last, errPortTaken) {
			return false, nil // it may be the source port of a short connection
		}
		return true, last
	})
	if errors.Is(err, errTooLate) {
		return last
	}
	return err
}

// whenStopped runs f, which changes the files, only if the server is stopped.
func (s *server) whenStopped(f func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isRunning() {
		return fmt.Errorf("%s is running: stop or kill it first", s.name)
	}
	return f()
}

// end stops the server and removes everything.
func (s *server) end() error {
	if s.external != nil {
		return nil
	}
	err := s.stop(s.endSignal)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.port.release()
	return errors.Join(err, s.dir.remove())
}
