package inventory_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
)

// fullBatch is how many deductions one call of a script handles.
const fullBatch = 500

// A batch gives each of its calls the answer that it would have got had they
// come one after the other: new ones, repeats of older ones and of each other,
// late ones and ones that are refused.
func TestABatchAnswersAsItsCallsOneByOneWould(t *testing.T) {
	onBoth(t, func(t *testing.T, client *redis.Client) {
		rapid.Check(t, func(rt *rapid.T) {
			ctx := background(t)
			repo, model := inventory.NewRedis(client, inventory.WithKeyPrefix("rapid-"+rand.Text())), newModel()
			skus := []string{"floor", "balcony"}
			for _, sku := range skus {
				supply := inventory.Supply{
					SKU: sku, Store: store, Epoch: 3, Version: 1, Units: rapid.Int64Range(-1, 40).Draw(rt, "units"), Terms: anyTerms(rt),
				}
				require.NoError(rt, repo.Load(ctx, supply))
				require.NoError(rt, model.Load(ctx, supply))
			}
			defer client.Del(ctx, repo.StockKey(skus[0]), repo.StockKey(skus[1]))
			request := rapid.Custom(func(rt *rapid.T) inventory.Request {
				return inventory.Request{
					SKU: rapid.SampledFrom(skus).Draw(rt, "sku"), Store: store,
					Attempt:  fmt.Sprint("attempt ", rapid.IntRange(1, 40).Draw(rt, "attempt")),
					OrderID:  rapid.SampledFrom([]string{"1", "1", "1", "1:1"}).Draw(rt, "order"),
					Customer: rapid.SampledFrom([]string{"carol", "1:dave"}).Draw(rt, "customer"),
					Quantity: rapid.SampledFrom([]int64{1, 1, 1, 2, 9}).Draw(rt, "quantity"),
				}
			})
			for range rapid.IntRange(1, 4).Draw(rt, "batches") {
				requests := rapid.SliceOfN(request, 1, 40).Draw(rt, "requests")
				by := make([]time.Time, len(requests))
				for i := range by {
					if rapid.IntRange(0, 7).Draw(rt, "late") == 0 {
						by[i] = time.Now().Add(-time.Hour)
					}
				}
				got, late, errs := repo.DeductTogether(ctx, requests, by)
				var granted []inventory.Deduction
				for i, r := range requests {
					if _, on := model.skus[r.SKU].open[r.Attempt]; !by[i].IsZero() && !on {
						require.True(rt, late[i], "call %d", i)
						continue
					}
					want, err := model.Deduct(ctx, r)
					require.Equal(rt, verdict(err), verdict(errs[i]), "call %d", i)
					require.False(rt, late[i], "call %d", i)
					require.Equal(rt, timeless(want), timeless(got[i]), "call %d", i)
					if err == nil {
						granted = append(granted, want)
					}
				}
				if len(granted) > 0 {
					back := rapid.SliceOfN(rapid.SampledFrom(granted), 0, 5).Draw(rt, "restored")
					require.NoError(rt, repo.Restore(ctx, back...))
					require.NoError(rt, model.Restore(ctx, back...))
				}
				stocks, err := repo.Stock(ctx, skus...)
				require.NoError(rt, err)
				want, err := model.Stock(ctx, skus...)
				require.NoError(rt, err)
				require.Equal(rt, want, stocks)
				for _, sku := range skus {
					require.Equal(rt, model.skus[sku].customers(), customersIn(t, client.HGetAll(ctx, repo.StockKey(sku)).Val()))
				}
			}
		})
	})
}

// many makes n requests, of a customer each.
func (s *sale) many(n int) []inventory.Request {
	requests := make([]inventory.Request, n)
	for i := range requests {
		requests[i] = s.request(fmt.Sprint("attempt ", i))
		requests[i].Customer = fmt.Sprint("customer ", i)
	}
	return requests
}

// The largest batches pass through each script, with all that a limit adds.
func TestFullBatches(t *testing.T) {
	onBoth(t, func(t *testing.T, client *redis.Client) {
		s := onSale(t, client, 10*fullBatch)
		s.terms(inventory.Terms{CustomerLimit: 2})
		ctx := background(t)
		requests := s.many(2*fullBatch + 3)
		var all []inventory.Deduction
		for page := range slices.Chunk(requests, fullBatch) {
			ds, _, errs := s.repo.DeductTogether(ctx, page, nil)
			require.NoError(t, errors.Join(errs...))
			again, _, errs := s.repo.DeductTogether(ctx, page, nil)
			require.NoError(t, errors.Join(errs...))
			require.Equal(t, ds, again)
			all = append(all, ds...)
		}
		for i, d := range all {
			require.Equal(t, int64(i+1), d.Seq)
			require.Equal(t, requests[i].Attempt, d.Attempt)
		}
		listed, err := s.repo.Unsettled(ctx, store, s.sku, 0, len(all)+1)
		require.NoError(t, err)
		require.ElementsMatch(t, all, listed)
		require.Len(t, s.hash(), counters+2*len(all), "each has a record, and a customer")

		half := len(all) - fullBatch - 1
		require.NoError(t, s.repo.Restore(ctx, all[half:]...))
		assert.Equal(t, int64(half), s.stock().Taken)
		assert.Equal(t, int64(half), s.stock().Unsettled)
		require.NoError(t, s.repo.Settle(ctx, s.supply, all...))
		assert.Equal(t, int64(half), s.stock().Taken)
		assert.Zero(t, s.stock().Unsettled)
		assert.Len(t, s.hash(), counters)
	})
}

// A reply that lists what nobody asked for, or not all of it, isn't our script's.
func TestReplyToABatchThatIsNotTheScripts(t *testing.T) {
	for _, reply := range []string{
		"{'decided', 1, 3, 1}",
		"{'decided', 1, 3, 1, 'x'}",
		"{'decided', 1, 3, 1, 1, 1}",
		"{'decided', 1, 3, 1, 1, 1, 'late', 0, 0}",
		"{'decided', 1, 3, 1, 1, 3, 'late', 0, 0, 0}",
		"{'decided', 1, 3, 1, 1, 0, 'late', 0, 0, 0}",
		"{'decided', 1, 3, 1, 1, 2, 'late', 0, 0, 0, 1, 'late', 0, 0, 0}",
		"{'decided', 1, 3, 1, 1, 1, 'late', 0, 0, '0'}",
		"{'decided', 1, 3, 1, 1, 1, 7, 0, 0, 0}",
		"{'decided', 1, 3, 1, 1, 1, 'gone', 0, 0, 0, 2, 'gone', 0, 0, 0}",
	} {
		client := embedded(t)
		s := onSale(t, client, 10)
		client.AddHook(otherScript("return " + reply))
		_, _, errs := s.repo.DeductTogether(background(t), s.many(2), nil)
		for _, err := range errs {
			unavailable(t, err)
		}
	}
}

// otherScript is run in place of ours.
type otherScript string

func (otherScript) DialHook(next redis.DialHook) redis.DialHook { return next }

func (s otherScript) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "evalsha" {
			cmd.Args()[0], cmd.Args()[1] = "eval", string(s)
		}
		return next(ctx, cmd)
	}
}

func (otherScript) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// Restores of several callers are one round trip, and each hears of its own.
func TestRestoresTogether(t *testing.T) {
	onBoth(t, func(t *testing.T, client *redis.Client) {
		s := onSale(t, client, 10)
		ctx := background(t)
		of := func(sku string) inventory.Deduction {
			supply := s.supply
			supply.SKU = sku
			require.NoError(t, s.repo.Load(ctx, supply))
			r := s.request("a")
			r.SKU = sku
			d, err := s.repo.Deduct(ctx, r)
			require.NoError(t, err)
			return d
		}
		a, b := s.deduct("a"), s.deduct("b")
		garbage, missing, old := of("garbage"), of("missing"), s.deduct("c")
		require.NoError(t, client.HSet(ctx, s.repo.StockKey("garbage"), "taken", "x").Err())
		require.NoError(t, client.Del(ctx, s.repo.StockKey("missing")).Err())
		old.Epoch--
		require.NoError(t, s.repo.Restore(ctx, a, missing), "the script is known")
		count := &trips{}
		client.AddHook(count)

		errs, err := s.repo.RestoreTogether(ctx,
			[]inventory.Deduction{a, b},
			[]inventory.Deduction{garbage, garbage},
			[]inventory.Deduction{b, garbage},
			[]inventory.Deduction{missing, old},
		)
		require.NoError(t, err)
		assert.Equal(t, int64(1), count.take())
		require.NoError(t, errs[0])
		notLoaded(t, errs[1], inventory.WhyGarbage)
		notLoaded(t, errs[2], inventory.WhyGarbage)
		require.NoError(t, errs[3])
		assert.Equal(t, int64(1), s.stock().Taken, "only c is left")
	})
}

// Callers restore at once, and some leave: what they see is what is done.
func TestRestoresWhoseCallersLeave(t *testing.T) {
	const callers = 400
	s := onSale(t, servertest.SharedRedis(t).Client(t), callers)
	ctx := background(t)
	ds, _, errs := s.repo.DeductTogether(ctx, s.many(callers), nil)
	require.NoError(t, errors.Join(errs...))
	leave, cancel := context.WithCancel(ctx)
	defer cancel()
	var all sync.WaitGroup
	for i, d := range ds {
		all.Go(func() {
			ctx := ctx
			if i%3 == 0 {
				ctx = leave
			}
			if i == callers/2 {
				cancel()
			}
			own := []inventory.Deduction{d}
			err := s.repo.Restore(ctx, own...)
			own[0] = inventory.Deduction{} // nobody reads it any more
			if err != nil {
				assert.ErrorIs(t, err, inventory.ErrUnavailable)
				assert.ErrorIs(t, err, context.Canceled)
				assert.Zero(t, i%3)
			}
		})
	}
	all.Wait()
	require.NoError(t, s.repo.Restore(ctx, ds...))
	assert.Zero(t, s.stock().Taken)
	assert.Len(t, s.hash(), counters)
}

// So many callers that batches go abreast, and some of them leave: no unit is
// sold twice, and who was told of a deduction has it.
func TestCallersOfBatchesAbreast(t *testing.T) {
	const callers, each, units = 1200, 3, 3000
	s := onSale(t, servertest.SharedRedis(t).Client(t), units)
	ctx := background(t)
	requests := s.many(callers * each)
	granted := make([]inventory.Deduction, len(requests))
	var all sync.WaitGroup
	for caller := range callers {
		all.Go(func() {
			for i := caller; i < len(requests); i += callers {
				ctx, leave := ctx, func() {}
				if i%5 == 0 {
					ctx, leave = context.WithTimeout(ctx, time.Duration(i%7)*time.Millisecond)
				}
				d, err := s.repo.Deduct(ctx, requests[i])
				leave()
				switch {
				case err == nil:
					assert.Equal(t, requests[i].Attempt, d.Attempt)
					granted[i] = d
				case !errors.Is(err, inventory.ErrTryAgain):
					assert.ErrorIs(t, err, inventory.ErrUnavailable)
					assert.ErrorIs(t, err, context.DeadlineExceeded)
					assert.Zero(t, i%5)
				}
			}
		})
	}
	all.Wait()
	require.NoError(t, s.repo.Wait(ctx)) // for what was under way when its caller left
	listed, err := s.repo.Unsettled(ctx, store, s.sku, 0, 2*units)
	require.NoError(t, err)
	assert.LessOrEqual(t, len(listed), units)
	assert.Equal(t, int64(len(listed)), s.stock().Taken)
	assert.Equal(t, int64(len(listed)), s.stock().Seq)
	on := make(map[int64]inventory.Deduction)
	for _, d := range listed {
		on[d.Seq] = d
	}
	assert.Len(t, on, len(listed), "each has a seq of its own")
	for _, d := range granted {
		if d.Seq != 0 {
			assert.Equal(t, d, on[d.Seq])
		}
	}
	require.NoError(t, s.repo.Restore(ctx, listed...))
	assert.Zero(t, s.stock().Taken)
	assert.Len(t, s.hash(), counters)
}
