package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// The lengths of a stall, and of the pause until the next one.
const (
	shortestStall = 200 * time.Millisecond
	longestStall  = 2500 * time.Millisecond
	shortestPause = 2 * time.Second
	longestPause  = 5 * time.Second
)

// crowd is how many threads a processor is taken with where none may have real-time
// priority: the others get one part in so many.
const crowd = 50

func main() {
	limit := flag.Duration("for", 2*time.Hour, "how long the command may run")
	busy := flag.Int("busy", 8, "busy loops beside it")
	flag.Parse()
	if flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "usage: stalls [-for 2h] [-busy 8] command [argument ...]")
		os.Exit(2)
	}
	err := run(*limit, *busy, flag.Args())
	var failed *exec.ExitError
	switch {
	case errors.As(err, &failed) && failed.ExitCode() > 0:
		os.Exit(failed.ExitCode())
	case err != nil:
		fmt.Fprintln(os.Stderr, "stalls:", err)
		os.Exit(1)
	}
}

// run runs the command while the machine stalls.
func run(limit time.Duration, busy int, command []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("the command takes longer than %v", limit))
	defer cancel()

	threads, realTime := runtime.NumCPU(), mayHaveRealTime()
	if !realTime {
		threads *= crowd
	}
	runtime.GOMAXPROCS(threads + busy + runtime.NumCPU()) // so that each loop has a thread
	fmt.Fprintf(os.Stderr, "stalls: taking %d processors for %v to %v, every %v to %v (real-time priority: %v), and %d busy loops\n",
		runtime.NumCPU(), shortestStall, longestStall, shortestPause, longestPause, realTime, busy)
	for range busy {
		go func() {
			for ctx.Err() == nil {
				spin(time.Now().Add(100 * time.Millisecond))
			}
		}()
	}
	go func() {
		for {
			select {
			case <-time.After(between(shortestPause, longestPause)):
				stall(between(shortestStall, longestStall), threads, realTime)
			case <-ctx.Done():
				return
			}
		}
	}()

	cmd := exec.CommandContext(ctx, command[0], command[1:]...) //nolint:gosec // it is the user's command
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Run(); err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	return nil
}

// stall takes all processors for so long.
func stall(length time.Duration, threads int, realTime bool) {
	until := time.Now().Add(length)
	var all sync.WaitGroup
	for range threads {
		all.Go(func() {
			if realTime {
				// The thread is not unlocked again: it ends with its goroutine.
				runtime.LockOSThread()
				_ = takeRealTime()
			}
			spin(until)
		})
	}
	all.Wait()
}

// mayHaveRealTime reports whether a thread may have real-time priority.
func mayHaveRealTime() bool {
	answer := make(chan error)
	go func() {
		runtime.LockOSThread() // and ends with its goroutine
		answer <- takeRealTime()
	}()
	return <-answer == nil
}

func spin(until time.Time) {
	for time.Now().Before(until) {
	}
}

func between(shortest, longest time.Duration) time.Duration {
	return shortest + rand.N(longest-shortest)
}
