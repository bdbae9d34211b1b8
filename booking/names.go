package booking

import (
	"crypto/rand"
	"strconv"
	"sync/atomic"
)

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
