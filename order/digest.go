package order

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
)

// digest tells orders with the same ID apart by their customer and lines. It is
// keyed, so that who reads the database can't find a customer by guessing, also
// after the customer was erased from the row. Lines must be as SumLines makes them.
// What they draw on pools follows from them.
func digest(key []byte, c Commit) []byte {
	o := c.Order
	mac := hmac.New(sha256.New, key)
	var buffer [8]byte
	number := func(n uint64) {
		binary.BigEndian.PutUint64(buffer[:], n)
		mac.Write(buffer[:])
	}
	text := func(s string) {
		number(uint64(len(s)))
		mac.Write([]byte(s))
	}
	text(o.Customer)
	for _, line := range o.Lines {
		text(line.SKU)
		number(uint64(line.Quantity))
	}
	if c.Hold > 0 {
		text("held")
	}
	return mac.Sum(nil)[:16]
}
