package order

import "sync/atomic"

// repeats says whether a batch of commits is to look its order IDs up first. That is
// a fifth of its work in Postgres, and most IDs are new: so a batch that meets none
// that is there goes without, and one that does is rolled back by the primary key and
// sent again. As repeats come in crowds, the batches after it look.
type repeats struct {
	left atomic.Int32 // batches that look, yet
}

// repeatsExpected is how many batches look after a repeat. The more, the less work
// is thrown away.
const repeatsExpected = 100

func (r *repeats) expect() { r.left.Store(repeatsExpected) }

func (r *repeats) expected() bool { return r.left.Load() > 0 }

// pass counts a batch that met no repeat, or met one and expects more.
func (r *repeats) pass() {
	if left := r.left.Load(); left > 0 {
		r.left.CompareAndSwap(left, left-1)
	}
}
