package order

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lastunit/lastunit/inventory"
)

// Item is a SKU as it is put on sale.
type Item struct {
	SKU      string `json:"sku"`      // see inventory.CheckID
	Capacity int64  `json:"capacity"` // units: 0 to inventory.MaxCapacity

	// CustomerLimit is how many units of it one customer may have in live
	// orders, held and confirmed, those drawn by other SKUs included: up to
	// inventory.MaxQuantity. 0 for no limit.
	CustomerLimit int64 `json:"customer_limit,omitempty"`

	// OpensAt is when it may first be sold, ClosesAt from when on not any more,
	// both by the store's clock. Zero for no such moment.
	OpensAt  time.Time `json:"opens_at,omitzero"`
	ClosesAt time.Time `json:"closes_at,omitzero"`

	// Draws are what each unit of it takes of other SKUs too, its pools: an
	// early-bird ticket takes 1 of the hall; a bundle takes 2 chairs and 1 table. A
	// pool is a SKU like any other, with a capacity, a limit and a window that
	// hold for all that is drawn on it, as does a pause; it may have pools itself,
	// and can be ordered itself unless it is PoolOnly. At most MaxDraws pools, all in
	// all. Draws are fixed when the SKU is put on sale.
	Draws []Line `json:"draws,omitempty"`

	// PoolOnly is for a pool that is not sold by its name: an order with a line of
	// it is ErrPoolOnly, and only what other SKUs draw on it is taken. It is fixed
	// when the SKU is put on sale.
	PoolOnly bool `json:"pool_only,omitempty"`
}

const (
	// MaxDraws bounds the pools of a SKU, those of its pools included.
	MaxDraws = 16

	// MaxItems bounds the items that are put on sale at once.
	MaxItems = 10_000
)

// Terms are who may buy the item, and when: to the microsecond, as Postgres has it.
func (i Item) Terms() inventory.Terms {
	return inventory.Terms{CustomerLimit: i.CustomerLimit, OpensAt: microsecond(i.OpensAt), ClosesAt: microsecond(i.ClosesAt)}
}

func microsecond(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC().Truncate(time.Microsecond)
}

// Check returns an inventory.InvalidError unless every field is within bounds.
func (i Item) Check() error {
	if err := inventory.CheckID("sku", i.SKU); err != nil {
		return err
	}
	if err := inventory.CheckCapacity("capacity", i.Capacity); err != nil {
		return err
	}
	if err := i.Terms().Check(); err != nil {
		return err
	}
	if len(i.Draws) > MaxDraws {
		return &inventory.InvalidError{Field: "draws", Reason: fmt.Sprintf("has %d elements, want at most %d", len(i.Draws), MaxDraws)}
	}
	for n, draw := range i.Draws {
		if err := inField(fmt.Sprintf("draws[%d]", n), inventory.CheckID("sku", draw.SKU)); err != nil {
			return err
		}
		if err := inField(fmt.Sprintf("draws[%d]", n), inventory.CheckQuantity("quantity", draw.Quantity)); err != nil {
			return err
		}
	}
	return nil
}

// differs is the ErrAlreadyOnSale of a SKU that is there with other terms than
// the item's, given what one unit of it draws; nil if it has the same.
func (i Item) differs(c Counters, draws []Line) error {
	terms := i.Terms()
	for _, term := range [...]struct {
		name      string
		is, asked any
		same      bool
	}{
		{"the capacity", c.Capacity, i.Capacity, c.Capacity == i.Capacity},
		{"the customer limit", c.CustomerLimit, i.CustomerLimit, c.CustomerLimit == i.CustomerLimit},
		{"the opening", c.OpensAt, terms.OpensAt, c.OpensAt.Equal(terms.OpensAt)},
		{"the closing", c.ClosesAt, terms.ClosesAt, c.ClosesAt.Equal(terms.ClosesAt)},
		{"what it draws", c.Draws, draws, slices.Equal(c.Draws, draws)},
		{"that it is a pool only", c.PoolOnly, i.PoolOnly, c.PoolOnly == i.PoolOnly},
	} {
		if !term.same {
			return &SKUError{i.SKU, fmt.Errorf("%w: %s is %v, not %v", ErrAlreadyOnSale, term.name, term.is, term.asked)}
		}
	}
	return nil
}

// checkItems looks at what is put on sale together.
func checkItems(items []Item) error {
	if len(items) > MaxItems {
		return &inventory.InvalidError{Field: "items", Reason: fmt.Sprintf("are %d, want at most %d", len(items), MaxItems)}
	}
	seen := make(map[string]bool, len(items))
	for n, item := range items {
		err := item.Check()
		if err == nil && seen[item.SKU] {
			err = &inventory.InvalidError{Field: "sku", Reason: "is there twice"}
		}
		if err != nil {
			if len(items) > 1 {
				err = inField(fmt.Sprintf("items[%d]", n), err)
			}
			return err
		}
		seen[item.SKU] = true
	}
	return nil
}

// pools finds all that one unit of each item draws on, pools of pools included.
// known are the draws of SKUs that are on sale already; they are complete. It
// fails with ErrUnknownSKU for a pool that is neither there nor among the items,
// and with inventory.ErrInvalid where pools form a circle.
func pools(items []Item, known map[string][]Line) (map[string][]Line, error) {
	p := poolFinder{items: make(map[string]Item, len(items)), known: known, found: make(map[string][]Line, len(items))}
	for _, item := range items {
		p.items[item.SKU] = item
	}
	for _, item := range items {
		if _, err := p.find(item.SKU); err != nil {
			return nil, err
		}
	}
	return p.found, nil
}

type poolFinder struct {
	items map[string]Item
	known map[string][]Line
	found map[string][]Line
	trail []string // from the item that we began with
}

func (p *poolFinder) find(sku string) ([]Line, error) {
	if draws, ok := p.found[sku]; ok {
		return draws, nil
	}
	item, ok := p.items[sku]
	if !ok {
		draws, ok := p.known[sku]
		if !ok {
			return nil, &SKUError{SKU: sku, Err: ErrUnknownSKU}
		}
		return draws, nil
	}
	if slices.Contains(p.trail, sku) {
		return nil, &inventory.InvalidError{Field: "draws", Reason: "form a circle: " + strings.Join(append(p.trail, sku), ", ")}
	}
	p.trail = append(p.trail, sku)
	sums := make(map[string]int64)
	add := func(sku string, units int64) error {
		sums[sku] += units
		return inventory.CheckQuantity(fmt.Sprintf("draws: what one %q takes of %q", item.SKU, sku), sums[sku])
	}
	for _, draw := range item.Draws {
		below, err := p.find(draw.SKU)
		if err != nil {
			return nil, err
		}
		if err := add(draw.SKU, draw.Quantity); err != nil {
			return nil, err
		}
		for _, b := range below { // each factor is at most 10^6, so the product fits
			if err := add(b.SKU, b.Quantity*draw.Quantity); err != nil {
				return nil, err
			}
		}
	}
	p.trail = p.trail[:len(p.trail)-1]
	if len(sums) > MaxDraws {
		return nil, &inventory.InvalidError{Field: "draws", Reason: fmt.Sprintf("of %q are %d pools in all, want at most %d", sku, len(sums), MaxDraws)}
	}
	p.found[sku] = sortedLines(sums)
	return p.found[sku], nil
}

// sortedLines are the sums as lines, sorted by SKU; nil if there are none.
func sortedLines(sums map[string]int64) []Line {
	var lines []Line
	for sku, quantity := range sums {
		lines = append(lines, Line{sku, quantity})
	}
	slices.SortFunc(lines, func(a, b Line) int { return strings.Compare(a.SKU, b.SKU) })
	return lines
}

// DrawsOf adds up what lines take of pools, given what one unit of each SKU
// draws (Counters.Draws). It fails with inventory.ErrInvalid if that is more
// than inventory.MaxQuantity of one pool, together with the lines.
func DrawsOf(lines []Line, draws func(sku string) []Line) ([]Line, error) {
	var sums map[string]int64
	for _, line := range lines {
		for _, draw := range draws(line.SKU) {
			if sums == nil {
				sums = make(map[string]int64)
			}
			sums[draw.SKU] += line.Quantity * draw.Quantity
			if err := inventory.CheckQuantity(fmt.Sprintf("lines: what they take of %q", draw.SKU), sums[draw.SKU]); err != nil {
				return nil, err
			}
		}
	}
	for _, line := range lines {
		if drawn := sums[line.SKU]; drawn > 0 {
			if err := inventory.CheckQuantity(fmt.Sprintf("lines: what they take of %q", line.SKU), drawn+line.Quantity); err != nil {
				return nil, err
			}
		}
	}
	return sortedLines(sums), nil
}
