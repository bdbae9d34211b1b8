package booking

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// Check says what is wrong before the sale begins, and changes nothing on the servers. Call it once
// at start-up, after order.Migrate; it takes a handful of round trips. Both servers are
// asked about their settings, the rights of their users and their clocks, and so are
// the settings of the client and the pool:
//
//	findings, err := shop.Check(ctx)
//	for _, finding := range findings {
//		log.Print(finding)
//	}
//	if err != nil {
//		return err // a server does not answer; what the other one says is in the findings
//	}
//	return findings.Err()
//
// A Problem breaks a promise, or stops the sale: a replica, fsync off, keys that may be
// evicted, a right that is missing, tables that are not there (order.ErrNotMigrated),
// another database that sells under the same keys in Redis, or this one under others;
// this process does not use Redis then, as when Run finds it, until a later look at both
// finds that they belong together.
// A Notice is worth knowing; what could not be asked is one, as Check needs no rights
// beyond those that selling needs. An Inventory or Orders that is no inventory.Checker,
// such as those in memory, has nothing to say.
//
// It fails with inventory.ErrUnavailable or order.ErrUnavailable if a server does not
// answer; what the other one says comes beside the error. With WhenRedisDown as
// SellDirect a Redis that does not answer is a Notice.
//
// Clocks that are a second apart, or more, are a Notice: see the package's
// documentation for what they decide. The nodes of a cluster that are further apart than
// inventory.DeductTimeout are a Problem.
func (s *Service) Check(ctx context.Context) (inventory.Findings, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	var fast, durable inventory.Checkup
	var fastErr, durableErr error
	var both sync.WaitGroup
	if checker, ok := s.config.Inventory.(inventory.Checker); ok {
		both.Go(func() { fast, fastErr = checker.Check(ctx) })
	}
	if checker, ok := s.config.Orders.(inventory.Checker); ok {
		both.Go(func() { durable, durableErr = checker.Check(ctx) })
	}
	both.Wait()
	found := slices.Concat(fast.Findings, durable.Findings)
	if fastErr != nil && s.config.WhenRedisDown == SellDirect {
		found = append(found, inventory.Finding{
			Severity: inventory.Notice, Where: "Redis", What: "connection", Found: "dead", Err: fastErr,
			Means:  "PostgreSQL alone sells until it answers (SellDirect): " + fastErr.Error(),
			Advice: "bring it back, or compare address, port and TLS in redis.Options with its own",
		})
		fastErr = nil
	}
	found = append(found, compareClocks(fast.Clocks, durable.Clocks)...)
	if fastErr == nil && durableErr == nil && !s.direct() {
		found = append(found, s.checkPairing(ctx)...)
	}
	if durableErr == nil && found.Err() == nil {
		found = append(found, s.checkUpkeep(ctx)...)
	}
	slices.SortStableFunc(found, func(a, b inventory.Finding) int { return -strings.Compare(string(a.Severity), string(b.Severity)) })
	return found, errors.Join(fastErr, durableErr)
}

// checkPairing looks whether another order store uses the same keys in Redis, or this one
// other keys: each of the two would rebuild what the other one has, again and again. It
// finds nothing where a side does not answer. What it finds it takes note of, as a
// process in which no Run looks would go on to use Redis.
func (s *Service) checkPairing(ctx context.Context) (found inventory.Findings) {
	s.canaries.pairing.Lock()
	defer s.canaries.pairing.Unlock()
	pairing, err := s.config.Orders.Paired(ctx)
	if err != nil {
		return nil
	}
	canaries, err := s.readCanaries(ctx, "")
	if err != nil {
		return nil
	}
	wrong := s.mispaired(pairing, canaries)
	s.setUnpaired(ctx, wrong)
	if wrong != nil {
		return inventory.Findings{wrong.finding()}
	}
	// Another one that has not looked for a canary yet, as one without Run.
	page, err := s.config.Orders.Scan(ctx, order.AllPartitions, "", checkPage)
	if err != nil || len(page) == 0 {
		return nil
	}
	skus := make([]string, len(page))
	for i, c := range page {
		skus[i] = c.SKU
	}
	stocks, err := s.readStock(ctx, skus)
	if err != nil {
		return nil
	}
	for i, stock := range stocks {
		if stock.Err == nil && stock.Why == "" && stock.Store != page[i].Store {
			return inventory.Findings{{
				Severity: inventory.Problem, Where: "Redis", What: fmt.Sprintf("the store of SKU %q", page[i].SKU), Found: "another one",
				Means:  "another database sells under the same keys, and each keeps rebuilding what the other one has, so that little is sold",
				Advice: anotherPrefix,
			}}
		}
	}
	return nil
}

// clocksApart is from when on a difference of clocks is worth a word: NTP keeps them
// within a few hundredths of that.
const clocksApart = time.Second

// compareClocks says where a difference of clocks will be noticed. Redis's clock and
// this process's need not agree: they are compared with each deduct. How fast clocks go
// matters more than what they show, and can't be seen at once.
func compareClocks(fast, durable []inventory.Clock) (found inventory.Findings) {
	add := func(a, b inventory.Clock, of, means string) {
		apart := a.Apart(b)
		if apart < clocksApart {
			return
		}
		way := "ahead of"
		if a.Ahead < b.Ahead {
			way = "behind"
		}
		found = append(found, inventory.Finding{
			Severity: inventory.Notice, Where: a.Where, What: "clock", Found: fmt.Sprintf("%v %s %s", apart.Round(time.Millisecond), way, of),
			Means: means, Advice: "let NTP set both clocks",
		})
	}
	for _, postgres := range durable {
		add(postgres, inventory.Clock{}, "this process's",
			"PostgreSQL decides when a hold is over and whether a sale is open: what this program shows of ExpiresAt, OpensAt and ClosesAt is wrong by that much")
		for _, redis := range fast {
			add(redis, postgres, postgres.Where+"'s",
				"for that long around the opening and the closing of a sale Redis holds nobody back from PostgreSQL, which decides")
		}
	}
	return found
}
