package order

import (
	"slices"

	"github.com/lastunit/lastunit/inventory"
)

// identity of the deduction for a line; zero for none.
func (c Commit) identity(line int) inventory.Identity {
	if len(c.Deductions) == 0 {
		return inventory.Identity{}
	}
	return c.Deductions[line].Identity()
}

// skusOf are the SKUs of the commits, sorted, each once.
func skusOf(commits []Commit) []string {
	var skus []string
	for _, c := range commits {
		for _, line := range c.Order.Lines {
			skus = append(skus, line.SKU)
		}
	}
	slices.Sort(skus)
	return slices.Compact(skus)
}
