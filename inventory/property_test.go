package inventory_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/lastunit/lastunit/inventory"
)

// TestScriptsDoWhatTheModelDoes sends the same calls to Redis and to the model,
// in any order, with repeats, late copies and identities that are long gone.
func TestScriptsDoWhatTheModelDoes(t *testing.T) {
	onBoth(t, func(t *testing.T, client *redis.Client) {
		ctx := background(t)
		rapid.Check(t, func(rt *rapid.T) {
			scripts, model := inventory.NewRedis(client, inventory.WithKeyPrefix("rapid-"+rand.Text())), newModel()
			skus := []string{"floor", "balcony"}
			defer func() {
				for _, sku := range skus {
					client.Del(ctx, scripts.StockKey(sku))
				}
			}()
			var granted []inventory.Deduction // all that ever were, as the model says

			anySKU := rapid.SampledFrom(skus)
			anyStore := rapid.SampledFrom([]string{"A", "A", "A", "A", "A", "A", "A", "B"})
			supply := func(rt *rapid.T) inventory.Supply {
				return inventory.Supply{
					SKU: anySKU.Draw(rt, "sku"), Store: anyStore.Draw(rt, "store"),
					Epoch: rapid.Int64Range(8, 11).Draw(rt, "epoch"), Version: rapid.Int64Range(8, 12).Draw(rt, "version"),
					Units: rapid.Int64Range(-3, 20).Draw(rt, "units"), Admitted: rapid.Int64Range(0, 3).Draw(rt, "admitted"),
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
					s := supply(rt)
					agree(rt, scripts.Load(ctx, s), model.Load(ctx, s))
				},
				"push": func(rt *rapid.T) {
					s := supply(rt)
					agree(rt, scripts.Push(ctx, s), model.Push(ctx, s))
				},
				"deduct": func(rt *rapid.T) {
					quantity := rapid.Int64Range(1, 6).Draw(rt, "quantity")
					r := inventory.Request{
						SKU: anySKU.Draw(rt, "sku"), Store: anyStore.Draw(rt, "store"), OrderID: "order", Quantity: quantity,
						Attempt: fmt.Sprintf("%s-%d", rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "attempt"), quantity),
					}
					if rapid.IntRange(0, 3).Draw(rt, "has watermark") == 0 {
						r.Watermark.Epoch = rapid.Int64Range(7, 11).Draw(rt, "watermark epoch")
						r.Watermark.Seq = rapid.Int64Range(0, 4).Draw(rt, "watermark seq")
					}
					got, err := scripts.Deduct(ctx, r)
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
					agree(rt, scripts.Settle(ctx, s, ds...), model.Settle(ctx, s, ds...))
				},
				"restore": func(rt *rapid.T) {
					ds := deductions(rt, "")
					agree(rt, scripts.Restore(ctx, ds...), model.Restore(ctx, ds...))
				},
				"list": func(rt *rapid.T) {
					store, sku := anyStore.Draw(rt, "store"), anySKU.Draw(rt, "sku")
					got, err := scripts.Unsettled(ctx, store, sku, 0, 100)
					want, wantErr := model.Unsettled(ctx, store, sku, 0, 100)
					agree(rt, err, wantErr)
					require.ElementsMatch(rt, timeless(want...), timeless(got...))
				},
				"": func(rt *rapid.T) { // after each of the others
					got, err := scripts.Stock(ctx, skus...)
					require.NoError(rt, err)
					want, err := model.Stock(ctx, skus...)
					require.NoError(rt, err)
					require.Equal(rt, want, got)
				},
			})
		})
	})
}

// verdict is all of an error that its type tells.
func verdict(err error) string {
	var notLoaded *inventory.NotLoadedError
	var short *inventory.StockError
	switch {
	case err == nil:
		return "fine"
	case errors.As(err, &notLoaded):
		return fmt.Sprintf("%+v", *notLoaded)
	case errors.As(err, &short):
		return fmt.Sprintf("%+v", *short)
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
