package robustness

import (
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/assert"

	"github.com/lastunit/lastunit/order"
)

// past makes a history of a SKU of capacity 1, event by event, each call alone but for
// those that during brackets.
type past struct {
	p        partition
	customer string
	now      int64
	within   bool
}

func newPast() *past {
	return &past{customer: "somebody", p: partition{capacity: 1, numbers: make(map[string]int), amounts: make(map[string]int)}}
}

// limitedPast is of a SKU of capacity 2, of which a customer may have 1.
func limitedPast() *past {
	h := newPast()
	h.p.capacity, h.p.limit = 2, 1
	return h
}

// expiredPast begins with a hold that has expired.
func expiredPast() *past {
	return newPast().event(hold, "a", isHeld).wait(50).event(expiring, "a", told{})
}

// as lets somebody else go on.
func (h *past) as(customer string) *past { h.customer = customer; return h }

// opensIn is when a window opens.
const opensIn = 100

// event adds an event about an order of one unit.
func (h *past) event(v verb, id string, t told) *past {
	start := h.now
	if !h.within {
		h.now += 10
		start = h.now
	}
	e := step{
		verb: v, quantity: 1, customer: h.customer, content: content(h.customer, v == hold), ttl: 50, opensAt: start + opensIn,
		start: start, end: start + 5, id: id,
	}
	if v.adjusts() {
		e.number, e.units = number(h.p.amounts, id), 1
	} else {
		e.number = number(h.p.numbers, id)
	}
	if t.outcome == unknown {
		e.end = forever
	}
	h.p.add(0, e, t)
	return h
}

// during adds events that overlap each other.
func (h *past) during(events func(*past)) *past {
	h.now += 10
	h.within = true
	events(h)
	h.within = false
	return h
}

func (h *past) wait(d time.Duration) *past { h.now += int64(d); return h }

// ends adds what there is in the end: the IDs with their statuses.
func (h *past) ends(allocated int64, orders ...life) *past {
	return h.event(settling, "", told{capacity: 1, allocated: allocated, all: orders})
}

var (
	isBooked = told{outcome: done, status: order.Confirmed}
	isHeld   = told{outcome: done, status: order.Held}
	isGone   = told{outcome: done, status: order.Cancelled}
	wasTold  = func(o outcome) told { return told{outcome: o} }
	of       = func(allocated int64) told { return told{outcome: done, capacity: 1, allocated: allocated} }
	booked   = func(n int) life { return life{number: n, status: order.Confirmed} }
)

// The model knows right from wrong: each wrong history is a right one but for what
// its name says.
func TestModel(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		history *past
		right   bool
	}{
		"sold, and sold out": {newPast().event(book, "a", isBooked).event(book, "b", wasTold(soldOut)).ends(1, booked(0)), true},
		"oversold":           {newPast().event(book, "a", isBooked).event(book, "b", isBooked).ends(2, booked(0), booked(1)), false},
		"oversold, and seen by nobody": {
			newPast().event(book, "a", isBooked).event(book, "b", isBooked).event(cancel, "b", isGone), false,
		},
		"an order is lost":                 {newPast().event(book, "a", isBooked).ends(0), false},
		"an order is lost in between":      {newPast().event(book, "a", isBooked).event(readOrder, "a", wasTold(notFound)), false},
		"an order becomes another one":     {newPast().event(book, "a", isBooked).ends(1, life{number: 0, status: order.Held}), false},
		"an order counts twice in the end": {newPast().event(book, "a", isBooked).ends(2, booked(0)), false},
		"an order comes from nowhere":      {newPast().ends(1, booked(0)), false},
		"a second click gets its order":    {newPast().event(book, "a", isBooked).event(book, "a", isBooked).event(readStock, "", of(1)), true},
		"a second click books once more":   {newPast().event(book, "a", isBooked).event(book, "a", isBooked).event(readStock, "", of(2)), false},
		"a second click is refused":        {newPast().event(book, "a", isBooked).event(book, "a", wasTold(soldOut)), false},
		"refused, but booked":              {newPast().event(book, "a", isBooked).event(book, "b", wasTold(soldOut)).event(cancel, "a", isGone).ends(1, life{number: 0, status: order.Cancelled}, booked(1)), false},
		"sold out with units free":         {newPast().event(book, "a", wasTold(soldOut)), false},
		"sold out after units came back":   {newPast().event(book, "a", isBooked).event(cancel, "a", isGone).event(book, "b", wasTold(soldOut)), false},
		"sold out while units come back":   {newPast().event(book, "a", isBooked).during(func(h *past) { h.event(cancel, "a", isGone).event(book, "b", wasTold(soldOut)) }), true},
		"sold out by one on the way":       {newPast().event(book, "a", wasTold(unknown)).event(book, "b", wasTold(soldOut)), true},
		"an unknown outcome is booked":     {newPast().event(book, "a", wasTold(unknown)).event(readOrder, "a", isBooked), true},
		"an unknown outcome is not booked": {newPast().event(book, "a", wasTold(unknown)).event(readOrder, "a", wasTold(notFound)).ends(0), true},
		"an unknown outcome comes and goes": {
			newPast().event(book, "a", wasTold(unknown)).event(readOrder, "a", isBooked).event(readOrder, "a", wasTold(notFound)), false,
		},
		"units of a cancelled order are sold":  {newPast().event(book, "a", isBooked).event(cancel, "a", isGone).event(book, "b", isBooked), true},
		"a cancelled order is booked again":    {newPast().event(book, "a", isBooked).event(cancel, "a", isGone).event(book, "a", isBooked), false},
		"cancelled before it was booked":       {newPast().event(void, "a", isGone).event(book, "a", wasTold(cancelled)), true},
		"booked though cancelled before":       {newPast().event(void, "a", isGone).event(book, "a", isBooked), false},
		"a hold is confirmed in time":          {newPast().event(hold, "a", isHeld).event(confirm, "a", isBooked), true},
		"a hold is confirmed when it is over":  {newPast().event(hold, "a", isHeld).wait(100).event(confirm, "a", isBooked), false},
		"an extended hold is confirmed":        {newPast().event(hold, "a", isHeld).wait(30).event(extend, "a", isHeld).wait(30).event(confirm, "a", isBooked), true},
		"a hold is over too early":             {newPast().event(hold, "a", isHeld).event(confirm, "a", wasTold(expired)), false},
		"a hold is over":                       {newPast().event(hold, "a", isHeld).wait(100).event(confirm, "a", wasTold(expired)), true},
		"over, and confirmed":                  {newPast().event(hold, "a", isHeld).wait(35).event(confirm, "a", wasTold(expired)).wait(-4).event(confirm, "a", isBooked), false},
		"an expired hold's unit is sold":       {newPast().event(hold, "a", isHeld).wait(50).event(expiring, "a", told{}).event(book, "b", isBooked), true},
		"a hold expires too early":             {newPast().event(hold, "a", isHeld).event(expiring, "a", told{}).event(book, "b", isBooked), false},
		"a held unit is sold":                  {newPast().event(hold, "a", isHeld).event(book, "b", isBooked), false},
		"an accepted order is refused":         {newPast().event(book, "b", isBooked).event(refusable, "a", wasTold(soldOut)).event(refusing, "a", told{}).event(accept, "a", wasTold(refused)), true},
		"refused with units free":              {newPast().event(refusable, "a", wasTold(soldOut)).event(refusing, "a", told{}).event(accept, "a", wasTold(refused)), false},
		"refused, and booked later":            {newPast().event(refusing, "a", told{}).event(accept, "a", wasTold(refused)).event(book, "a", isBooked), false},
		"a unit more is sold":                  {newPast().event(book, "a", isBooked).event(restock, "x", wasTold(done)).event(book, "b", isBooked), true},
		"a unit more, twice, under one ID":     {newPast().event(restock, "x", wasTold(done)).event(restock, "x", wasTold(done)).event(readStock, "", told{outcome: done, capacity: 3}), false},
		"the capacity is what it was set to":   {newPast().event(setCapacity, "x", wasTold(done)).event(book, "a", isBooked).event(book, "b", isBooked), false},
		"a stock that counts what is not sold": {newPast().event(readStock, "", of(1)), false},

		"another content is a conflict":               {newPast().event(book, "a", isBooked).as("twin").event(book, "a", wasTold(conflict)), true},
		"another content gets the order":              {newPast().event(book, "a", isBooked).as("twin").event(book, "a", isBooked), false},
		"a conflict with nobody":                      {newPast().event(book, "a", wasTold(conflict)), false},
		"a conflict with itself":                      {newPast().event(book, "a", isBooked).event(book, "a", wasTold(conflict)), false},
		"another content is told sold out":            {newPast().event(book, "a", isBooked).as("twin").event(book, "a", wasTold(soldOut)), true},
		"the limit is reached":                        {limitedPast().event(book, "a", isBooked).event(book, "b", wasTold(limited)), true},
		"the limit is exceeded":                       {limitedPast().event(book, "a", isBooked).event(book, "b", isBooked), false},
		"somebody else's limit":                       {limitedPast().event(book, "a", isBooked).as("twin").event(book, "b", wasTold(limited)), false},
		"two customers":                               {limitedPast().event(book, "a", isBooked).as("twin").event(book, "b", isBooked), true},
		"paused":                                      {newPast().event(pause, "", wasTold(done)).event(book, "a", wasTold(isPaused)), true},
		"paused by nobody":                            {newPast().event(book, "a", wasTold(isPaused)), false},
		"booked while it is paused":                   {newPast().event(pause, "", wasTold(done)).event(book, "a", isBooked), false},
		"paused after it was resumed":                 {newPast().event(pause, "", wasTold(done)).event(resume, "", wasTold(done)).event(book, "a", wasTold(isPaused)), false},
		"not open":                                    {newPast().event(setWindow, "", wasTold(done)).event(book, "a", wasTold(notOpen)), true},
		"booked before it is open":                    {newPast().event(setWindow, "", wasTold(done)).event(book, "a", isBooked), false},
		"open":                                        {newPast().event(setWindow, "", wasTold(done)).wait(opensIn).event(book, "a", isBooked), true},
		"not open when it is":                         {newPast().event(setWindow, "", wasTold(done)).wait(opensIn).event(book, "a", wasTold(notOpen)), false},
		"looked up":                                   {newPast().event(book, "a", isBooked).event(lookup, "a", isBooked), true},
		"looked up, and booked by that":               {newPast().event(lookup, "a", isBooked), false},
		"looked up, and not there":                    {newPast().event(book, "a", isBooked).event(lookup, "a", wasTold(notFound)), false},
		"an expired hold is reclaimed":                {expiredPast().event(reclaim, "a", isBooked).event(readStock, "", of(1)), true},
		"reclaimed with nothing left":                 {expiredPast().event(book, "b", isBooked).event(reclaim, "a", wasTold(soldOut)), true},
		"reclaimed, and oversold":                     {expiredPast().event(book, "b", isBooked).event(reclaim, "a", isBooked), false},
		"not reclaimed with units free":               {expiredPast().event(reclaim, "a", wasTold(soldOut)), false},
		"confirmed in a transaction":                  {newPast().event(hold, "a", isHeld).event(confirmTx, "a", isBooked).event(readOrder, "a", isBooked), true},
		"cancelled in a transaction":                  {newPast().event(book, "a", isBooked).event(cancelTx, "a", isGone).event(readStock, "", of(1)), true},
		"cancelled so, and counted":                   {newPast().event(book, "a", isBooked).event(cancelTx, "a", isGone).event(counting, "a", told{}).event(book, "b", isBooked), true},
		"cancelled so, and sold before that":          {newPast().event(book, "a", isBooked).event(cancelTx, "a", isGone).event(book, "b", isBooked), false},
		"counted without being cancelled":             {newPast().event(book, "a", isBooked).event(counting, "a", told{}).event(book, "b", isBooked), false},
		"an unknown ID is cancelled in a transaction": {newPast().event(cancelTx, "a", isGone), false},
		"an unknown ID is cancelled":                  {newPast().event(cancel, "a", isGone), false},
		"an unknown ID is not found":                  {newPast().event(cancel, "a", wasTold(notFound)).event(book, "a", isBooked), true},
		"expired, cancelled and not reclaimed":        {expiredPast().event(cancel, "a", isGone).event(reclaim, "a", wasTold(cancelled)).event(book, "b", isBooked), true},
		"expired, cancelled and reclaimed":            {expiredPast().event(cancelTx, "a", isGone).event(reclaim, "a", isBooked), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			result := porcupine.CheckOperationsTimeout(model(tt.history.p.capacity, tt.history.p.limit), tt.history.p.operations, checkTime)
			if tt.right {
				assert.Equal(t, porcupine.Ok, result)
			} else {
				assert.Equal(t, porcupine.Illegal, result)
			}
		})
	}
}
