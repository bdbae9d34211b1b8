package order

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lastunit/lastunit/inventory"
)

// MaxLines bounds the lines of an order.
const MaxLines = 100

// Check returns an inventory.InvalidError unless the order's ID, customer and
// lines are within bounds. See inventory.CheckID and CheckQuantity for these.
func (o Order) Check() error {
	if err := inventory.CheckID("id", o.ID); err != nil {
		return err
	}
	if err := inventory.CheckID("customer", o.Customer); err != nil {
		return err
	}
	if len(o.Lines) < 1 || len(o.Lines) > MaxLines {
		return &inventory.InvalidError{Field: "lines", Reason: fmt.Sprintf("has %d elements, want 1 to %d", len(o.Lines), MaxLines)}
	}
	for i, line := range o.Lines {
		if err := inLine("lines", i, inventory.CheckID("sku", line.SKU)); err != nil {
			return err
		}
		if err := inLine("lines", i, inventory.CheckQuantity("quantity", line.Quantity)); err != nil {
			return err
		}
	}
	return nil
}

// inLine names the line in the error of a field. The name is made only for an
// error: every booking is checked.
func inLine(field string, line int, err error) error {
	if err != nil {
		err = inField(fmt.Sprintf("%s[%d]", field, line), err)
	}
	return err
}

// inField names what the field is in.
func inField(in string, err error) error {
	var invalid *inventory.InvalidError
	if err != nil && errors.As(err, &invalid) {
		invalid.Field = in + "." + invalid.Field
	}
	return err
}

// SumLines returns the lines sorted by SKU, with those of one SKU added up. Each
// quantity and each sum has the bounds of one. It fails with an inventory.InvalidError.
func SumLines(lines []Line) ([]Line, error) {
	for i, line := range lines { // a negative one must not hide in a sum
		if err := inLine("lines", i, inventory.CheckQuantity("quantity", line.Quantity)); err != nil {
			return nil, err
		}
	}
	sums := slices.Clone(lines)
	slices.SortStableFunc(sums, func(a, b Line) int { return strings.Compare(a.SKU, b.SKU) })
	n := 0
	for _, line := range sums {
		if n > 0 && sums[n-1].SKU == line.SKU {
			sums[n-1].Quantity += line.Quantity
			if err := inventory.CheckQuantity(fmt.Sprintf("lines: the sum for SKU %q", line.SKU), sums[n-1].Quantity); err != nil {
				return nil, err
			}
			continue
		}
		sums[n] = line
		n++
	}
	return sums[:n], nil
}

// checkCommits returns an inventory.InvalidError unless every commit is within
// bounds and has one deduction for each line, or none.
func checkCommits(commits []Commit) error {
	if len(commits) > MaxCommits {
		return &inventory.InvalidError{Field: "commits", Reason: fmt.Sprintf("are %d, want at most %d", len(commits), MaxCommits)}
	}
	for _, c := range commits {
		if err := c.Order.Check(); err != nil {
			return fmt.Errorf("order %q: %w", c.Order.ID, err)
		}
		if c.Hold != 0 {
			if err := CheckHold("hold", c.Hold); err != nil {
				return fmt.Errorf("order %q: %w", c.Order.ID, err)
			}
		}
		if err := checkSorted("lines", c.Order.Lines); err != nil {
			return fmt.Errorf("order %q: %w", c.Order.ID, err)
		}
		if err := checkDraws(c.Order); err != nil {
			return fmt.Errorf("order %q: %w", c.Order.ID, err)
		}
		if err := checkDeductions(c); err != nil {
			return fmt.Errorf("order %q: %w", c.Order.ID, err)
		}
	}
	return nil
}

func checkSorted(field string, lines []Line) error {
	for i := 1; i < len(lines); i++ {
		if lines[i-1].SKU >= lines[i].SKU {
			return &inventory.InvalidError{Field: fmt.Sprintf("%s[%d].sku", field, i), Reason: "is out of order, want each SKU once, sorted"}
		}
	}
	return nil
}

// checkDraws looks at what an order takes of pools. Whether it is what its SKUs
// draw, the store decides.
func checkDraws(o Order) error {
	if len(o.Draws) == 0 {
		return nil
	}
	for i, draw := range o.Draws {
		if err := inLine("draws", i, inventory.CheckID("sku", draw.SKU)); err != nil {
			return err
		}
		if err := inLine("draws", i, inventory.CheckQuantity("quantity", draw.Quantity)); err != nil {
			return err
		}
	}
	for _, unit := range o.Units() {
		if err := inventory.CheckQuantity(fmt.Sprintf("draws: the sum for SKU %q", unit.SKU), unit.Quantity); err != nil {
			return err
		}
	}
	return checkSorted("draws", o.Draws)
}

func checkDeductions(c Commit) error {
	if len(c.Deductions) == 0 {
		return nil
	}
	units := c.Order.Units()
	if len(c.Deductions) != len(units) {
		return &inventory.InvalidError{Field: "deductions", Reason: fmt.Sprintf("are %d, want one for each of %d units", len(c.Deductions), len(units))}
	}
	for i, d := range c.Deductions {
		if d == (inventory.Deduction{}) {
			continue
		}
		// Fence looks for the order that the deduction names, so it must be this one.
		if unit := units[i]; d.OrderID != c.Order.ID || d.SKU != unit.SKU || d.Quantity != unit.Quantity || d.Epoch < 1 || d.Seq < 1 {
			return &inventory.InvalidError{Field: fmt.Sprintf("deductions[%d]", i), Reason: "is not of its unit"}
		}
	}
	return nil
}

// checkFence looks at what decides about a deduction: its order and its identity.
func checkFence(deductions []inventory.Deduction) error {
	for i, d := range deductions {
		if err := inventory.CheckID(fmt.Sprintf("deductions[%d].sku", i), d.SKU); err != nil {
			return err
		}
		if err := inventory.CheckID(fmt.Sprintf("deductions[%d].order_id", i), d.OrderID); err != nil {
			return err
		}
		if d.Epoch < 1 || d.Seq < 1 {
			return &inventory.InvalidError{Field: fmt.Sprintf("deductions[%d]", i), Reason: "has no identity"}
		}
	}
	return nil
}

func checkSKUs(skus []string) error {
	for i, sku := range skus {
		if err := inventory.CheckID(fmt.Sprintf("skus[%d]", i), sku); err != nil {
			return err
		}
	}
	return nil
}

func checkScan(partition int, after string, limit int) error {
	if partition < AllPartitions || partition >= Partitions {
		return &inventory.InvalidError{Field: "partition", Reason: fmt.Sprintf("is %d, want %d to %d", partition, AllPartitions, Partitions-1)}
	}
	if after != "" {
		if err := inventory.CheckID("after", after); err != nil {
			return err
		}
	}
	return checkLimit(limit)
}

func checkClaim(period time.Duration, limit, slice int) error {
	if period <= 0 {
		return &inventory.InvalidError{Field: "period", Reason: fmt.Sprintf("is %v, want more than 0", period)}
	}
	if slice < 1 || slice > maxSlice {
		return &inventory.InvalidError{Field: "slice", Reason: fmt.Sprintf("is %d, want 1 to %d", slice, maxSlice)}
	}
	return checkLimit(limit)
}

// maxSlice bounds the SKUs of a slice, far beyond what one is good for.
const maxSlice = 1_000_000

func checkCustomerLimit(limit int64) error {
	if limit < 0 || limit > inventory.MaxQuantity {
		return &inventory.InvalidError{Field: "limit", Reason: fmt.Sprintf("is %d, want 0 to %d", limit, int64(inventory.MaxQuantity))}
	}
	return nil
}

func checkDue(again time.Duration, limit int) error {
	if err := CheckHold("again", again); err != nil {
		return err
	}
	return checkLimit(limit)
}

func checkPurge(limit int) error {
	if limit < 1 || limit > MaxCommits {
		return &inventory.InvalidError{Field: "limit", Reason: fmt.Sprintf("is %d, want 1 to %d", limit, MaxCommits)}
	}
	return nil
}

func checkLimit(limit int) error {
	if limit < 1 {
		return &inventory.InvalidError{Field: "limit", Reason: fmt.Sprintf("is %d, want at least 1", limit)}
	}
	return nil
}

func (q Query) check() error {
	if q.Status != "" && !q.Status.Valid() {
		return &inventory.InvalidError{Field: "status", Reason: fmt.Sprintf("is %q, want %s, %s, %s or %s", q.Status, Held, Confirmed, Cancelled, Expired)}
	}
	if q.Size < 0 || q.Size > MaxPage {
		return &inventory.InvalidError{Field: "size", Reason: fmt.Sprintf("is %d, want 1 to %d", q.Size, MaxPage)}
	}
	_, err := q.before()
	return err
}

// before is the number that the page's orders are below.
func (q Query) before() (int64, error) {
	if q.After == "" {
		return math.MaxInt64, nil
	}
	n, err := strconv.ParseInt(q.After, 10, 64)
	if err != nil || n < 0 {
		return 0, &inventory.InvalidError{Field: "after", Reason: "is not the next of a page"}
	}
	return n, nil
}

func (q Query) size() int {
	if q.Size == 0 {
		return DefaultPage
	}
	return q.Size
}

// page makes a Page of records, of which one more than its size was read if
// there are more.
func (q Query) page(records []record) Page {
	page := Page{Orders: make([]Order, 0, min(len(records), q.size()))}
	for i, r := range records {
		if i == q.size() {
			page.Next = strconv.FormatInt(records[i-1].number, 10)
			break
		}
		page.Orders = append(page.Orders, r.Order)
	}
	return page
}

// partitionOf spreads SKUs over the partitions.
func partitionOf(sku string) int {
	hash := fnv.New32a()
	hash.Write([]byte(sku))
	return int(hash.Sum32() % Partitions)
}
