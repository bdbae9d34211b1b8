package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// settings are what the flags say.
type settings struct {
	length  time.Duration // of a measurement
	warmup  time.Duration
	repeats int
	callers []int
	rows    []row
	rate    float64 // orders per second of the open loops
	orders  int64   // to pile up; 0 for none
	json    string  // files; "" for none
	svg     string

	patience time.Duration // of an audit, for what is still being settled
}

// Bounds of what a run may take.
const (
	maxSeconds = 600
	maxRepeats = 100
	maxCallers = 100_000
	maxRate    = 10_000_000
	maxOrders  = 1_000_000_000
)

// parseSettings reads the arguments. What is wrong with them it also prints.
func parseSettings(arguments []string, stderr io.Writer) (settings, error) {
	s := settings{patience: 10 * time.Second}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	seconds := flags.Float64("seconds", 3, "how long each measurement lasts")
	warmup := flags.Float64("warmup", 1, "seconds of load before each measurement")
	flags.IntVar(&s.repeats, "repeats", 3, "how often all is measured; the medians are shown")
	callers := flags.String("callers", "1,100,1000,4000", "how many callers there are at once, several in turn")
	names := flags.String("rows", "", "the rows to measure, instead of all: "+strings.Join(rowNames(), ","))
	flags.Float64Var(&s.rate, "rate", 20_000, "orders that arrive in a second, in the rows that end in -open")
	flags.Int64Var(&s.orders, "orders", 0, "also pile up so many orders of one SKU, and compare the first tenth with the last")
	flags.StringVar(&s.json, "json", "", "a `file` for the result as JSON")
	flags.StringVar(&s.svg, "svg", "", "a `file` for the charts")
	if err := flags.Parse(arguments); err != nil {
		return s, err
	}
	err := s.fill(*seconds, *warmup, *callers, *names)
	if err == nil && flags.NArg() > 0 {
		err = fmt.Errorf("%q is not a flag", flags.Arg(0))
	}
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
	}
	return s, err
}

func (s *settings) fill(seconds, warmup float64, callers, names string) error {
	if !(seconds > 0 && seconds <= maxSeconds) || !(warmup >= 0 && warmup <= maxSeconds) {
		return fmt.Errorf("-seconds and -warmup go up to %d", maxSeconds)
	}
	s.length = time.Duration(seconds * float64(time.Second))
	s.warmup = time.Duration(warmup * float64(time.Second))
	if s.repeats < 1 || s.repeats > maxRepeats {
		return fmt.Errorf("-repeats goes from 1 to %d", maxRepeats)
	}
	if !(s.rate > 0 && s.rate <= maxRate) {
		return fmt.Errorf("-rate goes up to %d", maxRate)
	}
	if s.orders != 0 && (s.orders < 10 || s.orders > maxOrders || s.orders%10 != 0) {
		return fmt.Errorf("-orders is a multiple of 10, up to %d", maxOrders)
	}
	for text := range strings.SplitSeq(callers, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < 1 || n > maxCallers {
			return fmt.Errorf("-callers are numbers from 1 to %d with commas between", maxCallers)
		}
		s.callers = append(s.callers, n)
	}
	slices.Sort(s.callers)
	s.callers = slices.Compact(s.callers)
	if names == "" {
		s.rows = rows
		return nil
	}
	chosen := strings.Split(names, ",")
	for _, name := range chosen {
		if !slices.Contains(rowNames(), name) {
			return fmt.Errorf("there is no row %q", name)
		}
	}
	for _, r := range rows {
		if slices.Contains(chosen, r.name) {
			s.rows = append(s.rows, r)
		}
	}
	return nil
}

func rowNames() []string {
	names := make([]string, len(rows))
	for i, r := range rows {
		names[i] = r.name
	}
	return names
}

// cellLimit bounds one measurement, with all that it takes to prepare and to
// audit it.
func (s settings) cellLimit() time.Duration {
	return 2*time.Minute + 10*(s.warmup+s.length)
}

// place is a row with so many callers.
type place struct {
	row     row
	callers int
}

var errNothing = errors.New("no row is measured with so many callers")

// places are what is measured, in the order of the table.
func (s settings) places() ([]place, error) {
	var places []place
	for _, r := range s.rows {
		for _, callers := range s.callers {
			if r.callers(callers) {
				places = append(places, place{r, callers})
			}
		}
	}
	if places == nil {
		return nil, errNothing
	}
	return places, nil
}
