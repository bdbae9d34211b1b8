package booking

import (
	"fmt"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// Kind says in what way the two sides of a SKU differ.
type Kind string

// The kinds of difference, which number differs, and what repairs it.
const (
	KindMissing   Kind = "missing"   // epoch: Redis has no counters; rebuild
	KindForeign   Kind = "foreign"   // epoch: Redis has those of another order store; rebuild
	KindFormat    Kind = "format"    // epoch: Redis has counters that another build wrote in a way of its own; rebuild
	KindGarbage   Kind = "garbage"   // epoch: Redis has something else there; rebuild
	KindEpoch     Kind = "epoch"     // epoch; rebuild
	KindVersion   Kind = "version"   // version: Redis has an older supply; push
	KindSupply    Kind = "supply"    // units, or version: Redis has a supply that there never was; rebuild
	KindTerms     Kind = "terms"     // version, the same on both sides: Redis has terms that were never those of it; rebuild
	KindLost      Kind = "lost"      // units: Redis took less than Postgres admitted; rebuild
	KindStuck     Kind = "stuck"     // units: Redis settled more than Postgres admitted; rebuild
	KindRetired   Kind = "retired"   // epoch: Redis still has counters of a retired SKU; remove them
	KindUnsettled Kind = "unsettled" // units: Redis has deductions that are neither settled nor restored; sweep
	KindAllocated Kind = "allocated" // units: Postgres's counter is not the sum of its orders; recount
	KindUncounted Kind = "uncounted" // units: of orders that were cancelled by CancelTx and not counted yet; count
	KindNumber    Kind = "number"    // movements: there are that many beyond the number of the last one that Postgres has; recount
	KindOrphan    Kind = "orphan"    // units: Postgres has live orders of them, or movements, and somebody deleted the SKU; see order.ErrOrphaned
	KindMoved     Kind = "moved"     // units: the movements don't add up to a counter of Postgres; recount

	unread Kind = "unread" // Redis could not be asked; nobody is told so
)

// Difference is one way in which the two sides of a SKU differ.
type Difference struct {
	SKU      string `json:"sku"`
	Kind     Kind   `json:"kind"`
	Redis    int64  `json:"redis"`    // the number in Redis; for Allocated the counter in Postgres, for Moved the sum of the movements, for Number how many
	Postgres int64  `json:"postgres"` // the number that Postgres has for it
}

// because says the difference as the reason for a rebuild.
func (d Difference) because() string {
	switch d.Kind {
	case KindMissing:
		return "there were none in Redis"
	case KindFormat:
		return "those in Redis were of another format"
	case KindGarbage:
		return "what was there in Redis were no counters of ours"
	case KindForeign:
		return (&inventory.NotLoadedError{SKU: d.SKU, Why: inventory.WhyForeign}).Error()
	case KindLost, KindStuck, KindSupply, KindEpoch, KindTerms:
		return fmt.Sprintf("they differ in what Reconcile calls %q: %d in Redis, %d in Postgres", d.Kind, d.Redis, d.Postgres)
	}
	return string(d.Kind)
}

// differencesIn are the differences within Postgres.
func differencesIn(t order.Tally) []Difference {
	var found []Difference
	differ := func(kind Kind, is, wanted int64) {
		if is != wanted {
			found = append(found, Difference{t.Counters.SKU, kind, is, wanted})
		}
	}
	if t.Orphan {
		return []Difference{{t.Counters.SKU, KindOrphan, 0, t.Held + t.Confirmed + t.Uncounted}}
	}
	differ(KindNumber, t.Behind, 0)
	differ(KindAllocated, t.Counters.Allocated, t.Held+t.Confirmed+t.Uncounted)
	differ(KindUncounted, t.Uncounted, 0)
	if t.Ledger {
		differ(KindMoved, t.MovedCapacity, t.Counters.Capacity)
		differ(KindMoved, t.MovedAllocated, t.Counters.Allocated)
	}
	return found
}

// compare finds the worst difference between the two sides of a SKU. They can't
// be read at one moment, so Postgres is read before and after Redis: a difference
// is only one that no order of events explains. (Kind "" is none.)
func compare(before order.Counters, stock inventory.Stock, after order.Counters) Difference {
	differ := func(kind Kind, redis, postgres int64) Difference {
		return Difference{SKU: before.SKU, Kind: kind, Redis: redis, Postgres: postgres}
	}
	switch {
	case before.Retired() || after.Retired():
		if isLeft(before, stock) {
			return differ(KindRetired, stock.Epoch, after.Epoch)
		}
		return Difference{}
	case stock.Why == inventory.WhyMissing:
		return differ(KindMissing, 0, before.Epoch)
	case stock.Why == inventory.WhyFormat:
		return differ(KindFormat, 0, before.Epoch)
	case stock.Why != "":
		return differ(KindGarbage, 0, before.Epoch)
	case stock.Store != before.Store:
		return differ(KindForeign, stock.Epoch, before.Epoch)
	case stock.Epoch < before.Epoch || stock.Epoch > after.Epoch:
		return differ(KindEpoch, stock.Epoch, before.Epoch)
	case stock.Version < before.Version:
		return differ(KindVersion, stock.Version, before.Version)
	case stock.Version > after.Version:
		// A version that Postgres never had.
		return differ(KindSupply, stock.Version, after.Version)
	case stock.Version == before.Version && stock.Supply != before.Supply().Units:
		return differ(KindSupply, stock.Supply, before.Supply().Units)
	case stock.Version == before.Version && !stock.SameTerms(before.Terms):
		return differ(KindTerms, stock.Version, before.Version)
	case stock.Epoch == before.Epoch && stock.Taken < before.Admitted:
		return differ(KindLost, stock.Taken, before.Admitted)
	case stock.Epoch == after.Epoch && stock.Taken-stock.Unsettled > after.Admitted:
		return differ(KindStuck, stock.Taken-stock.Unsettled, after.Admitted)
	}
	return Difference{}
}
