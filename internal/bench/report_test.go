package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func testOutcome() *outcome {
	found := func(name string, callers int, perSecond, p50, p99 float64) measured {
		return measured{Name: name, Callers: callers, PerSecond: perSecond, P50: p50, P99: p99, Durable: name == "book", Repeats: []float64{perSecond}}
	}
	r := &outcome{
		Date: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), Command: "make bench", RepeatCount: 3, Seconds: 3, Rate: 20000,
		Machine: machine{CPU: "A <fast> & cheap CPU", Cores: 2},
		Rows: []measured{
			found("seed-redis", 1, 10_000, 100, 200), found("seed-redis", 1000, 70_000, 14_000, 20_000),
			found("book", 1, 800, 1150, 3_000_000), found("book", 1000, 150_000, 7_000, 21_000),
			found("limit-copy", 1000, 300_000, 3_000, 4_000),
			found("bare-evalsha", 1, 30_000, 50, 60), found("bare-insert", 1, 1000, 950, 1000),
			found("soldout", 1000, 0, 0, 0),
		},
	}
	r.Figures = figuresOf(r.Rows)
	return r
}

func TestTable(t *testing.T) {
	var out bytes.Buffer
	testOutcome().print(&out)
	for _, line := range []string{
		"| row            | callers | per second |     p50 |     p99 | durable |\n",
		"|----------------|--------:|-----------:|--------:|--------:|---------|\n",
		"| `book`         |   1,000 |    150,000 | 7.00 ms | 21.0 ms | yes     |\n",
		"| `book`         |       1 |        800 | 1.15 ms |  3.00 s | yes     |\n",
		"| `soldout`      |   1,000 |          0 |       - |       - | no      |\n",
		"| book / seed-redis                                    |      at least 2.00 | 2.14 | yes   |\n",
		"| p99 of book / p99 of seed-redis                      |       at most 1.00 | 1.05 | no    |\n",
		"| soldout, refusals per second                         | at least 5,000,000 | 0.00 | no    |\n",
		"| 1 caller: p50 of book / (bare-evalsha + bare-insert) |       at most 1.20 | 1.15 | yes   |\n",
	} {
		require.Contains(t, out.String(), line)
	}
	require.NotContains(t, out.String(), "seed-postgres", "what was not measured has no figure")
}

func TestJSON(t *testing.T) {
	file := filepath.Join(t.TempDir(), "result.json")
	r := testOutcome()
	require.NoError(t, r.writeJSON(file))
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	var back struct {
		Rows []map[string]any `json:"rows"`
	}
	require.NoError(t, json.Unmarshal(text, &back))
	require.Equal(t, map[string]any{
		"name": "book", "callers": 1000.0, "per_second": 150_000.0, "p50_us": 7_000.0, "p99_us": 21_000.0, "durable": true,
		"per_second_repeats": []any{150_000.0},
	}, back.Rows[3])
}

func TestFiguresOfNothing(t *testing.T) {
	require.Empty(t, figuresOf(nil))
	nothing := []measured{{Name: "book", Callers: 1000}, {Name: "seed-redis", Callers: 1000}}
	require.Empty(t, figuresOf(nothing), "a figure that is no number is left out")
}

func TestMedian(t *testing.T) {
	p := place{row{name: "book", durable: true}, 7}
	m := summarize(p, []result{{perSecond: 5, p50: 2000, p99: 9000}, {perSecond: 1, p50: 4000, p99: 7000}, {perSecond: 3, p50: 3000, p99: 8000}})
	require.Equal(t, measured{Name: "book", Callers: 7, PerSecond: 3, P50: 3, P99: 8, Durable: true, Repeats: []float64{5, 1, 3}}, m)
	require.InDelta(t, 2, summarize(p, []result{{perSecond: 1}, {perSecond: 3}}).PerSecond, 1e-9)
}

func TestChart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bench.svg")
	require.NoError(t, testOutcome().writeChart(file, rows))
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	decoder := xml.NewDecoder(bytes.NewReader(text))
	lines := 0
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		if element, ok := token.(xml.StartElement); ok && element.Name.Local == "polyline" {
			lines++
		}
	}
	require.Equal(t, 2*3, lines, "two panels with seed-redis, book and limit-copy; soldout has no point")
	require.Contains(t, string(text), "limit-copy")
	require.Contains(t, string(text), "A &lt;fast&gt; &amp; cheap CPU")
	require.NotContains(t, string(text), "bare-insert")
	require.NotContains(t, string(text), "NaN")
	for us, label := range map[float64]string{1: "1 us", 10: "10 us", 100: "100 us", 1e3: "1 ms", 1e7: "10 s"} {
		require.Equal(t, label, withoutFraction(us))
	}

	empty := &outcome{}
	var out bytes.Buffer
	empty.drawChart(&out, rows)
	require.NoError(t, xml.Unmarshal(out.Bytes(), new(struct{})))
}

func TestRedisBenchmarkOutput(t *testing.T) {
	out := `"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms"` + "\n" +
		`"EVALSHA 0123 1 key 1","504000.00","1.5","0.2","1.250","2.0","3.500","4.0"` + "\n"
	found, err := parseRedisBenchmark([]byte(out))
	require.NoError(t, err)
	require.Equal(t, result{504_000, 1250 * time.Microsecond, 3500 * time.Microsecond}, found)
	for _, wrong := range []string{"", "a,b\n", "a,b\n1\n", "rps\nfast\n"} {
		_, err := parseRedisBenchmark([]byte(wrong))
		require.Error(t, err, "%q", wrong)
	}
}
