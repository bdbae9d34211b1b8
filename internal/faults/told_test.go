package faults_test

import (
	"errors"
	"fmt"
	"reflect"
	"sync"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// told is what the callers of a sale were told in the end, by order ID.
type told struct {
	mu         sync.Mutex
	booked     map[string]order.Order
	refused    map[string]bool
	asked      int      // calls
	inDoubt    int      // of these, those whose outcome is unknown
	again      int      // of these, those that were told to try again, as units are in flight
	unexpected []string // answers that nobody may get
}

func newTold() *told {
	return &told{booked: make(map[string]order.Order), refused: make(map[string]bool)}
}

// acknowledge takes note of a caller that has an order. Whoever is told twice is told
// the same.
func (told *told) acknowledge(o order.Order) {
	told.mu.Lock()
	defer told.mu.Unlock()
	if before, ok := told.booked[o.ID]; ok && !same(before, o) {
		told.unexpected = append(told.unexpected, fmt.Sprintf("order %s was %+v, and is %+v now", o.ID, before, o))
	}
	told.booked[o.ID] = o
	delete(told.refused, o.ID) // it may be tried again
}

// refuse takes note of a caller that was turned away for lack of units.
func (told *told) refuse(id string) {
	told.mu.Lock()
	defer told.mu.Unlock()
	if _, ok := told.booked[id]; ok {
		told.unexpected = append(told.unexpected, fmt.Sprintf("order %s was acknowledged, and was refused then", id))
	}
	told.refused[id] = true
}

// complain takes note of an answer that must not be.
func (told *told) complain(format string, arguments ...any) {
	told.mu.Lock()
	defer told.mu.Unlock()
	told.unexpected = append(told.unexpected, fmt.Sprintf(format, arguments...))
}

// call counts a call.
func (told *told) call(err error) {
	told.mu.Lock()
	defer told.mu.Unlock()
	told.asked++
	switch {
	case errors.Is(err, order.ErrOutcomeUnknown), errors.Is(err, booking.ErrNotSent):
		told.inDoubt++
	case errors.Is(err, inventory.ErrTryAgain):
		told.again++
	}
}

// acknowledged is how many callers have an order.
func (told *told) acknowledged() int {
	told.mu.Lock()
	defer told.mu.Unlock()
	return len(told.booked)
}

// unknown is how many calls ended with an unknown outcome.
func (told *told) unknown() int {
	told.mu.Lock()
	defer told.mu.Unlock()
	return told.inDoubt
}

// String tells how the sale went.
func (told *told) String() string {
	told.mu.Lock()
	defer told.mu.Unlock()
	return fmt.Sprintf("%d callers have an order, %d were refused; %d calls, %d with an unknown outcome, %d told to try again",
		len(told.booked), len(told.refused), told.asked, told.inDoubt, told.again)
}

// same says whether two answers are of the same order in the same state.
func same(a, b order.Order) bool {
	return a.ID == b.ID && a.Customer == b.Customer && a.Status == b.Status &&
		a.CreatedAt.Equal(b.CreatedAt) && reflect.DeepEqual(a.Lines, b.Lines)
}
