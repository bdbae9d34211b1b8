package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// contender is one way to sell.
type contender interface {
	// call carries out the n-th order of a caller, under orderID(caller, n) where
	// it has IDs, and says what the caller is told. An error is trouble, and ends
	// the run. It is called by all callers at once.
	call(ctx context.Context, caller, n int) (answer, error)

	// audit compares what the store holds with what the callers were told. It is
	// called when no call is under way any more.
	audit(ctx context.Context, told *told) error

	// close ends what open began.
	close()
}

// opener prepares a contender on empty servers, to sell so many units.
type opener func(ctx context.Context, c *cell, capacity int64) (contender, error)

// answer is what a caller is told.
type answer uint8

const (
	booked   answer = iota + 1
	refused         // sold out: nothing was taken
	repeated        // the order is an earlier one, as the caller asked for it again
)

// told is what the callers were told: the answers of each, by n.
type told struct {
	Answers [][]answer
}

func (t *told) count(of answer) int64 {
	n := int64(0)
	for _, answers := range t.Answers {
		for _, a := range answers {
			if a == of {
				n++
			}
		}
	}
	return n
}

// got is the answer to one order, 0 if it was never asked for.
func (t *told) got(caller, n int) answer {
	if caller < 0 || n < 0 || caller >= len(t.Answers) || n >= len(t.Answers[caller]) {
		return 0
	}
	return t.Answers[caller][n]
}

// orderID names the n-th order of a caller.
func orderID(caller, n int) string {
	id := make([]byte, 0, 24)
	id = append(id, 'c')
	id = strconv.AppendInt(id, int64(caller), 10)
	id = append(id, '-')
	id = strconv.AppendInt(id, int64(n), 10)
	return string(id)
}

// customerOf names a caller.
func customerOf(caller int) string { return "customer-" + strconv.Itoa(caller) }

// parseID is the inverse of orderID.
func parseID(id string) (caller, n int, err error) {
	c, rest, ok := strings.Cut(strings.TrimPrefix(id, "c"), "-")
	caller, callerErr := strconv.Atoi(c)
	n, nErr := strconv.Atoi(rest)
	if !ok || callerErr != nil || nErr != nil || orderID(caller, n) != id {
		return 0, 0, fmt.Errorf("%q is not the ID of an order that anybody made", id)
	}
	return caller, n, nil
}
