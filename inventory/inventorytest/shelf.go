package inventorytest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/inventory"
)

// patience bounds a subtest, so that a repository that hangs fails it. It is long:
// thousands of scripts in miniredis, under -race and beside other tests, have taken
// more than a minute.
const patience = 4 * time.Minute

// everything is a limit for Unsettled that no case reaches.
const everything = 1_000_000

// unsupplied is the version before the first one, which is 1: that of a SKU that
// was only just put on sale.
const unsupplied = -9

// shelf is one SKU of a subtest, with what the books must say in the end.
type shelf struct {
	t    *testing.T
	ctx  context.Context
	repo inventory.InventoryRepository

	hasty inventory.InventoryRepository // does not wait for units that are kept

	sku, store string
	epoch      int64
	version    int64           // of the last supply that was made
	units      int64           // of the last supply that was made
	terms      inventory.Terms // of each supply that is made from now on
	sold       int64           // units settled by settle
	attempts   int
}

func newShelf(t *testing.T, repo inventory.InventoryRepository) *shelf {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return &shelf{
		t: t, ctx: ctx, repo: patientRepository{repo}, hasty: repo,
		sku: "sku-" + rand.Text(), store: "store-" + rand.Text(), epoch: 5, version: unsupplied,
	}
}

// patientRepository waits for units that are kept after they came back.
type patientRepository struct {
	inventory.InventoryRepository
}

func (p patientRepository) Deduct(ctx context.Context, request inventory.Request) (inventory.Deduction, error) {
	for {
		d, err := p.InventoryRepository.Deduct(ctx, request)
		var reopening *inventory.ReopeningError
		if !errors.As(err, &reopening) {
			return d, err
		}
		select {
		case <-time.After(reopening.Wait):
		case <-ctx.Done():
			return d, err
		}
	}
}

// another returns a second SKU of the subtest, which is audited when the
// subtest calls for it.
func (s *shelf) another() *shelf {
	other := *s
	other.sku, other.attempts, other.sold, other.version, other.units = "sku-"+rand.Text(), 0, 0, unsupplied, 0
	other.terms = inventory.Terms{}
	return &other
}

// supply returns the next version of the supply.
func (s *shelf) supply(units int64) inventory.Supply {
	s.version += 10
	s.units = units
	return s.current()
}

// current returns the last supply that was made.
func (s *shelf) current() inventory.Supply {
	return inventory.Supply{
		SKU: s.sku, Store: s.store, Epoch: s.epoch, Version: s.version, Units: s.units, Admitted: s.sold, Terms: s.terms,
	}
}

func (s *shelf) load(units int64) {
	s.t.Helper()
	require.NoError(s.t, s.repo.Load(s.ctx, s.supply(units)))
}

func (s *shelf) push(units int64) {
	s.t.Helper()
	require.NoError(s.t, s.repo.Push(s.ctx, s.supply(units)))
}

// request returns a request of an attempt of its own.
func (s *shelf) request(quantity int64) inventory.Request {
	s.attempts++
	return inventory.Request{
		SKU: s.sku, Store: s.store, Quantity: quantity,
		Attempt: fmt.Sprintf("attempt-%d", s.attempts), OrderID: fmt.Sprintf("order-%d", s.attempts),
		Customer: "carol",
	}
}

func (s *shelf) deduct(quantity int64) inventory.Deduction {
	s.t.Helper()
	d, err := s.repo.Deduct(s.ctx, s.request(quantity))
	require.NoError(s.t, err)
	return d
}

// deductMany makes n deductions of one unit.
func (s *shelf) deductMany(n int) []inventory.Deduction {
	s.t.Helper()
	ds := make([]inventory.Deduction, n)
	for i := range ds {
		ds[i] = s.deduct(1)
	}
	return ds
}

// among returns deductions with so many others around them, which are not on
// record, that no implementation is likely to handle all at once.
func (s *shelf) among(ds ...inventory.Deduction) []inventory.Deduction {
	var all []inventory.Deduction
	for i := range many {
		if i%100 == 0 && len(ds) > 1 {
			all, ds = append(all, ds[0]), ds[1:]
		}
		all = append(all, inventory.Deduction{
			SKU: s.sku, Store: s.store, Epoch: s.epoch, Seq: int64(1000 + i), Attempt: fmt.Sprint("gone-", i), Quantity: 1,
		})
	}
	return append(all, ds...) // so that one is the very last
}

// settle settles deductions that are on record.
func (s *shelf) settle(ds ...inventory.Deduction) {
	s.t.Helper()
	for _, d := range ds {
		s.sold += d.Quantity
	}
	require.NoError(s.t, s.repo.Settle(s.ctx, s.current(), ds...))
}

func (s *shelf) restore(ds ...inventory.Deduction) {
	s.t.Helper()
	require.NoError(s.t, s.repo.Restore(s.ctx, ds...))
}

func (s *shelf) stock() inventory.Stock {
	s.t.Helper()
	stocks, err := s.repo.Stock(s.ctx, s.sku)
	require.NoError(s.t, err)
	require.Len(s.t, stocks, 1)
	return stocks[0]
}

// counts asserts what is taken, and which part of it is unsettled.
func (s *shelf) counts(taken, unsettled int64) {
	s.t.Helper()
	stock := s.stock()
	assert.Equal(s.t, taken, stock.Taken, "taken")
	assert.Equal(s.t, unsettled, stock.Unsettled, "unsettled")
}

// unchanged runs what must change nothing about the SKU.
func (s *shelf) unchanged(run func()) {
	s.t.Helper()
	stock, ds := s.stock(), s.unsettled()
	run()
	assert.Equal(s.t, stock, s.stock(), "the counters changed")
	sameDeductions(s.t, ds, s.unsettled())
}

// unsettled lists all unsettled deductions of the SKU, and none if it isn't loaded.
func (s *shelf) unsettled() []inventory.Deduction {
	s.t.Helper()
	stock := s.stock()
	if stock.Why != "" {
		return nil
	}
	var ds []inventory.Deduction
	// "Older than 0" may leave out what is of this very instant.
	require.Eventually(s.t, func() bool {
		var err error
		ds, err = s.repo.Unsettled(s.ctx, stock.Store, s.sku, 0, everything)
		return assert.NoError(s.t, err) && units(ds) == stock.Unsettled
	}, patience, 2*time.Millisecond, "the unsettled deductions don't sum up to %d", stock.Unsettled)
	return ds
}

// audit checks the books of the SKU.
func (s *shelf) audit() {
	s.t.Helper()
	stock := s.stock()
	checkBooks(s.t, stock, s.unsettled())
	if stock.Why == "" {
		assert.Equal(s.t, s.sold, stock.Taken-stock.Unsettled, "what is taken and not unsettled was settled")
	}
}

// checkBooks asserts that counters and unsettled deductions of one moment agree.
func checkBooks(t testing.TB, stock inventory.Stock, unsettled []inventory.Deduction) {
	t.Helper()
	if stock.Why != "" {
		assert.Equal(t, inventory.Stock{SKU: stock.SKU, Why: stock.Why}, stock)
		return
	}
	assert.Equal(t, stock.Supply, stock.Available()+stock.Taken, "available + taken = supply")
	assert.GreaterOrEqual(t, stock.Unsettled, int64(0))
	assert.GreaterOrEqual(t, stock.Taken, stock.Unsettled)
	assert.Equal(t, stock.Unsettled, units(unsettled), "the unsettled deductions add up")
	seqs := make(map[int64]bool)
	for _, d := range unsettled {
		assert.Equal(t, stock.SKU, d.SKU)
		assert.Equal(t, stock.Store, d.Store)
		assert.Equal(t, stock.Epoch, d.Epoch)
		assert.Positive(t, d.Seq)
		assert.LessOrEqual(t, d.Seq, stock.Seq, "Stock.Seq is of the last deduction")
		assert.False(t, seqs[d.Seq], "two deductions have the seq %d", d.Seq)
		seqs[d.Seq] = true
	}
}

// fine asserts that there is no error, from any goroutine.
func (s *shelf) fine(err error) bool {
	s.t.Helper()
	if err != nil {
		s.t.Errorf("unexpected error: %v", err)
	}
	return err == nil
}

func units(ds []inventory.Deduction) int64 {
	var sum int64
	for _, d := range ds {
		sum += d.Quantity
	}
	return sum
}

// sameDeduction asserts that two deductions are the same. Their times may have
// different locations.
func sameDeduction(t testing.TB, want, got inventory.Deduction) {
	t.Helper()
	assert.True(t, want.At.Equal(got.At), "At is %v, want %v", got.At, want.At)
	want.At, got.At = time.Time{}, time.Time{}
	assert.Equal(t, want, got)
}

// sameDeductions asserts that two lists have the same deductions, in any order.
func sameDeductions(t testing.TB, want, got []inventory.Deduction) {
	t.Helper()
	if len(want) != len(got) { // assert.Len would print them all
		t.Errorf("%d deductions, want %d", len(got), len(want))
		return
	}
	byAttempt := make(map[string]inventory.Deduction)
	for _, d := range got {
		byAttempt[d.Attempt] = d
	}
	for _, d := range want {
		sameDeduction(t, d, byAttempt[d.Attempt])
	}
}

// definite are the errors of which a repository returns only one at a time.
var definite = []error{
	inventory.ErrSoldOut, inventory.ErrTryAgain, inventory.ErrUnavailable, inventory.ErrNotLoaded, inventory.ErrInvalid,
	inventory.ErrLimitExceeded, inventory.ErrNotOpen, inventory.ErrClosed, inventory.ErrPaused,
}

// fails asserts that an error is this one and none of the others.
func fails(t testing.TB, err, want error) {
	t.Helper()
	require.Error(t, err)
	for _, other := range definite {
		assert.Equal(t, errors.Is(want, other), errors.Is(err, other), "%v: is it %q?", err, other)
	}
}

// failsInvalid asserts an InvalidError that names a field.
func failsInvalid(t testing.TB, err error) {
	t.Helper()
	fails(t, err, inventory.ErrInvalid)
	var invalid *inventory.InvalidError
	require.ErrorAs(t, err, &invalid)
	assert.NotEmpty(t, invalid.Field)
	assert.NotEmpty(t, invalid.Reason)
}

// failsNotLoaded asserts a NotLoadedError with its details.
func (s *shelf) failsNotLoaded(err error, why inventory.Why) {
	s.t.Helper()
	fails(s.t, err, inventory.ErrNotLoaded)
	var notLoaded *inventory.NotLoadedError
	require.ErrorAs(s.t, err, &notLoaded)
	assert.Equal(s.t, inventory.NotLoadedError{SKU: s.sku, Why: why}, *notLoaded)
}

// failsShort asserts a StockError on the current supply.
func (s *shelf) failsShort(err, want error, requested, available, inFlight int64) {
	s.t.Helper()
	fails(s.t, err, want)
	var short *inventory.StockError
	require.ErrorAs(s.t, err, &short)
	stocks, err := s.repo.Stock(s.ctx, s.sku)
	require.NoError(s.t, err)
	assert.Equal(s.t, inventory.StockError{
		SKU: s.sku, Requested: requested, Available: available, InFlight: inFlight,
		Over:  max(0, stocks[0].Taken-stocks[0].Supply),
		Epoch: s.epoch, Version: s.version,
	}, *short)
}

// deductFails asserts that a request is refused for lack of units.
func (s *shelf) deductFails(quantity int64, want error, available, inFlight int64) {
	s.t.Helper()
	s.unchanged(func() {
		s.t.Helper()
		d, err := s.repo.Deduct(s.ctx, s.request(quantity))
		s.failsShort(err, want, quantity, available, inFlight)
		assert.Zero(s.t, d)
	})
}

// bound is the highest epoch, version and seq.
const bound = int64(1) << 52

// tooHigh are numbers above bound.
var tooHigh = []int64{bound + 1, 1<<53 + 1, math.MaxInt64}
