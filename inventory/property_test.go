package inventory_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/lastunit/lastunit/inventory"
)

// subject is a repository that must do what the model does.
type subject struct {
	inventory.InventoryRepository
	// customers reads the units in flight of a SKU that count, by customer.
	customers func(sku string) map[string]int64
	clean     func(skus ...string)
	reopen    func(sku string) // ends what is kept of it: there is no time to wait
}

func TestScriptsDoWhatTheModelDoes(t *testing.T) {
	onBoth(t, func(t *testing.T, client *redis.Client) {
		ctx := background(t)
		doesWhatTheModelDoes(t, func() subject {
			scripts := inventory.NewRedis(client, inventory.WithKeyPrefix("rapid-"+rand.Text()))
			return subject{
				scripts,
				func(sku string) map[string]int64 {
					return customersIn(t, client.HGetAll(ctx, scripts.StockKey(sku)).Val())
				},
				func(skus ...string) {
					for _, sku := range skus {
						client.Del(ctx, scripts.StockKey(sku))
					}
				},
				func(sku string) { client.HDel(ctx, scripts.StockKey(sku), "reopened") },
			}
		})
	})
}

func TestMemoryDoesWhatTheModelDoes(t *testing.T) {
	doesWhatTheModelDoes(t, func() subject {
		memory := inventory.NewMemory()
		return subject{memory, memory.InFlight, func(...string) {}, memory.Reopen}
	})
}

// customersIn reads the units in flight by customer from a hash.
func customersIn(t testing.TB, fields map[string]string) map[string]int64 {
	found := make(map[string]int64)
	for field, value := range fields {
		if customer, ok := strings.CutPrefix(field, "c:"); ok {
			units, err := strconv.ParseInt(value, 10, 64)
			require.NoError(t, err)
			found[customer] = units
		}
	}
	return found
}

// anyTerms draws terms. Times are so far away that they don't come to pass, and
// whole milliseconds, as they come back.
func anyTerms(rt *rapid.T) (terms inventory.Terms) {
	now := time.Now()
	if rapid.Bool().Draw(rt, "limited") {
		terms.CustomerLimit = rapid.Int64Range(1, 8).Draw(rt, "limit")
	}
	at := func(hours int) time.Time {
		return time.UnixMilli(now.Add(time.Duration(hours) * time.Hour).UnixMilli())
	}
	switch rapid.IntRange(0, 9).Draw(rt, "window") {
	case 0:
		terms.OpensAt = at(1)
	case 1:
		terms.OpensAt, terms.ClosesAt = at(-2), at(-1)
	case 2, 3:
		terms.OpensAt, terms.ClosesAt = at(-1), at(1)
	case 4:
		terms.ClosesAt = at(1)
	}
	terms.Paused = rapid.IntRange(0, 9).Draw(rt, "paused") == 0
	return terms
}

// doesWhatTheModelDoes sends the same calls to a subject and to the model, in any
// order, with repeats, late copies and identities that are long gone.
func doesWhatTheModelDoes(t *testing.T, open func() subject) {
	t.Helper()
	ctx := background(t)
	rapid.Check(t, func(rt *rapid.T) {
		tested, model := open(), newModel()
		skus := []string{"floor", "balcony"}
		defer tested.clean(skus...)
		var granted []inventory.Deduction // all that ever were, as the model says

		anySKU := rapid.SampledFrom(skus)
		anyStore := rapid.SampledFrom([]string{"A", "A", "A", "A", "A", "A", "A", "B"})
		supply := func(rt *rapid.T) inventory.Supply {
			return inventory.Supply{
				SKU: anySKU.Draw(rt, "sku"), Store: anyStore.Draw(rt, "store"),
				Epoch: rapid.Int64Range(8, 11).Draw(rt, "epoch"), Version: rapid.Int64Range(8, 12).Draw(rt, "version"),
				Units: rapid.Int64Range(-3, 20).Draw(rt, "units"), Admitted: rapid.Int64Range(0, 3).Draw(rt, "admitted"),
				Terms: anyTerms(rt),
			}
		}
		deductions := func(rt *rapid.T, sku string) []inventory.Deduction {
			var of []inventory.Deduction
			for _, d := range granted {
				if sku == "" || d.SKU == sku {
					of = append(of, d)
				}
			}
			if len(of) == 0 {
				return nil
			}
			ds := rapid.SliceOfN(rapid.SampledFrom(of), 0, 5).Draw(rt, "deductions")
			if len(ds) > 0 && rapid.IntRange(0, 4).Draw(rt, "mix up") == 0 {
				ds[0].Seq += rapid.Int64Range(0, 2).Draw(rt, "seq")
				ds[0].Epoch += rapid.Int64Range(0, 1).Draw(rt, "epoch")
			}
			return ds
		}
		agree := func(rt *rapid.T, err, want error) {
			require.Equal(rt, verdict(want), verdict(err))
		}

		rt.Repeat(map[string]func(*rapid.T){
			"load": func(rt *rapid.T) {
				supplies := rapid.SliceOfN(rapid.Custom(supply), 0, 3).Draw(rt, "supplies")
				agree(rt, tested.Load(ctx, supplies...), model.Load(ctx, supplies...))
			},
			"push": func(rt *rapid.T) {
				s := supply(rt)
				agree(rt, tested.Push(ctx, s), model.Push(ctx, s))
			},
			"deduct": func(rt *rapid.T) {
				quantity := rapid.Int64Range(1, 6).Draw(rt, "quantity")
				customer := rapid.SampledFrom([]string{"carol", "4:dave:"}).Draw(rt, "customer")
				named := customer // in the attempt's name, so that it is most often the same again
				if rapid.IntRange(0, 19).Draw(rt, "customer mixed up") == 0 {
					named = "carol"
				}
				r := inventory.Request{
					SKU: anySKU.Draw(rt, "sku"), Store: anyStore.Draw(rt, "store"), OrderID: "order", Quantity: quantity,
					Attempt:  fmt.Sprintf("%s-%d-%s", rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "attempt"), quantity, named),
					Customer: customer, Cleared: rapid.IntRange(0, 4).Draw(rt, "cleared") == 0,
				}
				if rapid.IntRange(0, 3).Draw(rt, "has watermark") == 0 {
					r.Watermark.Epoch = rapid.Int64Range(7, 11).Draw(rt, "watermark epoch")
					r.Watermark.Seq = rapid.Int64Range(0, 4).Draw(rt, "watermark seq")
				}
				tested.reopen(r.SKU)
				model.reopen(r.SKU)
				got, err := tested.Deduct(ctx, r)
				want, wantErr := model.Deduct(ctx, r)
				agree(rt, err, wantErr)
				require.Equal(rt, timeless(want), timeless(got))
				if err == nil {
					granted = append(granted, want)
				}
			},
			"settle": func(rt *rapid.T) {
				s := supply(rt)
				ds := deductions(rt, s.SKU)
				agree(rt, tested.Settle(ctx, s, ds...), model.Settle(ctx, s, ds...))
			},
			"restore": func(rt *rapid.T) {
				ds := deductions(rt, "")
				agree(rt, tested.Restore(ctx, ds...), model.Restore(ctx, ds...))
			},
			"list": func(rt *rapid.T) {
				store, sku := anyStore.Draw(rt, "store"), anySKU.Draw(rt, "sku")
				got, err := tested.Unsettled(ctx, store, sku, 0, 100)
				want, wantErr := model.Unsettled(ctx, store, sku, 0, 100)
				agree(rt, err, wantErr)
				require.ElementsMatch(rt, timeless(want...), timeless(got...))
			},
			"": func(rt *rapid.T) { // after each of the others
				got, err := tested.Stock(ctx, skus...)
				require.NoError(rt, err)
				want, err := model.Stock(ctx, skus...)
				require.NoError(rt, err)
				require.Equal(rt, want, got)
				for _, sku := range skus {
					want := make(map[string]int64)
					if c, ok := model.skus[sku]; ok {
						want = c.customers()
					}
					require.Equal(rt, want, tested.customers(sku), "units in flight by customer")
				}
			},
		})
	})
}

// verdict is all of an error that its type tells.
func verdict(err error) string {
	var notLoaded *inventory.NotLoadedError
	var short *inventory.StockError
	var limit *inventory.LimitError
	var window *inventory.WindowError
	var invalid *inventory.InvalidError
	switch {
	case err == nil:
		return "fine"
	case errors.As(err, &notLoaded):
		return fmt.Sprintf("%+v", *notLoaded)
	case errors.As(err, &short):
		return fmt.Sprintf("%+v", *short)
	case errors.As(err, &limit):
		return fmt.Sprintf("%+v", *limit)
	case errors.As(err, &window):
		return fmt.Sprintf("%+v", *window)
	case errors.As(err, &invalid):
		return "invalid " + invalid.Field
	default:
		return err.Error()
	}
}

// timeless leaves out when the deductions were made.
func timeless(ds ...inventory.Deduction) []inventory.Deduction {
	all := make([]inventory.Deduction, len(ds))
	for i, d := range ds {
		d.At = time.Time{}
		all[i] = d
	}
	return all
}
