package inventory_test

import (
	"context"
	"fmt"
	"maps"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/inventory"
)

// fuzzed are the scripts in the order of FuzzScripts's first argument.
var fuzzed = []string{"deduct", "accept", "settle", "restore", "load", "unsettled"}

// fuzzedHash is what each script meets: 20 units of which 9 are taken, 3 by an
// accepted order and 2 by a customer that is counted.
var fuzzedHash = map[string]string{
	"format": "1", "store": store, "epoch": "3", "supply": "20", "version": "7", "taken": "9", "seq": "4", "unsettled": "6",
	"customer_limit": "5", "opens_at": "0", "closes_at": "0", "paused": "0", "accepting": "1",
	"d:a": "2:3:6:1000:0:order a", "a:a": "the order", "d:b": "3:2:7:1000:5:carolorder b", "c:carol": "2", "d:c": "4:1:6:1000:0:order c",
}

// FuzzScripts sends each script arguments that no caller of ours sends, one a
// line. They are refused, and then nothing has changed; or they are numbers within
// the bounds, and what the script has done is what these say.
func FuzzScripts(f *testing.F) {
	server := miniredis.RunT(f)
	client := clientOf(f, server)
	const key = "fuzzed"
	f.Fuzz(func(t *testing.T, script byte, lines string) {
		ctx := t.Context()
		name := fuzzed[int(script)%len(fuzzed)]
		texts := strings.Split(lines, "\n")
		arguments := make([]any, len(texts))
		for i := range texts {
			arguments[i] = texts[i]
		}
		server.FlushAll()
		require.NoError(t, client.HSet(ctx, key, fuzzedHash).Err())

		reply, err := inventory.Scripts[name].Run(ctx, client, []string{key}, arguments...).Slice()
		after, readErr := client.HGetAll(ctx, key).Result()
		require.NoError(t, readErr)

		want := &expected{arguments: texts, hash: maps.Clone(fuzzedHash), reply: reply}
		if !want.run(name) {
			require.ErrorContains(t, err, "LASTUNIT", "%s %q", name, texts)
			require.Equal(t, fuzzedHash, after, "%s %q", name, texts)
			return
		}
		if name == "unsettled" && err != nil { // Redis itself refuses cursors
			require.ErrorContains(t, err, "invalid cursor")
		} else {
			require.NoError(t, err, "%s %q", name, texts)
		}
		require.Equal(t, want.hash, timelessHash(after), "%s %q: %q", name, texts, reply)
	})
}

// timelessHash leaves out what the clock writes.
func timelessHash(fields map[string]string) map[string]string {
	delete(fields, "reopened")
	for field, value := range fields {
		if strings.HasPrefix(field, "d:") && fuzzedHash[field] != value {
			parts := strings.SplitN(value, ":", 5)
			parts[3] = "now"
			if accepted(field) {
				parts[3] = "1000" // carried over
			}
			fields[field] = strings.Join(parts, ":")
		}
	}
	return fields
}

func accepted(field string) bool { return field == "d:a" }

// expected says what a script must make of arguments, with Go's numbers.
type expected struct {
	arguments []string
	hash      map[string]string
	reply     []any // of the script, for its clock alone
}

var plainDigits = regexp.MustCompile(`\A(0|-?[1-9][0-9]*)\z`)

// whole reads a number as the scripts promise to.
func whole(text string, low, high int64) (int64, bool) {
	n, ok := new(big.Int).SetString(text, 10)
	if !ok || !plainDigits.MatchString(text) || n.Cmp(big.NewInt(low)) < 0 || n.Cmp(big.NewInt(high)) > 0 {
		return 0, false
	}
	return n.Int64(), true
}

// all reads numbers from the argument first on, within these bounds; false if
// one of them is missing or wrong.
func (e *expected) all(first int, bounds ...[2]int64) bool {
	for i, b := range bounds {
		if first+i >= len(e.arguments) {
			return false
		}
		if _, ok := whole(e.arguments[first+i], b[0], b[1]); !ok {
			return false
		}
	}
	return true
}

func (e *expected) number(i int) int64 {
	n, _ := strconv.ParseInt(e.arguments[i], 10, 64)
	return n
}

// counter is a counter of the hash.
func (e *expected) counter(name string) int64 {
	n, err := strconv.ParseInt(e.hash[name], 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

func (e *expected) add(name string, units int64) { e.hash[name] = text(e.counter(name) + units) }

var (
	fromZero = [2]int64{0, highest}
	fromOne  = [2]int64{1, highest}
	anything = [2]int64{-highest, highest}
	flags    = [2]int64{0, 1}
	limits   = [2]int64{0, inventory.MaxQuantity}
)

// run changes the hash as the script must. It returns false if the script must
// refuse the arguments.
func (e *expected) run(script string) bool {
	switch script {
	case "deduct":
		return e.deduct()
	case "accept":
		return e.accept()
	case "settle":
		return e.settle()
	case "restore":
		return e.restore()
	case "load":
		return e.load()
	default:
		return e.all(1, fromZero) && e.all(3, [2]int64{1, 100_000})
	}
}

// ours says whether the first argument is the hash's store.
func (e *expected) ours() bool { return e.arguments[0] == store }

func (e *expected) terms(first int) bool {
	return e.all(first, limits, fromZero, fromZero, flags) &&
		(e.arguments[first+2] == "0" || e.number(first+2) > e.number(first+1))
}

// pairs says whether the arguments from first on are attempts with their seqs.
func (e *expected) pairs(first int) bool {
	if len(e.arguments) > first && (len(e.arguments)-first)%2 != 0 {
		return false
	}
	for i := first + 1; i < len(e.arguments); i += 2 {
		if !e.all(i, fromOne) {
			return false
		}
	}
	return true
}

func (e *expected) settle() bool {
	if !e.all(1, fromOne, fromOne, anything, fromZero) || !e.terms(5) || !e.pairs(9) {
		return false
	}
	if !e.ours() || e.number(1) != 3 {
		return true
	}
	e.drop(9, false)
	if e.number(2) > 7 {
		for i, name := range []string{"version", "supply"} {
			e.hash[name] = e.arguments[2+i]
		}
		for i, name := range []string{"customer_limit", "opens_at", "closes_at", "paused"} {
			e.hash[name] = e.arguments[5+i]
		}
	}
	return true
}

func (e *expected) restore() bool {
	if !e.all(1, fromOne, flags) || !e.pairs(3) {
		return false
	}
	if e.ours() && e.number(1) == 3 {
		e.add("taken", -e.drop(3, e.arguments[2] == "0"))
	}
	return true
}

// drop drops the deductions that are named, and returns their units.
func (e *expected) drop(first int, passAccepted bool) (units int64) {
	for i := first; i+1 < len(e.arguments); i += 2 {
		field := "d:" + e.arguments[i]
		seq, rest, _ := strings.Cut(e.hash[field], ":")
		if seq != e.arguments[i+1] || passAccepted && accepted(field) {
			continue
		}
		quantity, _, _ := strings.Cut(rest, ":")
		n, _ := whole(quantity, 1, highest)
		units += n
		delete(e.hash, field)
		delete(e.hash, "a:"+e.arguments[i])
		if field == "d:b" {
			delete(e.hash, "c:carol")
		}
	}
	e.add("unsettled", -units)
	return units
}

func (e *expected) load() bool {
	if !e.all(1, fromOne, fromOne, anything) || !e.terms(4) || e.arguments[0] == "" {
		return false
	}
	if e.ours() && e.number(1) <= 3 {
		return true
	}
	fresh := map[string]string{"format": "1", "store": e.arguments[0], "taken": "0", "seq": "0", "unsettled": "0"}
	for i, name := range []string{"epoch", "version", "supply", "customer_limit", "opens_at", "closes_at", "paused"} {
		fresh[name] = e.arguments[1+i]
	}
	if e.ours() { // the accepted order is carried over
		fresh["taken"], fresh["seq"], fresh["unsettled"], fresh["accepting"] = "3", "1", "3", "1"
		fresh["d:a"], fresh["a:a"] = "1:3:6:1000:0:order a", e.hash["a:a"]
	}
	e.hash = fresh
	return true
}

func (e *expected) accept() bool {
	if !e.all(1, fromOne) || len(e.arguments) < 5 || len(e.arguments)%3 != 2 {
		return false
	}
	for i := 2; i < len(e.arguments); i += 3 {
		if order := e.arguments[i+2]; !e.all(i+1, fromOne) || order == "" || len(order) > inventory.MaxAccepted {
			return false
		}
	}
	if !e.ours() || e.number(1) != 3 {
		return true
	}
	for i := 2; i < len(e.arguments); i += 3 { // a has its order, and b counts
		if e.arguments[i] == "c" && e.arguments[i+1] == "4" {
			e.hash["a:c"] = e.arguments[i+2]
		}
	}
	return true
}

// asked is quantity:deadline.
func asked(text string) (quantity, deadline int64, ok bool) {
	before, after, found := strings.Cut(text, ":")
	quantity, fine := whole(before, 1, inventory.MaxQuantity)
	deadline, also := whole(after, 0, highest)
	return quantity, deadline, found && fine && also
}

func (e *expected) deduct() bool {
	if !e.all(1, fromZero, fromZero, flags) || len(e.arguments) < 8 || len(e.arguments)%4 != 0 {
		return false
	}
	for i := 4; i < len(e.arguments); i += 4 {
		if _, _, ok := asked(e.arguments[i]); !ok {
			return false
		}
		if slices.ContainsFunc(e.arguments[i+1:i+4], func(id string) bool { return id == "" || len(id) > inventory.MaxIDBytes }) {
			return false
		}
	}
	if epoch, seq := e.number(1), e.number(2); !e.ours() || epoch > 3 || epoch == 3 && seq > 4 {
		return true
	}
	for i := 4; i < len(e.arguments); i += 4 {
		e.take(e.arguments[i], e.arguments[i+1], e.arguments[i+2], e.arguments[i+3])
	}
	return true
}

// take deducts for one attempt, if there is enough.
func (e *expected) take(text, attempt, order, customer string) {
	quantity, deadline, _ := asked(text)
	_, known := e.hash["d:"+attempt]
	late := deadline > 0 && e.reply[1].(int64) > deadline
	theirs, _ := whole(e.hash["c:"+customer], 1, highest)
	if known || late || theirs+quantity > 5 || e.counter("supply")-e.counter("taken") < quantity {
		return
	}
	e.add("taken", quantity)
	e.add("unsettled", quantity)
	e.add("seq", 1)
	e.hash["c:"+customer] = fmt.Sprint(theirs + quantity)
	e.hash["d:"+attempt] = fmt.Sprintf("%s:%d:7:now:%d:%s%s", e.hash["seq"], quantity, len(customer), customer, order)
}

// milliseconds is a time of the terms, or none.
func milliseconds(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

// sameCalls are what a fuzz test compares: the scripts, through the package's API
// on miniredis, and the model.
type sameCalls struct {
	t       *testing.T
	scripts *inventory.Redis
	model   *model
	client  *redis.Client
}

// newSameCalls puts one SKU on sale on an emptied server, with a deduction of carol.
func newSameCalls(t *testing.T, server *miniredis.Miniredis, client *redis.Client) *sameCalls {
	t.Helper()
	server.FlushAll()
	s := &sameCalls{t, inventory.NewRedis(client), newModel(), client}
	s.both("load", func(ctx context.Context, on inventory.InventoryRepository) (any, error) {
		return nil, on.Load(ctx, inventory.Supply{
			SKU: "floor", Store: store, Epoch: 3, Version: 2, Units: 20, Terms: inventory.Terms{CustomerLimit: 15},
		})
	})
	s.both("deduct", func(ctx context.Context, on inventory.InventoryRepository) (any, error) {
		d, err := on.Deduct(ctx, inventory.Request{SKU: "floor", Store: store, Attempt: "a", OrderID: "order", Customer: "carol", Quantity: 2})
		return timeless(d), err
	})
	return s
}

// both makes a call on both sides, and requires that they answer the same and
// hold the same. What is refused as invalid has changed nothing.
func (s *sameCalls) both(what string, call func(context.Context, inventory.InventoryRepository) (any, error)) {
	s.t.Helper()
	ctx := s.t.Context()
	before := s.everything()
	want, wantErr := call(ctx, s.model)
	got, err := call(ctx, s.scripts)
	require.Equal(s.t, verdict(wantErr), verdict(err), what)
	require.Equal(s.t, want, got, what)
	if strings.HasPrefix(verdict(err), "invalid ") {
		require.Equal(s.t, before, s.everything(), "%s is refused: %v", what, err)
	}

	for sku, c := range s.model.skus {
		stocks, err := s.scripts.Stock(ctx, sku)
		require.NoError(s.t, err, what)
		require.Equal(s.t, c.Stock, stocks[0], what)
		fields := s.client.HGetAll(ctx, s.scripts.StockKey(sku)).Val()
		require.Equal(s.t, c.customers(), customersIn(s.t, fields), what)
		// There is no time to wait for what is kept.
		s.model.reopen(sku)
		s.client.HDel(ctx, s.scripts.StockKey(sku), "reopened")
	}
}

// everything is all hashes of the server.
func (s *sameCalls) everything() map[string]map[string]string {
	s.t.Helper()
	found := make(map[string]map[string]string)
	for _, key := range s.client.Keys(s.t.Context(), "*").Val() {
		found[key] = s.client.HGetAll(s.t.Context(), key).Val()
	}
	return found
}

// FuzzDeduct takes units by the package's API, keeps an accepted order beside
// them, and gives them back, with any arguments.
func FuzzDeduct(f *testing.F) {
	server := miniredis.RunT(f)
	client := clientOf(f, server)
	f.Fuzz(func(t *testing.T, sku, inStore, attempt, order, customer string, quantity, epoch, seq int64, cleared bool, beside string) {
		s := newSameCalls(t, server, client)
		var granted inventory.Deduction
		s.both("deduct", func(ctx context.Context, on inventory.InventoryRepository) (any, error) {
			d, err := on.Deduct(ctx, inventory.Request{
				SKU: sku, Store: inStore, Attempt: attempt, OrderID: order, Customer: customer, Quantity: quantity, Cleared: cleared,
				Watermark: inventory.Watermark{Epoch: epoch, Seq: seq},
			})
			granted = d
			return timeless(d), err
		})
		// As granted, or else as it was asked for.
		if granted.Seq == 0 {
			granted = inventory.Deduction{SKU: sku, Store: inStore, Epoch: epoch, Seq: seq, Attempt: attempt}
		}
		s.both("accept", func(ctx context.Context, on inventory.InventoryRepository) (any, error) {
			return on.Accept(ctx, beside, granted)
		})
		s.both("list", func(ctx context.Context, on inventory.InventoryRepository) (any, error) {
			ds, err := on.Unsettled(ctx, inStore, sku, 0, int(quantity))
			return len(ds), err
		})
		s.both("restore", func(ctx context.Context, on inventory.InventoryRepository) (any, error) {
			return nil, on.Restore(ctx, granted)
		})
	})
}

// FuzzSupply brings supplies by the package's API, with any arguments, and settles
// a deduction.
func FuzzSupply(f *testing.F) {
	server := miniredis.RunT(f)
	client := clientOf(f, server)
	f.Fuzz(func(t *testing.T, sku, inStore string, epoch, version, units, admitted, limit, opens, closes int64, paused bool, attempt string, seq int64) {
		s := newSameCalls(t, server, client)
		supply := inventory.Supply{
			SKU: sku, Store: inStore, Epoch: epoch, Version: version, Units: units, Admitted: admitted,
			Terms: inventory.Terms{CustomerLimit: limit, OpensAt: milliseconds(opens), ClosesAt: milliseconds(closes), Paused: paused},
		}
		deduction := inventory.Deduction{SKU: sku, Store: inStore, Epoch: epoch, Seq: seq, Attempt: attempt}
		s.both("settle", func(ctx context.Context, on inventory.InventoryRepository) (any, error) {
			return nil, on.Settle(ctx, supply, deduction)
		})
		s.both("load", func(ctx context.Context, on inventory.InventoryRepository) (any, error) {
			return nil, on.Load(ctx, supply)
		})
		s.both("push", func(ctx context.Context, on inventory.InventoryRepository) (any, error) {
			return nil, on.Push(ctx, supply)
		})
		// What can be bought then shows how the numbers were read.
		s.both("deduct", func(ctx context.Context, on inventory.InventoryRepository) (any, error) {
			d, err := on.Deduct(ctx, inventory.Request{SKU: sku, Store: inStore, Attempt: "new", OrderID: "order", Customer: "dave", Quantity: 3})
			return timeless(d), err
		})
	})
}
