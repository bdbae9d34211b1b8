package main

import (
	"bufio"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

const (
	// processes is how many processes share the callers of book-zipf.
	processes = 4

	// childVariable makes this program a child.
	childVariable = "LASTUNIT_BENCH_CHILD"
)

// job is what a child does. Passwords are in it: it comes by a pipe.
type job struct {
	Redis, Postgres string // URLs
	First, Callers  int    // the first caller's number, and how many there are
}

// start is when to measure, by the machine's clock.
type start struct {
	From, To time.Time
}

// report is what a child has measured.
type report struct {
	Trouble string
	Told    told
	Counts  []uint32
	Ended   int64
}

// sellsInProcesses measures book-zipf: several processes with a shop each, on
// the same servers.
func sellsInProcesses(ctx context.Context, c *cell) (result, error) {
	return loaded(ctx, c, openZipf, func(s contender) (*load, error) {
		shop := s.(*zipf).shop
		share := c.callers / processes
		children := make([]*child, processes)
		for i := range children {
			var err error
			children[i], err = startChild(ctx, job{
				Redis: c.servers.redis.URL(), Postgres: shop.pool.Config().ConnString(), First: i * share, Callers: share,
			})
			if err != nil {
				return nil, err
			}
			c.Cleanup(children[i].end)
		}
		var failed error
		for _, child := range children {
			failed = errors.Join(failed, child.ready())
		}
		if failed != nil {
			return nil, failed
		}
		w := c.window()
		for _, child := range children {
			failed = errors.Join(failed, child.in.Encode(start{w.from, w.to}))
		}
		if failed != nil {
			return nil, failed
		}
		sum := &load{told: &told{}, width: w.to.Sub(w.from)}
		for _, child := range children {
			var r report
			if err := child.out.Decode(&r); err != nil {
				return nil, fmt.Errorf("a process ended too early: %w", err)
			}
			if r.Trouble != "" {
				return nil, errors.New(r.Trouble)
			}
			sum.told.Answers = append(sum.told.Answers, r.Told.Answers...)
			sum.took.add(r.Counts)
			sum.ended += r.Ended
		}
		return sum, nil
	})
}

// child is a process that this one has started.
type child struct {
	command *exec.Cmd
	stdin   io.Closer
	in      *gob.Encoder
	out     *gob.Decoder
}

func startChild(ctx context.Context, j job) (*child, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program)
	cmd.Env = append(os.Environ(), childVariable+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &child{cmd, in, gob.NewEncoder(in), gob.NewDecoder(bufio.NewReader(out))}
	return c, c.in.Encode(j)
}

// ready waits until the child has opened its shop.
func (c *child) ready() error {
	var r report
	if err := c.out.Decode(&r); err != nil {
		return fmt.Errorf("a process ended too early: %w", err)
	}
	if r.Trouble != "" {
		return errors.New(r.Trouble)
	}
	return nil
}

// end closes the child's stdin, by which it ends, and waits for it.
func (c *child) end() {
	_ = c.stdin.Close()
	_ = c.command.Wait()
}

// childMain is the program of a child. It ends when its stdin does, so also when
// its parent is no more.
func childMain() {
	in, out := gob.NewDecoder(os.Stdin), gob.NewEncoder(os.Stdout)
	var j job
	if err := in.Decode(&j); err != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	starts := make(chan start, 1)
	over := make(chan struct{})
	go func() {
		defer close(over)
		defer cancel()
		var s start
		if in.Decode(&s) == nil {
			starts <- s
			_ = in.Decode(&s) // fails at the end of stdin
		}
	}()
	r, err := childWork(ctx, j, starts, func() error { return out.Encode(report{}) })
	if err != nil {
		r = &report{Trouble: err.Error()}
	}
	if out.Encode(r) == nil {
		<-over
	}
}

func childWork(ctx context.Context, j job, starts <-chan start, ready func() error) (*report, error) {
	client, err := newGoRedis(j.Redis)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	pool, err := newPool(ctx, j.Postgres)
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	s, err := newShop(ctx, client, pool)
	if err != nil {
		return nil, err
	}
	defer s.close()
	if err := ready(); err != nil {
		return nil, err
	}
	select {
	case at := <-starts:
		l, err := closedLoop(ctx, &zipf{s}, window{at.From, at.To}, j.First, j.Callers, booked)
		if err != nil {
			return nil, err
		}
		return &report{Told: *l.told, Counts: l.took.counts[:], Ended: l.ended}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
