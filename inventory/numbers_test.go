package inventory_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/inventory"
)

// noNumbers are what no script may take for a number.
var noNumbers = []string{
	"", " ", "nan", "-nan", "inf", "-inf", "+5", "1e3", "1E3", "0x10", " 5", "5 ", "5\n", "5\x00", "05", "00", "-0", "-",
	"--5", "5.0", "5.", ".5", "5,000", "five", "٥", "4503599627370497", "-4503599627370497", "9007199254740993",
	"9223372036854775808", "99999999999999999999999999999999",
}

// badNumbers has, for each numeric argument of each script, what else is out of
// its bounds.
var badNumbers = []struct {
	script   string
	argument int // its index
	also     []string
}{
	{"deduct", 1, []string{"-1"}},
	{"deduct", 2, []string{"-1"}},
	{"deduct", 3, []string{"-1", "2"}},
	{"deduct", 4, badAsked},
	{"deduct", 8, badAsked},
	{"settle", 1, []string{"0", "-1"}},
	{"settle", 2, []string{"0", "-1"}},
	{"settle", 3, nil},
	{"settle", 4, []string{"-1"}},
	{"settle", 5, []string{"-1", "1000001"}},
	{"settle", 6, []string{"-1", "2000"}},
	{"settle", 7, []string{"-1", "1000"}},
	{"settle", 8, []string{"-1", "2"}},
	{"settle", 10, []string{"0", "-1"}},
	{"settle", 12, []string{"0", "-1"}},
	{"restore", 1, []string{"0", "-1"}},
	{"restore", 2, []string{"-1", "2"}},
	{"restore", 4, []string{"0", "-1"}},
	{"restore", 6, []string{"0", "-1"}},
	{"accept", 1, []string{"0", "-1"}},
	{"accept", 3, []string{"0", "-1"}},
	{"accept", 6, []string{"0", "-1"}},
	{"load", 1, []string{"0", "-1"}},
	{"load", 2, []string{"0", "-1"}},
	{"load", 3, nil},
	{"load", 4, []string{"-1", "1000001"}},
	{"load", 5, []string{"-1", "2000"}}, // it closes then
	{"load", 6, []string{"-1", "1000"}}, // it opens then
	{"load", 7, []string{"-1", "2"}},
	{"unsettled", 1, []string{"-1"}},
	{"unsettled", 3, []string{"0", "-1", "100001"}},
}

// badAsked is quantities and deadlines one of which is bad.
var badAsked = func() (bad []string) {
	for _, quantity := range append([]string{"0", "-1", "1000001", "4503599627370496"}, noNumbers...) {
		bad = append(bad, quantity+":0")
	}
	for _, deadline := range append([]string{"-1"}, noNumbers...) {
		bad = append(bad, "1:"+deadline)
	}
	return append(bad, "1", ":", "1:0:", "1:0:0", ":1:0", "1;0", "1: 0", "1::0")
}()

func TestScriptsRefuseWhatIsNoNumber(t *testing.T) {
	onBoth(t, func(t *testing.T, client *redis.Client) {
		s := onSale(t, client, 100)
		a, b := s.deduct("a"), s.deduct("b")
		// With these each script does something.
		good := map[string][]any{
			"deduct":    {store, "3", "0", "0", "1:0", "new", "order", "carol", "1:0", "newer", "other", "carol"},
			"settle":    {store, "3", "2", "50", "0", "5", "1000", "2000", "1", "a", text(a.Seq), "b", text(b.Seq)},
			"restore":   {store, "3", "0", "a", text(a.Seq), "b", text(b.Seq)},
			"accept":    {store, "3", "a", text(a.Seq), "order a", "b", text(b.Seq), "order b"},
			"load":      {store, "4", "9", "50", "5", "1000", "2000", "1"},
			"unsettled": {store, "0", "0", "10"},
		}
		before := s.hash()
		refused := func(script string, arguments []any) {
			t.Helper()
			err := inventory.Scripts[script].Run(background(t), client, []string{s.key}, arguments...).Err()
			require.ErrorContains(t, err, "LASTUNIT", "%s %q", script, arguments)
			require.Equal(t, before, s.hash(), "%s %q", script, arguments)
		}
		for _, bad := range badNumbers {
			for _, text := range slices.Concat(noNumbers, bad.also) {
				arguments := slices.Clone(good[bad.script])
				arguments[bad.argument] = text
				refused(bad.script, arguments)
			}
		}
		// Arguments that are missing are no numbers either.
		for script, last := range map[string]int{"deduct": 11, "settle": 9, "restore": 3, "accept": 7, "load": 7, "unsettled": 3} {
			for n := range last + 1 {
				if n == 8 && script == "deduct" || n == 9 && script == "settle" || n == 3 && script == "restore" || n == 5 && script == "accept" {
					continue // no deductions, which is fine
				}
				refused(script, good[script][:n])
			}
		}
		refused("settle", good["settle"][:10])
		refused("settle", good["settle"][:12])
		refused("restore", good["restore"][:4])
		refused("restore", good["restore"][:6])
		for _, order := range []string{"", strings.Repeat("x", inventory.MaxAccepted+1)} {
			arguments := slices.Clone(good["accept"])
			arguments[7] = order
			refused("accept", arguments)
		}

		for _, index := range []int{5, 6, 7, 9, 10, 11} { // attempt, order and customer
			for _, id := range []string{"", strings.Repeat("x", inventory.MaxIDBytes+1)} {
				arguments := slices.Clone(good["deduct"])
				arguments[index] = id
				refused("deduct", arguments)
			}
		}

		// The good ones do something, each: else all the above proves nothing.
		for _, script := range []string{"deduct", "settle", "restore", "accept", "load"} {
			s.replace(before)
			require.NoError(t, inventory.Scripts[script].Run(background(t), client, []string{s.key}, good[script]...).Err())
			assert.NotEqual(t, before, s.hash(), script)
		}
	})
}

// The bounds themselves are fine, and come back without an exponent.
func TestScriptsCountExactlyUpToTheirBounds(t *testing.T) {
	const bound = 1 << 52
	onBoth(t, func(t *testing.T, client *redis.Client) {
		s := onSale(t, client, 1)
		s.supply.Epoch, s.supply.Version, s.supply.Units = bound, bound-1, bound
		require.NoError(t, s.repo.Load(background(t), s.supply))
		s.replace(with(with(s.hash(), "taken", text(bound-1)), "seq", text(bound-1)))

		d := s.deduct("last")
		assert.Equal(t, int64(bound), d.Seq)
		assert.Equal(t, int64(bound), d.Epoch)
		assert.Equal(t, int64(bound-1), d.Version)
		assert.Equal(t, text(bound), s.hash()["taken"])
		assert.Equal(t, d.Seq, s.deduct("last").Seq, "it can be read back")

		_, err := s.repo.Deduct(background(t), s.request("one more"))
		require.ErrorIs(t, err, inventory.ErrTryAgain)

		require.NoError(t, s.repo.Restore(background(t), d))
		before := s.hash()
		_, err = s.repo.Deduct(background(t), s.request("one more"))
		notLoaded(t, err, inventory.WhySpent) // no seq is left
		assert.Equal(t, before, s.hash())

		s.supply.Version, s.supply.Units = bound, -bound
		require.NoError(t, s.repo.Push(background(t), s.supply))
		assert.Equal(t, int64(-bound), s.stock().Supply)
		assert.Equal(t, text(-bound), s.hash()["supply"])
		_, err = s.repo.Deduct(background(t), s.request("one more"))
		require.ErrorIs(t, err, inventory.ErrSoldOut)
	})
}

func text(n int64) string { return strconv.FormatInt(n, 10) }

// A caller that breaks the rule "never used for another one" is told so.
func TestAttemptUsedForAnotherRequest(t *testing.T) {
	onBoth(t, func(t *testing.T, client *redis.Client) {
		s := onSale(t, client, 10)
		s.deduct("uncounted")
		s.terms(inventory.Terms{CustomerLimit: 5})
		s.deduct("a")
		before := s.hash()
		for _, change := range []func(*inventory.Request){
			func(r *inventory.Request) { r.Quantity = 2 },
			func(r *inventory.Request) { r.OrderID = "another" },
			func(r *inventory.Request) { r.Customer = "dave" },
		} {
			r := s.request("a")
			change(&r)
			_, err := s.repo.Deduct(background(t), r)
			require.ErrorIs(t, err, inventory.ErrInvalid)
			require.NotErrorIs(t, err, inventory.ErrUnavailable)
			assert.Equal(t, before, s.hash())
		}
		r := s.request("uncounted")
		r.Customer = "dave" // nobody knows better
		_, err := s.repo.Deduct(background(t), r)
		require.NoError(t, err)
	})
}
