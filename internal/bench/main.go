package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	if os.Getenv(childVariable) != "" {
		childMain()
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // a second signal ends it at once, and the servers with it
	os.Exit(program(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// program is all of it, and returns the exit code.
func program(ctx context.Context, arguments []string, stdout, stderr io.Writer) int {
	s, err := parseSettings(arguments, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	if err := benchmark(ctx, s, commandLine(arguments), stdout, stderr); err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return 1
	}
	return 0
}

// commandLine is how to run this again.
func commandLine(arguments []string) string {
	if command := os.Getenv("LASTUNIT_BENCH_COMMAND"); command != "" {
		return command
	}
	return strings.Join(append([]string{filepath.Base(os.Args[0])}, arguments...), " ")
}

// benchmark starts the servers, measures, and writes the result.
func benchmark(ctx context.Context, s settings, command string, stdout, stderr io.Writer) error {
	places, err := s.places()
	if err != nil {
		return err
	}
	r := &outcome{
		Date: time.Now(), Command: command, RepeatCount: s.repeats, Rate: s.rate,
		Seconds: s.length.Seconds(), Warmup: s.warmup.Seconds(),
	}
	err = withScope(func(scope *scope) error {
		on := startServers(scope)
		if r.Machine, err = machineOf(ctx, on); err != nil {
			return err
		}
		if r.Rows, err = run(ctx, s, on, places, stderr); err == nil && s.orders > 0 {
			r.Growth, err = grow(ctx, s, on, stderr)
		}
		return err
	})
	if err != nil {
		return err
	}
	r.Figures = figuresOf(r.Rows)
	r.print(stdout)
	if r.Growth != nil {
		r.Growth.print(stdout)
	}
	if s.json != "" {
		err = errors.Join(err, r.writeJSON(s.json))
	}
	if s.svg != "" {
		err = errors.Join(err, r.writeChart(s.svg, s.rows))
	}
	return err
}
