package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/order"
)

// patience is how long a buyer of -rush asks before giving up.
const patience = 2 * time.Minute

// rushAndAudit is what -rush does. The last line on stdout is the audit's.
func rushAndAudit(ctx context.Context, s settings, on *stores, shop *booking.Service, url string, stdout, stderr io.Writer) error {
	item := order.Item{SKU: "rush-" + rand.Text(), Capacity: s.capacity} // nobody else sells it
	fmt.Fprintf(stdout, "rush: %d buyers, %d at once, for %d units, at %s %s\n", s.rush, s.atOnce, s.capacity, url, on.name)
	r := &rush{
		baseURL: func() string { return url }, sku: item.SKU, capacity: item.Capacity,
		buyers: s.rush, atOnce: s.atOnce, progress: stderr, patience: patience,
	}
	told, err := r.run(ctx)
	if err != nil {
		return fmt.Errorf("the rush was broken off: %w", err)
	}
	told.print(stdout)
	for _, err := range told.failed[:min(len(told.failed), maxNotes)] {
		fmt.Fprintln(stderr, "boxoffice:", err)
	}

	a, err := auditSKU(ctx, on, shop, item, told.booked)
	if err != nil {
		return fmt.Errorf("the audit was broken off: %w", err)
	}
	for _, note := range a.notes[:min(len(a.notes), maxNotes)] {
		fmt.Fprintln(stderr, "boxoffice:", note)
	}
	fmt.Fprintln(stdout, a)
	if !a.clean(s.rush) || len(told.failed) > 0 {
		return errors.New("the books are wrong, or buyers were not told")
	}
	return nil
}

// maxNotes is how many troubles of one kind are shown.
const maxNotes = 10

// print writes the figures of a rush.
func (r *rushed) print(w io.Writer) {
	slices.Sort(r.latencies)
	fmt.Fprintf(w, "buyers %d: booked %d, sold out %d, failed %d; retries %d\n",
		len(r.latencies), len(r.booked), r.soldOut, len(r.failed), r.retries)
	fmt.Fprintf(w, "%.2f s: %.0f buyers/s; %.0f bookings/s until the last unit was sold\n",
		r.seconds, float64(len(r.latencies))/r.seconds, float64(len(r.booked))/max(r.selling, 1e-3))
	fmt.Fprintf(w, "latency of a buyer: p50 %v, p99 %v, worst %v\n", r.percentile(50), r.percentile(99), r.percentile(100))
}

// percentile is of the sorted latencies.
func (r *rushed) percentile(p int) time.Duration {
	if len(r.latencies) == 0 {
		return 0
	}
	return r.latencies[max(0, (len(r.latencies)*p+99)/100-1)].Round(10 * time.Microsecond)
}
