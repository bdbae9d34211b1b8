package order

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
)

// digestSize is what is kept of an HMAC.
const digestSize = 16

// digest tells orders with the same ID apart by their customer and lines. It is
// keyed, so that who reads the database can't find a customer by guessing, also
// after the customer was erased from the row. Lines must be as SumLines makes them.
// What they draw on pools follows from them.
func digest(key []byte, c Commit) []byte {
	return digests(key, []Commit{c}, []int{0})[0]
}

// digests are the digests of some of the commits.
func digests(key []byte, commits []Commit, indexes []int) [][]byte {
	mac := hmac.New(sha256.New, key)
	all, sums := make([][]byte, len(indexes)), make([]byte, 0, len(indexes)*digestSize+sha256.Size)
	var content []byte
	for n, i := range indexes {
		content = appendContent(content[:0], &commits[i])
		mac.Reset()
		mac.Write(content)
		from := len(sums)
		sums = mac.Sum(sums)[:from+digestSize]
		all[n] = sums[from:len(sums):len(sums)]
	}
	return all
}

// appendContent appends what a digest is of.
func appendContent(b []byte, c *Commit) []byte {
	text := func(b []byte, s string) []byte {
		return append(binary.BigEndian.AppendUint64(b, uint64(len(s))), s...)
	}
	b = text(b, c.Order.Customer)
	for _, line := range c.Order.Lines {
		b = binary.BigEndian.AppendUint64(text(b, line.SKU), uint64(line.Quantity))
	}
	if c.Hold > 0 {
		b = text(b, "held")
	}
	return b
}
