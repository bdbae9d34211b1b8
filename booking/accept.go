package booking

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/lastunit/lastunit/internal/gather"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// Accept takes the units of an order in Redis, leaves the order there beside them,
// and returns. That is not a booking: the order goes to Postgres behind it, by this
// process, or, if it dies, by another one whose Run finds it. The same request again,
// at any time and in any process, to Accept or to Book, is the same order.
//
// What does a Receipt mean? Redis has the units and the order. They survive a crash
// of the process. A loss of Redis can lose them, and then nobody may know of the
// order any more. Redis does not know the orders that are in Postgres: an ID that is
// booked, held, cancelled or refused already may get a Receipt all the same, and its
// units are taken until Postgres has answered. Receipt.Wait and Lookup then say what
// Book would have said at once.
//
// When is the order decided before the answer? Where a SKU or one of its pools has a
// customer's limit, as only Postgres knows what the customer has; with SellDirect
// while Redis is down; and always with Config.Inventory left nil. Accept is Book with
// a Receipt then, and the Receipt is done.
//
// Accept fails by itself only where Postgres is asked before the answer: there, and
// where Redis has too few units, or the SKU is not on sale by what it knows. The
// errors, and what to do:
//
//	those of Book              nothing is accepted; only where Postgres was asked
//	order.ErrRefused           the ID was accepted and refused, for good; likewise
//	ErrOverloaded              Config.Backlog orders are in hand: nothing was taken; ask again in
//	                           some seconds, or another process
//	inventory.ErrInvalid       a bound is broken, also if the request, as JSON, has more than
//	                           inventory.MaxAccepted bytes, which 100 lines of ordinary names don't
//	ErrNotSent                 the context ended before anything was sent: this call did nothing
//	order.ErrOutcomeUnknown    the order may be accepted: ask again with the same ID
//
// What may refuse the order later? Postgres, if Redis lost something; if units were
// sold past Redis, as SellDirect does while Redis is down; or if since then the capacity
// or a limit was lowered, or the sale paused or closed (Postgres's clock decides at the
// commit, so a sale's last orders may come too late). Then the refusal is written, so that it
// is final whoever asks, the units go back, and Receipt.Wait, Lookup and
// Config.OnRefused tell it. The same ID books nothing any more. Only where a
// constraint of your own rejects even the refusal, nothing is written: it is
// order.ErrRejected then.
func (s *Service) Accept(ctx context.Context, request Request) (Receipt, error) {
	o, err := request.order()
	if err != nil {
		return Receipt{}, err
	}
	payload, err := encode(o)
	if err != nil {
		return Receipt{}, err
	}
	sold, unheardOf := s.turnedAway(&o, request.ID == "")
	if unheardOf {
		return Receipt{}, sold
	}
	if err := sendable(ctx); err != nil {
		return Receipt{}, err
	}
	o.Lines = slices.Clone(o.Lines) // the order outlives the call
	caller := ctx
	ctx, cancel := s.bound(ctx)
	defer cancel()
	for {
		e := s.newAcceptance(o, payload)
		e.sold = sold
		e.ready = make(chan struct{})
		first, err := s.backlog.enter(e, s.config.Backlog)
		switch {
		case err != nil:
			return Receipt{}, err
		case first == nil:
			err := e.accept(ctx)
			return e.receipt(err), e.unknown(caller, err)
		}
		if first.payload != payload {
			// Which of them has the ID is not known before Postgres has decided.
			if err := first.ended(ctx); err != nil {
				return Receipt{}, unknown(err)
			}
			continue
		}
		// A second click joins the first one.
		err = first.join(ctx)
		if isContext(err) && ctx.Err() == nil {
			continue // the caller that we joined has left
		}
		return first.receipt(err), unknown(err)
	}
}

// encode is an order as Redis keeps it: the request, as JSON, so that other
// versions of this library can read it.
func encode(o order.Order) (string, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(Request{ID: o.ID, Customer: o.Customer, Lines: o.Lines}); err != nil {
		return "", err
	}
	payload := bytes.TrimSuffix(text.Bytes(), []byte("\n"))
	if len(payload) > inventory.MaxAccepted {
		return "", &inventory.InvalidError{Field: "lines", Reason: fmt.Sprintf("make the order %d bytes of JSON, want at most %d to accept it", len(payload), inventory.MaxAccepted)}
	}
	return string(payload), nil
}

// decode reads what encode wrote.
func decode(payload string) (order.Order, error) {
	var request Request
	if err := json.Unmarshal([]byte(payload), &request); err != nil {
		return order.Order{}, err
	}
	if request.ID == "" {
		return order.Order{}, errors.New("it has no ID")
	}
	return request.order()
}

// acceptance is an order that is being accepted, or is accepted and on its way to
// Postgres. Other than an attempt at a booking it has one name in all SKUs, under
// which whoever carries it out finds its deductions.
type acceptance struct {
	attempt
	payload string // the order, as Redis keeps it

	// Of one that this process is asked to accept.
	ready    chan struct{} // closed when Accept has its answer
	answer   error         // which is this, if it is not accepted
	unsure   bool          // it may be accepted all the same, and Postgres will tell
	replicas int

	// Of one on its way. One goroutine or batch has it at a time.
	rounds         int                   // how often deductions of it were dead
	tries          int                   // how often it failed, in a row
	dead           []inventory.Deduction // that Postgres won't take, to be dropped in the end
	refusalInDoubt bool                  // one was written whose outcome is unknown

	done   chan struct{} // closed when it is decided
	booked order.Order
	err    error
}

func (s *Service) newAcceptance(o order.Order, payload string) *acceptance {
	return &acceptance{attempt: attempt{s: s, order: o}, payload: payload, done: make(chan struct{})}
}

// join waits for the answer to an order that another call is accepting.
func (e *acceptance) join(ctx context.Context) error {
	if err := awaitClosed(ctx, e.ready); err != nil {
		return err
	}
	if e.unsure {
		return e.awaitDecision(ctx)
	}
	return e.answer
}

// ended waits until nobody has the order in hand any more, whatever became of it.
func (e *acceptance) ended(ctx context.Context) error {
	if err := awaitClosed(ctx, e.ready); err != nil || e.answer != nil && !e.unsure {
		return err
	}
	return awaitClosed(ctx, e.done)
}

// awaitClosed waits until a channel is closed, and fails if the context ends before.
func awaitClosed(ctx context.Context, c <-chan struct{}) error {
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// awaitDecision waits until Postgres has decided.
func (e *acceptance) awaitDecision(ctx context.Context) error {
	select {
	case <-e.done:
		return e.err
	case <-ctx.Done():
		return unknown(fmt.Errorf("it may be accepted, and Postgres has not decided about it: %w", ctx.Err()))
	}
}

// accept has the order accepted, or decided where it can't be accepted only.
func (e *acceptance) accept(ctx context.Context) error {
	e.s.inHand.enter()
	defer e.s.inHand.leave()
	err := errPanicked // what those who joined get if it panics
	defer func() {
		if e.answer = err; err != nil && !e.unsure {
			e.s.backlog.leave(e)
		}
		close(e.ready)
	}()
	err = e.take(ctx)
	return err
}

// take takes the units and has the order kept beside them.
func (e *acceptance) take(ctx context.Context) error {
	if e.s.direct() {
		return e.decided(e.run(ctx))
	}
	for again := 0; again <= maxAgain; again++ {
		if err := e.draw(ctx); err != nil {
			return e.decided(e.refuse(ctx, err))
		}
		if err := e.poolOnly(); err != nil {
			return e.decided(e.refuse(ctx, err))
		}
		if again == 0 {
			if known, booked, err := e.soldOut(ctx); known {
				return e.decided(booked, err)
			}
		}
		e.name = e.s.names.next() // another one each time: the last may still be on record
		existing, err := e.deduct(ctx)
		if existing != nil {
			e.giveBack(ctx, e.held...)
			return e.decided(e.existing(ctx, *existing))
		}
		if err != nil {
			return e.decided(e.refuse(ctx, err))
		}
		if slices.Contains(e.held, inventory.Deduction{}) { // sold without Redis
			e.name = ""
			return e.decided(e.run(ctx))
		}
		// A step of its own: a deduction that arrives late must not be an accepted
		// order, as its caller may have been refused since.
		kept, err := e.s.config.Inventory.Accept(ctx, e.payload, e.held...)
		switch {
		case errors.Is(err, gather.ErrNotSent):
			e.giveBack(ctx, e.held...)
			return err
		case err == nil && kept.AllKept():
			e.replicas = kept.Replicas
			e.begin()
			return nil
		case err == nil && !slices.Contains(kept.Keeping, inventory.Kept):
			if slices.Contains(kept.Keeping, inventory.DecideFirst) {
				e.name = ""
				return e.decided(e.run(ctx))
			}
			clear(e.held) // rebuilt or swept under us
			continue
		}
		// Some SKU has the order, or may have it: it is accepted, whatever the
		// others say, but can't be told of as such. Postgres decides.
		e.unsure = true
		for u, keeping := range kept.Keeping {
			if keeping == inventory.Gone {
				e.held[u] = inventory.Deduction{}
			}
		}
		// What is gone is deducted anew: to commit without it would take units that
		// Redis may have promised to another accepted order.
		e.find(ctx)
		e.begin()
		return e.awaitDecision(ctx)
	}
	return e.decided(e.refuse(ctx, errDead))
}

// decided ends an order that was booked, or not, without being accepted.
func (e *acceptance) decided(booked order.Order, err error) error {
	if err == nil {
		e.finish(booked, nil)
	}
	return err
}

// begin sends an accepted order on its way.
func (e *acceptance) begin() {
	for u := range e.held {
		if isThere(e.held[u]) {
			e.held[u].Accepted = e.payload
		}
	}
	e.s.backlog.carry(e)
	e.s.carry(e)
	e.s.needsRun()
}

// finish tells what became of the order, once.
func (e *acceptance) finish(booked order.Order, err error) {
	if e.s.backlog.leave(e) {
		e.booked, e.err = booked, err
		close(e.done)
	}
}
