package order_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// decisions is how often orders were decided one by one so far.
func decisions(t require.TestingT, pool *pgxpool.Pool) (n int64) {
	_, err := pool.Exec(context.Background(), "select pg_stat_force_next_flush()")
	require.NoError(t, err)
	require.NoError(t, pool.QueryRow(context.Background(), `select coalesce(sum(calls), 0)::bigint from pg_stat_user_functions
		where schemaname = 'lastunit' and funcname = 'decide_orders'`).Scan(&n))
	return n
}

// side is one of two sales that are alike but for their names.
type side struct {
	prefix string
	epochs map[string]int64
}

// named are lines in the names of the side.
func (s *side) named(lines []order.Line) (named []order.Line) {
	for _, line := range lines {
		named = append(named, order.Line{SKU: s.prefix + line.SKU, Quantity: line.Quantity})
	}
	return named
}

// wish is an order to be committed on both sides.
type wish struct {
	id, customer string
	lines, draws []order.Line
	hold         time.Duration
	deducted     []int64 // of each unit: its sequence number; 0 for none; negative if it is of an older epoch
}

func (s *side) commit(w wish) order.Commit {
	c := order.Commit{Hold: w.hold, Order: order.Order{
		ID: s.prefix + w.id, Customer: s.prefix + w.customer, Lines: s.named(w.lines), Draws: s.named(w.draws),
	}}
	if w.deducted == nil {
		return c
	}
	for i, unit := range c.Order.Units() {
		epoch, seq := max(1, s.epochs[unit.SKU]), w.deducted[i]
		if seq == 0 {
			c.Deductions = append(c.Deductions, inventory.Deduction{})
			continue
		}
		if seq < 0 {
			epoch, seq = 1, -seq
		}
		c.Deductions = append(c.Deductions, inventory.Deduction{
			SKU: unit.SKU, OrderID: c.Order.ID, Quantity: unit.Quantity, Epoch: epoch, Seq: seq, Attempt: "a",
		})
	}
	return c
}

// told is what is the same on both sides of all that the store tells: outcomes,
// counters, movements and rows.
func (s *side) told(t *rapid.T, store order.Store, pool *pgxpool.Pool, outcomes []order.Outcome, counters []order.Counters) string {
	var b strings.Builder
	for _, o := range outcomes {
		held := o.Order.ExpiresAt.Sub(o.Order.CreatedAt)
		o.Order.ExpiresAt, o.Order.CreatedAt, o.Order.ChangedAt = time.Time{}, time.Time{}, time.Time{}
		err := o.Err
		o.Err = nil
		fmt.Fprintf(&b, "%+v %v %v\n", o, held, err)
	}
	for _, c := range counters {
		require.Equal(t, s.epochs[c.SKU], c.Epoch)
		c.Epoch, c.At = 0, time.Time{}
		fmt.Fprintf(&b, "%+v\n", c)
		movements, err := store.Movements(context.Background(), c.SKU, 0, order.MaxMovements)
		require.NoError(t, err)
		for _, m := range movements {
			m.At = time.Time{}
			fmt.Fprintf(&b, "%+v\n", m)
		}
	}
	rows, err := pool.Query(context.Background(), `select row(o.id, o.customer, o.status, o.counted, o.skus, o.quantities, o.drawn, o.limited,
			o.expires_at - o.created_at, o.due_at = o.expires_at, o.changed_at = o.created_at,
			array(select row(o.consumed[c][1], o.consumed[c][2] = s.epoch, o.consumed[c][3])
				from generate_subscripts(o.consumed, 1) c join lastunit.skus s on s.sku = o.skus[o.consumed[c][1]] order by c))::text
		from lastunit.orders o where starts_with(o.id, $1) order by o.id`, s.prefix)
	require.NoError(t, err)
	for rows.Next() {
		values, err := rows.Values()
		require.NoError(t, err)
		fmt.Fprintln(&b, values...)
	}
	require.NoError(t, rows.Err())
	return strings.ReplaceAll(b.String(), s.prefix, "")
}

// TestPlainBatches commits the same batches to two sales that are alike, but
// that in one of them a fence makes commit_orders decide one order after the
// other. The other one decides most batches as a whole. All that the store tells
// must be the same.
func TestPlainBatches(t *testing.T) {
	t.Parallel()
	store, pool := newStore(t, maxConns(1), set("track_functions", "pl"))
	ctx := context.Background()
	const least = 20
	run, whole, mixed, start := 0, 0, 0, time.Now()
	enough := func() bool { return time.Since(start) > 6*time.Second && whole > least && mixed > 0 }
	checkUntil(t, enough, func(t *rapid.T) {
		run++
		sides := [2]*side{{prefix: fmt.Sprintf("whole-%d.", run)}, {prefix: fmt.Sprintf("each--%d.", run)}}
		require.NoError(t, store.SetLedger(ctx, rapid.IntRange(0, 3).Draw(t, "ledger") > 0))
		capacities := rapid.SliceOfN(rapid.SampledFrom([]int64{3, 12, 100, 100, 100}), 3, 3).Draw(t, "capacities")
		limit := rapid.SampledFrom([]int64{0, 0, 4, 30}).Draw(t, "limit")
		pooled, windowed, paused := rapid.IntRange(0, 3).Draw(t, "pool") == 0, rapid.Bool().Draw(t, "window"), rapid.IntRange(0, 9).Draw(t, "paused") == 0
		now := time.Now()
		for i, s := range sides {
			s.epochs = make(map[string]int64)
			items := []order.Item{
				{SKU: s.prefix + "a", Capacity: capacities[0]},
				{SKU: s.prefix + "b", Capacity: capacities[1], CustomerLimit: limit},
				{SKU: s.prefix + "c", Capacity: capacities[2]},
			}
			if windowed {
				items[0].OpensAt = now.Add(-time.Hour)
				items[1].ClosesAt = now.Add(time.Hour)
			}
			if pooled {
				items[2].Draws = s.named([]order.Line{{SKU: "a", Quantity: 2}})
			}
			counters, _, err := store.PutOnSale(ctx, items...)
			require.NoError(t, err)
			for _, c := range counters {
				s.epochs[c.SKU] = c.Epoch
				if i == 1 {
					_, _, err := store.Fence(ctx, []inventory.Deduction{{SKU: c.SKU, OrderID: s.prefix + "nobody", Epoch: c.Epoch, Seq: 1 << 40}})
					require.NoError(t, err)
				}
			}
			if paused {
				_, err := store.SetPaused(ctx, s.prefix+"c", true)
				require.NoError(t, err)
			}
		}
		draws := func(sku string) []order.Line {
			if pooled && sku == "c" {
				return []order.Line{{SKU: "a", Quantity: 2}}
			}
			return nil
		}
		seq := int64(0)
		for n := range rapid.IntRange(1, 4).Draw(t, "batches") {
			var wishes []wish
			single := rapid.Bool().Draw(t, "one unit each")
			odd := rapid.Bool().Draw(t, "odd ones")
			rarely := func(what string) bool { return odd && rapid.IntRange(0, 3).Draw(t, what) == 0 }
			for i := range rapid.IntRange(1, 8).Draw(t, "batch") {
				w := wish{id: fmt.Sprint(n, "-", i), customer: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "customer")}
				if rapid.IntRange(0, 7).Draw(t, "an ID again") == 0 {
					w.id = fmt.Sprint(rapid.IntRange(0, n).Draw(t, "of batch"), "-", rapid.IntRange(0, 7).Draw(t, "of order"))
				}
				if rapid.IntRange(0, 3).Draw(t, "held") == 0 {
					w.hold = time.Hour
				}
				known := []string{"a", "b", "c"}
				if rarely("unknown SKU") {
					known = append(known, "d")
				}
				most := len(known)
				if single {
					most = 1
				}
				skus := rapid.SliceOfNDistinct(rapid.SampledFrom(known), 1, most, rapid.ID[string]).Draw(t, "skus")
				slices.Sort(skus)
				for _, sku := range skus {
					w.lines = append(w.lines, order.Line{SKU: sku, Quantity: rapid.Int64Range(1, 3).Draw(t, "quantity")})
				}
				var err error
				w.draws, err = order.DrawsOf(w.lines, draws)
				require.NoError(t, err)
				if rarely("wrong draws") {
					w.draws = []order.Line{{SKU: "b", Quantity: 1}}
				}
				if rapid.IntRange(0, 5).Draw(t, "with deductions") > 0 {
					for range (order.Order{Lines: w.lines, Draws: w.draws}).Units() {
						seq++
						switch {
						case rarely("no deduction"):
							w.deducted = append(w.deducted, 0)
						case rarely("old epoch"):
							w.deducted = append(w.deducted, -seq)
						default:
							w.deducted = append(w.deducted, seq)
						}
					}
				}
				wishes = append(wishes, w)
			}
			var told [2]string
			for i, s := range sides {
				var commits []order.Commit
				for _, w := range wishes {
					commits = append(commits, s.commit(w))
				}
				before := decisions(t, pool)
				outcomes, counters, err := store.Commit(ctx, commits)
				require.NoError(t, err)
				told[i] = s.told(t, store, pool, outcomes, counters)
				switch decided := decisions(t, pool) - before; {
				case i == 1:
					require.Positive(t, decided, "a fence makes each order be decided")
				case decided == 0:
					whole++
					if slices.ContainsFunc(outcomes, func(o order.Outcome) bool { return o.Verdict != order.VerdictBooked }) {
						mixed++
					}
				}
			}
			require.Equal(t, told[1], told[0])
		}
	})
	if !t.Failed() {
		require.Greater(t, whole, least, "batches that were decided as a whole")
		require.Positive(t, mixed, "of these, some with IDs that were there")
		t.Logf("%d runs, %d batches as a whole, %d of them with IDs that were there", run, whole, mixed)
	}
}
