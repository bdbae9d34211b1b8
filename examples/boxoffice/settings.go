package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/lastunit/lastunit/inventory"
)

// settings are what the flags and the environment say.
type settings struct {
	listen   string
	redis    string
	postgres string
	prefix   string
	imports  string
	anyway   bool

	rush     int
	capacity int64
	atOnce   int
}

// parse reads the flags. The servers' URLs are not their defaults, because
// -help prints those, and a URL may hold a password.
func parse(args []string, getenv func(string) string, stderr io.Writer) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("boxoffice", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&s.listen, "listen", "127.0.0.1:8080", "`address` to listen on; with -rush, a free port unless given")
	flags.StringVar(&s.redis, "redis", "", "`URL` of Redis; defaults to $REDIS_URL. Without it PostgreSQL alone sells, and without both all is inside the process")
	flags.StringVar(&s.postgres, "postgres", "", "`URL` of PostgreSQL; defaults to $DATABASE_URL")
	flags.StringVar(&s.prefix, "prefix", inventory.DefaultKeyPrefix, "what the keys in Redis begin with")
	flags.StringVar(&s.imports, "import", "", "CSV `file` whose items are put on sale before it opens; one that is on sale in another way is an error")
	flags.BoolVar(&s.anyway, "anyway", false, "open in spite of the problems that a look at the servers finds, such as fsync off")
	flags.IntVar(&s.rush, "rush", 0, "send this many `buyers` at one event, audit, and exit. On real servers the event, with a name of its own, and its orders stay")
	flags.Int64Var(&s.capacity, "capacity", 1000, "`units` on sale in the rush")
	flags.IntVar(&s.atOnce, "at-once", 500, "`buyers` at one time in the rush")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	if flags.NArg() > 0 {
		// Not shown: it may be a URL whose flag is missing.
		return s, errors.New("there is an argument without a flag; see -help")
	}
	given := make(map[string]bool)
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if s.redis == "" {
		s.redis = getenv("REDIS_URL")
	}
	if s.postgres == "" {
		s.postgres = getenv("DATABASE_URL")
	}

	switch {
	case s.redis != "" && s.postgres == "":
		return s, errors.New("there is a Redis (-redis or REDIS_URL) but no PostgreSQL: give -postgres or DATABASE_URL too, or neither")
	case given["import"] && s.imports == "":
		return s, errors.New("-import is empty, want a file")
	case given["rush"] && s.rush < 1:
		return s, fmt.Errorf("-rush is %d, want at least 1", s.rush)
	case s.rush == 0 && (given["capacity"] || given["at-once"]):
		return s, errors.New("-capacity and -at-once are for -rush")
	case s.atOnce < 1 || s.atOnce > maxConnections:
		return s, fmt.Errorf("-at-once is %d, want 1 to %d", s.atOnce, maxConnections)
	}
	if err := inventory.CheckCapacity("-capacity", s.capacity); err != nil {
		return s, err
	}
	if s.rush > 0 && !given["listen"] {
		s.listen = "127.0.0.1:0"
	}
	return s, nil
}

// stores opens the stores that the settings name.
func (s settings) stores(ctx context.Context) (*stores, error) {
	if s.postgres == "" {
		return embedded(s.prefix)
	}
	return connect(ctx, s.redis, s.postgres, s.prefix)
}
