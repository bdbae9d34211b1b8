package order

import (
	"errors"
	"slices"
)

// apart gives each element of a batch its own answer although the database fails the
// batch as a whole. It sends smaller and smaller parts, until those that the database
// fails stand alone.
type apart struct {
	// send sends the elements that the indexes name, in one transaction, and keeps
	// their answers.
	send func(indexes []int) error
	// fail keeps the answer of an element that the database fails alone. The error is a
	// *rejectedError or a *partialError.
	fail func(index int, err error) error
	// skus names the SKUs of an element, for a fault that is one of a SKU's rows. It may be nil.
	skus func(index int) string

	sent    bool // a part was committed
	unclear []unclear
}

// unclear is an element to which a fault of the schema was answered.
type unclear struct {
	index int
	err   error
}

// parts is into how many parts a batch is divided. With four, one element to blame
// costs as many round trips as with two, and the others are written twice and not
// three times.
const parts = 4

// divide is for a batch that failed with the given error. It returns an error where
// that concerns the whole batch. If sent is true then, a part is committed.
func (a *apart) divide(batch []int, failed error) error {
	if err := a.divideOn(batch, failed); err != nil {
		return err
	}
	if len(a.unclear) == len(batch) {
		return a.unclear[0].err // nothing was stored
	}
	for _, u := range a.unclear {
		if err := a.fail(u.index, u.err); err != nil {
			return err
		}
	}
	return nil
}

func (a *apart) divideOn(batch []int, failed error) error {
	var rejected *rejectedError
	var partial *partialError
	switch {
	case errors.As(failed, &rejected):
		if len(batch) == 1 {
			return a.fail(batch[0], rejected)
		}
	case errors.As(failed, &partial):
		if len(batch) == 1 || partial.sku && a.skus != nil && len(a.bySKUs(batch)) == 1 {
			a.blameNone(batch, partial)
			return nil
		}
	default:
		return failed
	}
	divided := quarters(batch)
	if partial != nil && partial.sku && a.skus != nil {
		divided = a.bySKUs(batch)
	}
	errs := make([]error, len(divided))
	allPartial, allRejected := true, true
	for i, part := range divided {
		if errs[i] = a.send(part); errs[i] == nil {
			a.sent = true
		}
		var again *partialError
		if !errors.As(errs[i], &again) {
			allPartial = false
		}
		if errs[i] == nil || again != nil {
			allRejected = false
		}
		if again == nil && errs[i] != nil && !errors.As(errs[i], &rejected) {
			return errs[i]
		}
	}
	if partial != nil && allPartial && !partial.sku && len(batch) > parts {
		// Either it concerns every order, such as a right that is missing, or some in each
		// part.
		return a.probe(batch, partial)
	}
	if allRejected && len(batch) > parts && len(batch) <= maxAlone {
		return a.oneByOne(batch)
	}
	for i, part := range divided {
		if errs[i] == nil {
			continue
		}
		if err := a.divideOn(part, errs[i]); err != nil {
			return err
		}
	}
	return nil
}

// maxAlone bounds the batches whose elements are sent alone once each part was rejected:
// most often one customer clicked that often, and to divide on would send them all twice.
const maxAlone = 64

// oneByOne sends the elements of a batch alone.
func (a *apart) oneByOne(batch []int) error {
	for _, i := range batch {
		if err := a.sendOrDivide([]int{i}); err != nil {
			return err
		}
	}
	return nil
}

// sendOrDivide sends a part, and divides it if it fails.
func (a *apart) sendOrDivide(part []int) error {
	err := a.send(part)
	if err == nil {
		a.sent = true
		return nil
	}
	return a.divideOn(part, err)
}

// probes bounds how many elements are sent alone to find out whether a fault of the schema
// concerns them all.
const probes = 16

// probe sends some elements alone, from all over a batch. If one of them does not meet the
// fault of the schema, the others are divided further. If all do, it is taken for theirs
// too: a batch that it concerns as a whole costs no more than these.
func (a *apart) probe(batch []int, partial *partialError) error {
	rest, met, n := slices.Clone(batch), 0, min(probes, len(batch))
	for k := n - 1; k >= 0; k-- {
		at := k * len(batch) / n
		i := batch[at]
		rest = slices.Delete(rest, at, at+1)
		err := a.send([]int{i})
		var again *partialError
		switch {
		case err == nil:
			a.sent = true
		case errors.As(err, &again):
			met++
			a.blameNone([]int{i}, again)
		default:
			if err := a.divideOn([]int{i}, err); err != nil {
				return err
			}
		}
	}
	switch {
	case len(rest) == 0:
		return nil
	case met == n:
		a.blameNone(rest, partial)
		return nil
	}
	return a.sendOrDivide(rest)
}

// blameNone notes that the elements meet a fault of the schema.
func (a *apart) blameNone(batch []int, err error) {
	for _, i := range batch {
		a.unclear = append(a.unclear, unclear{i, err})
	}
}

// bySKUs divides a batch by the SKUs of its elements, in their order.
func (a *apart) bySKUs(batch []int) [][]int {
	var divided [][]int
	at := make(map[string]int)
	for _, i := range batch {
		skus := a.skus(i)
		n, there := at[skus]
		if !there {
			n = len(divided)
			at[skus], divided = n, append(divided, nil)
		}
		divided[n] = append(divided[n], i)
	}
	return divided
}

// quarters divides a batch.
func quarters(batch []int) [][]int {
	var divided [][]int
	for left := parts; left > 0 && len(batch) > 0; left-- {
		size := (len(batch) + left - 1) / left
		divided, batch = append(divided, batch[:size]), batch[size:]
	}
	return divided
}

// isApart reports whether an error is one that divide can find the cause of.
func isApart(err error) bool {
	var rejected *rejectedError
	var partial *partialError
	return errors.As(err, &rejected) || errors.As(err, &partial)
}

// indexes are those of n elements.
func indexes(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}
