package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// print writes the result as Markdown, for people and for the README.
func (r *outcome) print(w io.Writer) {
	fmt.Fprintf(w, "%s, %s, %d cores, %s of memory, %s.\n", r.Date.Format("2 January 2006"), r.Machine.CPU, r.Machine.Cores, r.Machine.Memory, r.Machine.System)
	fmt.Fprintf(w, "%s, Redis %s, PostgreSQL %s. `%s`\n\n", r.Machine.Go, r.Machine.Redis, r.Machine.Postgres, r.Command)
	fmt.Fprintf(w, "Medians of %d measurements of %g s each. The orders of the rows that end in -open arrive at %s per second.\n\n",
		r.RepeatCount, r.Seconds, thousands(r.Rate))
	lines := [][]string{{"row", "callers", "per second", "p50", "p99", "durable"}}
	for _, m := range r.Rows {
		durable := "no"
		if m.Durable {
			durable = "yes"
		}
		lines = append(lines, []string{
			"`" + m.Name + "`", thousands(float64(m.Callers)), thousands(m.PerSecond), fromMicros(m.P50), fromMicros(m.P99), durable,
		})
	}
	table(w, "lrrrrl", lines)
	if len(r.Figures) == 0 {
		return
	}
	fmt.Fprintf(w, "\nPer second at %s callers, unless it says otherwise:\n\n", thousands(shownCallers))
	lines = [][]string{{"figure", "wanted", "got", "holds"}}
	for _, f := range r.Figures {
		bound, holds := "at least ", "no"
		if f.Most {
			bound = "at most "
		}
		if f.Holds {
			holds = "yes"
		}
		lines = append(lines, []string{f.Name, bound + ratio(f.Want), ratio(f.Got), holds})
	}
	table(w, "lrrl", lines)
}

// table writes lines of cells, the first one the names; align has an l or an r for
// each column.
func table(w io.Writer, align string, lines [][]string) {
	widths := make([]int, len(align))
	for _, line := range lines {
		for i, cell := range line {
			widths[i] = max(widths[i], len(cell))
		}
	}
	for n, line := range lines {
		for i, cell := range line {
			pad := strings.Repeat(" ", widths[i]-len(cell))
			if align[i] == 'r' {
				cell, pad = pad+cell, ""
			}
			fmt.Fprint(w, "| ", cell, pad, " ")
		}
		fmt.Fprintln(w, "|")
		if n > 0 {
			continue
		}
		for i := range align {
			rule := strings.Repeat("-", widths[i]+1)
			if align[i] == 'r' {
				fmt.Fprint(w, "|", rule, ":")
			} else {
				fmt.Fprint(w, "|", rule, "-")
			}
		}
		fmt.Fprintln(w, "|")
	}
}

// thousands writes a number without a fraction, in groups of three digits.
func thousands(x float64) string {
	digits := strconv.FormatFloat(x, 'f', 0, 64)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// ratio writes a number that is small or large.
func ratio(x float64) string {
	if x >= 1000 {
		return thousands(x)
	}
	return strconv.FormatFloat(x, 'f', 2, 64)
}

func fromMicros(us float64) string { return shortly(time.Duration(us * float64(time.Microsecond))) }

// shortly writes a duration with three digits.
func shortly(d time.Duration) string {
	switch {
	case d == 0:
		return "-" // nothing ended in the window
	case d >= time.Second:
		return digits3(d.Seconds()) + " s"
	case d >= time.Millisecond:
		return digits3(d.Seconds()*1e3) + " ms"
	default:
		return digits3(d.Seconds()*1e6) + " us"
	}
}

func digits3(x float64) string {
	switch {
	case x >= 100:
		return strconv.FormatFloat(x, 'f', 0, 64)
	case x >= 10:
		return strconv.FormatFloat(x, 'f', 1, 64)
	default:
		return strconv.FormatFloat(x, 'f', 2, 64)
	}
}
