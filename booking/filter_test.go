package booking

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFilter(t *testing.T) {
	for _, size := range []int64{1, 100, 32_768, 100_000} {
		f := newFilter(size)
		size = f.size // up to a whole cache line more
		for i := range size {
			require.True(t, f.add("in-"+strconv.FormatInt(i, 10)))
		}
		require.False(t, f.add("one too many"))
		for i := range size {
			require.True(t, f.has("in-"+strconv.FormatInt(i, 10)), "%d", i)
		}
		taken := 0
		for i := range 100_000 {
			if f.has("out-" + strconv.Itoa(i)) {
				taken++
			}
		}
		t.Logf("room for %d: %d of 100,000 taken for ones of it", size, taken)
		require.Less(t, taken, 600)
	}
}

func BenchmarkFilter(b *testing.B) {
	f := newFilter(100_000)
	ids := make([]string, 1024)
	for i := range ids {
		ids[i] = "order-" + strconv.Itoa(i)
		f.add(ids[i])
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		f.has(ids[i%len(ids)])
	}
}
