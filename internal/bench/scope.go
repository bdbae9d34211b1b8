package main

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
)

// scope is a part of a program that stands in for a test: package servertest
// starts servers for a testing.TB and ends them with it. Calls of Fatal and Skip
// must be on the goroutine of withScope.
type scope struct {
	testing.TB // for its unexported method; what is not below must not be called

	mu       sync.Mutex
	cleanups []func()
	failures []error
}

// fatal is what Fatal panics with, to leave the scope.
type fatal struct{ err error }

// withScope runs f, and then what f has given to Cleanup, last first, also when
// f panics.
func withScope(f func(*scope) error) (err error) {
	s := &scope{}
	defer func() {
		err = errors.Join(err, s.end())
	}()
	return s.catch(f)
}

// catch makes the panic of Fatal an error.
func (s *scope) catch(f func(*scope) error) (err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case fatal:
			err = p.err
		default:
			panic(p)
		}
	}()
	return f(s)
}

func (s *scope) end() error {
	for cleanup := s.last(); cleanup != nil; cleanup = s.last() {
		if err := s.catch(func(*scope) error { cleanup(); return nil }); err != nil {
			s.fail(err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(s.failures...)
}

// last takes the last one of the cleanups, nil if there is none.
func (s *scope) last() (cleanup func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.cleanups); n > 0 {
		cleanup, s.cleanups = s.cleanups[n-1], s.cleanups[:n-1]
	}
	return cleanup
}

func (s *scope) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures = append(s.failures, err)
}

// Cleanup makes f run when the scope ends.
func (s *scope) Cleanup(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cleanups = append(s.cleanups, f)
}

// Helper does nothing.
func (s *scope) Helper() {}

// Failed says whether there was an error.
func (s *scope) Failed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.failures) > 0
}

// Fatal leaves the scope with an error.
func (s *scope) Fatal(args ...any) { panic(fatal{errors.New(fmt.Sprint(args...))}) }

// Fatalf leaves the scope with an error.
func (s *scope) Fatalf(format string, args ...any) { panic(fatal{fmt.Errorf(format, args...)}) }

// Skip is Fatal: without servers there is nothing to measure.
func (s *scope) Skip(args ...any) { s.Fatal(args...) }

// Error keeps an error, which withScope returns.
func (s *scope) Error(args ...any) { s.fail(errors.New(fmt.Sprint(args...))) }

// Errorf keeps an error, which withScope returns.
func (s *scope) Errorf(format string, args ...any) { s.fail(fmt.Errorf(format, args...)) }

// Logf writes to stderr.
func (s *scope) Logf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
