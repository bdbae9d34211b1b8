package inventorytest

import (
	"errors"
	"fmt"
	"sync"

	"github.com/stretchr/testify/assert"

	"github.com/lastunit/lastunit/inventory"
)

const (
	callers = 100
	each    = 12 // calls of each caller
	onSale  = 1000
)

// together runs f in as many goroutines as there are callers, at once.
func together(f func(caller int)) {
	var all sync.WaitGroup
	start := make(chan struct{})
	for caller := range callers {
		all.Go(func() {
			<-start
			f(caller)
		})
	}
	close(start)
	all.Wait()
}

// named returns a request of a caller, which may be built concurrently.
func (s *shelf) named(attempt string, quantity int64) inventory.Request {
	return inventory.Request{
		SKU: s.sku, Store: s.store, Attempt: attempt, OrderID: "order", Customer: "carol", Quantity: quantity,
	}
}

var togetherCases = []testCase{
	{"the last unit is sold and not one more", func(s *shelf) {
		s.load(onSale)
		var mu sync.Mutex
		var granted []inventory.Deduction
		together(func(caller int) {
			for i := range each {
				d, err := s.repo.Deduct(s.ctx, s.named(fmt.Sprintf("%d-%d", caller, i), 1))
				if err != nil {
					if !errors.Is(err, inventory.ErrTryAgain) {
						s.fine(err)
					}
					continue
				}
				mu.Lock()
				granted = append(granted, d)
				mu.Unlock()
			}
		})
		assert.Len(s.t, granted, onSale)
		s.counts(onSale, onSale)
		sameDeductions(s.t, granted, s.unsettled())
	}},
	{"a customer's limit holds", func(s *shelf) {
		const limit, customers = 7, 4
		s.terms.CustomerLimit = limit
		s.load(onSale)
		together(func(caller int) {
			for i := range each {
				r := s.named(fmt.Sprintf("%d-%d", caller, i), 1)
				r.Customer = fmt.Sprint("customer-", caller%customers)
				if _, err := s.repo.Deduct(s.ctx, r); err != nil && !errors.Is(err, inventory.ErrTryAgain) {
					s.fine(err)
				}
			}
		})
		s.counts(limit*customers, limit*customers)
	}},
	{"one counted deduction is given back once", func(s *shelf) {
		s.terms.CustomerLimit = 20
		s.load(onSale)
		d := s.deduct(7)
		s.deduct(11)
		together(func(int) { s.fine(s.repo.Restore(s.ctx, d)) })
		s.deductLimited(10, 20, 11)
		s.deduct(9)
	}},
	{"one attempt gets one deduction", func(s *shelf) {
		s.load(onSale)
		ds := make([]inventory.Deduction, callers)
		together(func(caller int) {
			var err error
			ds[caller], err = s.repo.Deduct(s.ctx, s.named("the one", 7))
			s.fine(err)
		})
		for _, d := range ds {
			sameDeduction(s.t, ds[0], d)
		}
		s.counts(7, 7)
	}},
	{"one deduction is given back once", func(s *shelf) {
		s.load(onSale)
		d, kept := s.deduct(7), s.deduct(11)
		together(func(int) { s.fine(s.repo.Restore(s.ctx, d)) })
		s.counts(kept.Quantity, kept.Quantity)
	}},
	{"one deduction is either settled or restored", func(s *shelf) {
		s.load(onSale)
		ds := s.deductMany(callers)
		// What a good caller never does must not spoil the counters of others.
		together(func(caller int) {
			s.fine(s.repo.Settle(s.ctx, s.current(), ds[caller]))
			s.fine(s.repo.Restore(s.ctx, ds[(caller+1)%callers]))
		})
		stock := s.stock()
		assert.Zero(s.t, stock.Unsettled)
		s.sold = stock.Taken
	}},
	{"one epoch is loaded once", func(s *shelf) {
		supply := s.supply(onSale)
		together(func(caller int) {
			s.fine(s.repo.Load(s.ctx, supply))
			_, err := s.repo.Deduct(s.ctx, s.named(fmt.Sprint(caller), 1))
			s.fine(err)
		})
		s.counts(callers, callers)
	}},
	{"everything at once adds up", func(s *shelf) {
		const capacity = 200
		s.load(capacity)
		var mu sync.Mutex
		var settled, open int64
		together(func(caller int) {
			for i := range each {
				quantity := int64(1 + (caller+i)%3)
				d, err := s.repo.Deduct(s.ctx, s.named(fmt.Sprintf("%d-%d", caller, i), quantity))
				if errors.Is(err, inventory.ErrSoldOut) || errors.Is(err, inventory.ErrTryAgain) {
					continue
				}
				if !s.fine(err) {
					return
				}
				switch (caller + i) % 4 {
				case 0:
					mu.Lock()
					settled += quantity
					mu.Unlock()
					// An old supply, which changes nothing.
					supply := inventory.Supply{SKU: s.sku, Store: s.store, Epoch: s.epoch, Version: 1}
					s.fine(s.repo.Settle(s.ctx, supply, d))
				case 1:
					mu.Lock()
					open += quantity
					mu.Unlock()
				default:
					s.fine(s.repo.Restore(s.ctx, d))
				}
				_, err = s.repo.Stock(s.ctx, s.sku)
				s.fine(err)
			}
		})
		s.sold = settled
		s.counts(settled+open, open)
		assert.LessOrEqual(s.t, settled+open, int64(capacity))
	}},
}
