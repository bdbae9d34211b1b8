package booking

import (
	"hash/maphash"
	"math/bits"
	"sync/atomic"
)

// filter is a set of order IDs that says of an ID whether it may be in it: always
// of one that is, and of one in some 800 that isn't. It is a Bloom filter ("Space/time
// trade-offs in hash coding with allowable errors", 1970) of 16 bits an ID, all
// bits of an ID in one cache line. One goroutine may add while others ask.
type filter struct {
	seed   maphash.Seed
	blocks []filterBlock
	size   int64 // IDs that it has room for
	room   int64 // IDs that may still be added
}

type filterBlock [8]atomic.Uint64 // a cache line: room for 32 IDs

const (
	filterBits   = 16 // of an ID
	filterProbes = 6
)

// newFilter makes a filter that has room for so many IDs.
func newFilter(ids int64) *filter {
	blocks := max(1, (ids*filterBits+511)/512)
	size := blocks * 512 / filterBits
	return &filter{seed: maphash.MakeSeed(), blocks: make([]filterBlock, blocks), size: size, room: size}
}

// bytes is about how much memory it takes.
func (f *filter) bytes() int64 { return int64(len(f.blocks)) * 64 }

// add puts an ID in, and reports whether there was room.
func (f *filter) add(id string) bool {
	if f.room == 0 {
		return false
	}
	f.room--
	block, probes := f.find(id)
	for range filterProbes {
		block[probes>>6&7].Or(1 << (probes & 63))
		probes >>= 9
	}
	return true
}

// has says whether an ID may be in it.
func (f *filter) has(id string) bool {
	block, probes := f.find(id)
	for range filterProbes {
		if block[probes>>6&7].Load()&(1<<(probes&63)) == 0 {
			return false
		}
		probes >>= 9
	}
	return true
}

// find is the block of an ID, by the high bits of its hash, and its bits there,
// nine bits of the number each.
func (f *filter) find(id string) (block *filterBlock, probes uint64) {
	hash := maphash.String(f.seed, id)
	which, _ := bits.Mul64(hash, uint64(len(f.blocks)))
	return &f.blocks[which], bits.RotateLeft64(hash*0x9E3779B97F4A7C15, 32)
}
