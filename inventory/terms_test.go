package inventory_test

import (
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/inventory"
)

var ten = time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)

func TestTermsAtAMoment(t *testing.T) {
	t.Parallel()
	opens, closes := ten, ten.Add(time.Hour)
	for name, test := range map[string]struct {
		terms inventory.Terms
		now   time.Time
		want  error
		text  string
	}{
		"none":           {inventory.Terms{}, ten, nil, ""},
		"before it":      {inventory.Terms{OpensAt: opens, ClosesAt: closes}, opens.Add(-1), inventory.ErrNotOpen, `SKU "floor": not open yet: it opens at 2026-03-01T10:00:00Z`},
		"as it opens":    {inventory.Terms{OpensAt: opens, ClosesAt: closes}, opens, nil, ""},
		"before the end": {inventory.Terms{OpensAt: opens, ClosesAt: closes}, closes.Add(-1), nil, ""},
		"as it closes":   {inventory.Terms{OpensAt: opens, ClosesAt: closes}, closes, inventory.ErrClosed, `SKU "floor": closed: it closed at 2026-03-01T11:00:00Z`},
		"only closes":    {inventory.Terms{ClosesAt: closes}, closes.Add(time.Hour), inventory.ErrClosed, `SKU "floor": closed: it closed at 2026-03-01T11:00:00Z`},
		"only opens":     {inventory.Terms{OpensAt: opens}, closes.Add(time.Hour), nil, ""},
		"paused":         {inventory.Terms{Paused: true}, ten, inventory.ErrPaused, `SKU "floor": paused`},
		"paused before":  {inventory.Terms{Paused: true, OpensAt: opens}, opens.Add(-1), inventory.ErrPaused, `SKU "floor": paused`},
		"paused after":   {inventory.Terms{Paused: true, ClosesAt: closes}, closes, inventory.ErrPaused, `SKU "floor": paused`},
		"another zone":   {inventory.Terms{OpensAt: opens.In(time.FixedZone("", 3600))}, opens.Add(-1), inventory.ErrNotOpen, `SKU "floor": not open yet: it opens at 2026-03-01T10:00:00Z`},
	} {
		err := test.terms.At("floor", test.now)
		if test.want == nil {
			assert.NoError(t, err, name)
			continue
		}
		assert.ErrorIs(t, err, test.want, name)
		assert.EqualError(t, err, test.text, name)
		var shut *inventory.WindowError
		if assert.ErrorAs(t, err, &shut, name) {
			assert.Equal(t, inventory.WindowError{
				SKU: "floor", OpensAt: test.terms.OpensAt, ClosesAt: test.terms.ClosesAt, Err: test.want,
			}, *shut, name)
		}
	}
}

// Terms are the same if a repository can't tell them apart.
func TestSameTerms(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 10, 0, 0, 5_000_000, time.UTC)
	terms := inventory.Terms{CustomerLimit: 2, OpensAt: at, ClosesAt: at.Add(time.Hour), Paused: true}
	for name, tt := range map[string]struct {
		change func(*inventory.Terms)
		want   bool
	}{
		"the same":           {func(*inventory.Terms) {}, true},
		"elsewhere":          {func(u *inventory.Terms) { u.OpensAt = u.OpensAt.Local() }, true},
		"opens within a ms":  {func(u *inventory.Terms) { u.OpensAt = u.OpensAt.Add(time.Millisecond - 1) }, true},
		"opens before it":    {func(u *inventory.Terms) { u.OpensAt = u.OpensAt.Add(-1) }, false},
		"closes within a ms": {func(u *inventory.Terms) { u.ClosesAt = u.ClosesAt.Add(1 - time.Millisecond) }, true},
		"closes after it":    {func(u *inventory.Terms) { u.ClosesAt = u.ClosesAt.Add(1) }, false},
		"is open":            {func(u *inventory.Terms) { u.OpensAt = time.Time{} }, false},
		"never closes":       {func(u *inventory.Terms) { u.ClosesAt = time.Time{} }, false},
		"another limit":      {func(u *inventory.Terms) { u.CustomerLimit = 3 }, false},
		"sold":               {func(u *inventory.Terms) { u.Paused = false }, false},
	} {
		other := terms
		tt.change(&other)
		assert.Equal(t, tt.want, terms.SameTerms(other), name)
		assert.Equal(t, tt.want, other.SameTerms(terms), name)
	}
	assert.True(t, inventory.Terms{}.SameTerms(inventory.Terms{OpensAt: time.Unix(0, 0)}), "open since 1970")
}

func TestTermsCheck(t *testing.T) {
	t.Parallel()
	last := time.UnixMilli(1 << 52)
	for text, terms := range map[string]inventory.Terms{
		"invalid: customer_limit is -1, want 0 to 1000000":                                                   {CustomerLimit: -1},
		"invalid: customer_limit is 1000001, want 0 to 1000000":                                              {CustomerLimit: 1000001},
		"invalid: opens_at is 1969-12-31T23:59:59.999999999Z, want none, or 1970 to 2^52 milliseconds later": {OpensAt: time.Unix(0, -1)},
		"invalid: closes_at is 1969-12-31T23:59:59Z, want none, or 1970 to 2^52 milliseconds later":          {ClosesAt: time.Unix(-1, 0)},
		"invalid: closes_at is 2026-03-01T10:00:00Z, want later than opens_at, 2026-03-01T10:00:00Z":         {OpensAt: ten, ClosesAt: ten},
	} {
		assert.EqualError(t, terms.Check(), text)
		assert.ErrorIs(t, terms.Check(), inventory.ErrInvalid)
		supply := inventory.Supply{SKU: "floor", Store: "s", Epoch: 1, Version: 1, Terms: terms}
		assert.EqualError(t, supply.Check(), text, "a supply has terms")
	}
	assert.Error(t, inventory.Terms{OpensAt: last.Add(1)}.Check())
	assert.Error(t, inventory.Terms{ClosesAt: last.Add(1)}.Check())
	for _, fine := range []inventory.Terms{
		{}, {CustomerLimit: 1000000, Paused: true}, {OpensAt: time.Unix(0, 0), ClosesAt: last}, {OpensAt: last}, {OpensAt: ten, ClosesAt: ten.Add(1)},
	} {
		assert.NoError(t, fine.Check())
	}
	assert.Error(t, inventory.Supply{SKU: "floor", Store: "s", Epoch: 1}.Check(), "not only the terms")
}

func TestLimitError(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		limit, requested, used, inFlight int64
		want                             error
	}{
		{4, 5, 0, 0, inventory.ErrLimitExceeded},
		{4, 4, 0, 1, inventory.ErrTryAgain},
		{4, 1, 0, 4, inventory.ErrTryAgain},
		{4, 2, 2, 1, inventory.ErrTryAgain},
		{4, 2, 3, 0, inventory.ErrLimitExceeded},
		{4, 2, 3, 9, inventory.ErrLimitExceeded},
	} {
		err := error(&inventory.LimitError{SKU: "floor", Limit: test.limit, Requested: test.requested, Used: test.used, InFlight: test.inFlight})
		for _, one := range []error{inventory.ErrLimitExceeded, inventory.ErrTryAgain, inventory.ErrSoldOut} {
			assert.Equal(t, errors.Is(test.want, one), errors.Is(err, one), "%v is %v", err, one)
		}
	}
	assert.EqualError(t, &inventory.LimitError{SKU: "floor", Limit: 4, Requested: 2, Used: 3, InFlight: 1},
		`SKU "floor": customer limit exceeded: 2 requested, 3 used, 1 in flight, at most 4 for one customer`)
}

// What the hash says of the terms: times in whole milliseconds, opening rounded
// down and closing up.
func TestTermsInTheHash(t *testing.T) {
	onBoth(t, func(t *testing.T, client *redis.Client) {
		at := time.UnixMilli(1_000_000)
		for _, test := range []struct {
			terms inventory.Terms
			want  [4]string
		}{
			{inventory.Terms{}, [4]string{"0", "0", "0", "0"}},
			{inventory.Terms{CustomerLimit: 7, OpensAt: at, ClosesAt: at.Add(time.Millisecond), Paused: true}, [4]string{"7", "1000000", "1000001", "1"}},
			{inventory.Terms{OpensAt: at.Add(1), ClosesAt: at.Add(2)}, [4]string{"0", "1000000", "1000001", "0"}},
			{inventory.Terms{OpensAt: at.Add(999_999), ClosesAt: at.Add(1_000_001)}, [4]string{"0", "1000000", "1000002", "0"}},
			{inventory.Terms{OpensAt: time.Unix(0, 0)}, [4]string{"0", "0", "0", "0"}},
			{inventory.Terms{ClosesAt: time.Unix(0, 0)}, [4]string{"0", "0", "1", "0"}},
			{inventory.Terms{OpensAt: time.Unix(0, 1), ClosesAt: time.Unix(0, 2)}, [4]string{"0", "0", "1", "0"}},
			{inventory.Terms{CustomerLimit: 1000000, ClosesAt: time.UnixMilli(1 << 52)}, [4]string{"1000000", "0", "4503599627370496", "0"}},
		} {
			loaded, pushed := onSale(t, client, 10), onSale(t, client, 10)
			loaded.supply.Epoch++
			loaded.supply.Terms = test.terms
			require.NoError(t, loaded.repo.Load(background(t), loaded.supply))
			pushed.terms(test.terms)
			for _, s := range []*sale{loaded, pushed} {
				hash := s.hash()
				assert.Len(t, hash, counters)
				assert.Equal(t, test.want, [4]string{hash["customer_limit"], hash["opens_at"], hash["closes_at"], hash["paused"]})
				assert.Empty(t, s.stock().Why)
			}
		}
	})
}
