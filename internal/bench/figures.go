package main

import "math"

// figure compares rows of one run.
type figure struct {
	Name  string  `json:"name"`
	Want  float64 `json:"want"`
	Most  bool    `json:"most,omitzero"` // at most what is wanted, not at least
	Got   float64 `json:"got"`
	Holds bool    `json:"holds"`
}

// figuresOf computes the figures that the rows are enough for.
func figuresOf(found []measured) []figure {
	var figures []figure
	add := func(name string, want float64, most bool, value func(at) float64) {
		a := at{found, new(bool)}
		got := value(a)
		if *a.missing || math.IsNaN(got) || math.IsInf(got, 0) { // nothing ended in the window
			return
		}
		figures = append(figures, figure{name, want, most, got, got >= want && !most || got <= want && most})
	}
	ratio := func(a, b string, want float64) {
		add(a+" / "+b, want, false, func(at at) float64 { return at.perSecond(a) / at.perSecond(b) })
	}
	ratio("book", "seed-redis", 2)
	ratio("book", "seed-postgres", 50)
	add("p99 of book / p99 of seed-redis", 1, true, func(at at) float64 {
		return at.row("book", shownCallers).P99 / at.row("seed-redis", shownCallers).P99
	})
	ratio("deduct", "lua-per-call", 7)
	ratio("deduct", "rueidis", 2.5)
	ratio("deduct", "limit-evalsha", 1)
	ratio("book", "limit-copy", 0.6)
	ratio("book", "book-no-ledger", 0.8)
	ratio("book-zipf", "book", 0.5)
	add("soldout, refusals per second", 5_000_000, false, func(at at) float64 { return at.perSecond("soldout") })
	add("1 caller: p50 of book / (bare-evalsha + bare-insert)", 1.2, true, func(at at) float64 {
		return at.row("book", 1).P50 / (at.row("bare-evalsha", 1).P50 + at.row("bare-insert", 1).P50)
	})
	return figures
}

// at finds rows, and takes note of those that are missing.
type at struct {
	found   []measured
	missing *bool
}

func (a at) row(name string, callers int) measured {
	for _, m := range a.found {
		if m.Name == name && m.Callers == callers {
			return m
		}
	}
	*a.missing = true
	return measured{}
}

func (a at) perSecond(name string) float64 { return a.row(name, shownCallers).PerSecond }
