package booking

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// Holds that expire, and what a process that died has accepted, need a Run in some
// process. Forgetting it shows only when units are missing, so a process that holds or
// accepts and has no Run of its own looks now and then whether another one does the work.

// attendance is whether this process does the background work.
type attendance struct {
	runs   atomic.Int32 // calls of Run under way
	looked atomic.Int64 // when it was looked whether another process does it, as sinceStart; 0 if this one never needed it
}

const (
	// unattendedAfter is for how long a process holds or accepts without a Run before
	// it looks, and how often it looks.
	unattendedAfter = time.Minute

	// lateAfter is how late the background work is at the least where it is missing.
	lateAfter = 10 * time.Second
)

// needsRun notes that this process has made something that Run has to end.
func (s *Service) needsRun() {
	if s.attendance.runs.Load() > 0 {
		return
	}
	now, looked := sinceStart(time.Now()), s.attendance.looked.Load()
	if looked != 0 && now-looked < int64(unattendedAfter) || !s.attendance.looked.CompareAndSwap(looked, now) || looked == 0 {
		return
	}
	s.inHand.enter()
	go func() {
		defer s.inHand.leave()
		ctx, cancel := s.bound(context.Background())
		defer cancel()
		upkeep, err := s.config.Orders.Upkeep(ctx)
		if err != nil {
			s.log.DebugContext(ctx, "lastunit: could not find out whether a process does the background work", "error", err)
			return
		}
		if overdue, unclaimed := s.late(upkeep); overdue > 0 || unclaimed {
			s.log.WarnContext(ctx, "lastunit: no process calls Service.Run: holds don't expire, and what a process that died has accepted is not committed",
				"holds overdue for", overdue)
		}
	}()
}

// late returns for how long a hold is overdue, 0 if none is by much, and whether no
// process has compared SKUs for a while.
func (s *Service) late(u order.Upkeep) (overdue time.Duration, unclaimed bool) {
	after := max(lateAfter, 10*s.config.CheckEvery)
	if !u.DueAt.IsZero() {
		overdue = u.At.Sub(u.DueAt).Round(time.Second)
	}
	if overdue < after {
		overdue = 0
	}
	return overdue, !s.direct() && u.At.Sub(u.ClaimedAt) > after
}

// checkUpkeep looks whether some process does the background work. It finds nothing
// where the store does not answer.
func (s *Service) checkUpkeep(ctx context.Context) (found inventory.Findings) {
	upkeep, err := s.config.Orders.Upkeep(ctx)
	if err != nil {
		return nil
	}
	const advice = "call Service.Run in every process, until it ends"
	overdue, unclaimed := s.late(upkeep)
	switch {
	case overdue > 0:
		found = append(found, inventory.Finding{
			Severity: inventory.Notice, Where: "orders", What: "holds that are overdue", Found: fmt.Sprint("for ", overdue),
			Means:  "their units are not sold to others: no process called Service.Run for so long, or the database does not let these orders be changed, as the log says then",
			Advice: advice,
		})
	case unclaimed && s.attendance.looked.Load() != 0 && s.attendance.runs.Load() == 0:
		found = append(found, inventory.Finding{
			Severity: inventory.Notice, Where: "booking", What: "Service.Run", Found: "not called",
			Means:  "this process holds or accepts orders, and no process ends holds or commits what a process that died has accepted",
			Advice: advice,
		})
	}
	return found
}
