package main

import (
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
)

// The chart is two panels beside each other, with the callers to the right and
// both axes logarithmic, and the names below.
const (
	chartWidth   = 960.0
	panelWidth   = 385.0
	panelHeight  = 300.0
	panelLeft    = 75.0
	panelTop     = 50.0
	panelStep    = panelWidth + 2*panelLeft - 60
	legendTop    = panelTop + panelHeight + 70
	legendRow    = 20.0
	legendColumn = 230.0
	perLegendRow = 4
)

// palette has colors that can be told apart, also by the color-blind.
var palette = []string{
	"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f3c8d", "#444444", "#8c564b", "#999933", "#117733", "#882255",
}

// curve is a row over its numbers of callers.
type curve struct {
	name  string
	kind  line
	color string
	rows  []measured
}

func curvesOf(found []measured, rows []row) []curve {
	var curves []curve
	for _, r := range rows {
		if r.chart == hidden {
			continue
		}
		c := curve{name: r.name, kind: r.chart, color: palette[len(curves)%len(palette)]}
		for _, m := range found {
			if m.Name == r.name {
				c.rows = append(c.rows, m)
			}
		}
		if c.rows != nil {
			curves = append(curves, c)
		}
	}
	return curves
}

// writeChart writes the chart of a run to a file.
func (r *outcome) writeChart(file string, rows []row) error {
	var text strings.Builder
	r.drawChart(&text, rows)
	return os.WriteFile(file, []byte(text.String()), 0o644)
}

func (r *outcome) drawChart(w io.Writer, rows []row) {
	curves := curvesOf(r.Rows, rows)
	height := legendTop + legendRow*math.Ceil(float64(len(curves))/perLegendRow) + 10
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" font-family="sans-serif" font-size="12">`+"\n", chartWidth, height)
	fmt.Fprintf(w, `<title>%s</title>`+"\n", escaped("Throughput and latency against callers, "+r.Date.Format("2 January 2006")+", "+r.Machine.CPU))
	fmt.Fprintf(w, `<rect width="%g" height="%g" fill="white"/>`+"\n", chartWidth, height)
	drawPanel(w, panelLeft, "per second", curves, func(m measured) float64 { return m.PerSecond }, compact)
	drawPanel(w, panelLeft+panelStep, "p99 latency", curves, func(m measured) float64 { return m.P99 }, withoutFraction)
	for i, c := range curves {
		x := panelLeft - 55 + legendColumn*float64(i%perLegendRow)
		y := legendTop + legendRow*float64(i/perLegendRow)
		fmt.Fprintf(w, `<line x1="%g" y1="%g" x2="%g" y2="%g" %s/>`+"\n", x, y-4, x+28, y-4, c.stroke())
		fmt.Fprintf(w, `<text x="%g" y="%g">%s</text>`+"\n", x+36, y, escaped(c.name))
	}
	fmt.Fprintln(w, "</svg>")
}

func (c curve) stroke() string {
	style := ` stroke-width="2"`
	switch c.kind {
	case dashed:
		style += ` stroke-dasharray="5 4"`
	case bold:
		style = ` stroke-width="4"`
	}
	return `fill="none" stroke="` + c.color + `"` + style
}

// drawPanel draws one figure of all curves.
func drawPanel(w io.Writer, left float64, title string, curves []curve, figure func(measured) float64, label func(float64) string) {
	var xs, ys []float64
	for _, c := range curves {
		for _, m := range c.rows {
			xs = append(xs, float64(m.Callers))
			if y := figure(m); y > 0 {
				ys = append(ys, y)
			}
		}
	}
	if len(ys) == 0 {
		return
	}
	slices.Sort(xs)
	xs = slices.Compact(xs)
	x := scale{math.Log10(xs[0]), math.Max(math.Log10(xs[len(xs)-1]), math.Log10(xs[0])+1), left, panelWidth}
	y := scale{math.Floor(math.Log10(slices.Min(ys))), 0, panelTop + panelHeight, -panelHeight}
	y.high = math.Max(math.Ceil(math.Log10(slices.Max(ys))), y.low+1)

	fmt.Fprintf(w, `<text x="%g" y="%g" font-size="15" font-weight="bold">%s</text>`+"\n", left, panelTop-18, escaped(title))
	for decade := y.low; decade <= y.high; decade++ {
		at := y.at(math.Pow(10, decade))
		fmt.Fprintf(w, `<line x1="%g" y1="%.1f" x2="%g" y2="%.1f" stroke="#dddddd"/>`+"\n", left, at, left+panelWidth, at)
		fmt.Fprintf(w, `<text x="%g" y="%.1f" text-anchor="end">%s</text>`+"\n", left-6, at+4, escaped(label(math.Pow(10, decade))))
	}
	for _, callers := range xs {
		at := x.at(callers)
		fmt.Fprintf(w, `<line x1="%.1f" y1="%g" x2="%.1f" y2="%g" stroke="#dddddd"/>`+"\n", at, panelTop, at, panelTop+panelHeight)
		fmt.Fprintf(w, `<text x="%.1f" y="%g" text-anchor="middle">%s</text>`+"\n", at, panelTop+panelHeight+18, thousands(callers))
	}
	fmt.Fprintf(w, `<text x="%g" y="%g" text-anchor="middle">callers</text>`+"\n", left+panelWidth/2, panelTop+panelHeight+38)
	for _, c := range curves {
		var points []string
		for _, m := range c.rows {
			if figure(m) <= 0 {
				continue
			}
			px, py := x.at(float64(m.Callers)), y.at(figure(m))
			points = append(points, fmt.Sprintf("%.1f,%.1f", px, py))
			fmt.Fprintf(w, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", px, py, c.color)
		}
		if points != nil {
			fmt.Fprintf(w, `<polyline points="%s" %s/>`+"\n", strings.Join(points, " "), c.stroke())
		}
	}
}

// scale is a logarithmic axis: powers of ten from low to high, on the page from
// begin on for a length.
type scale struct {
	low, high     float64
	begin, length float64
}

func (s scale) at(value float64) float64 {
	return s.begin + (math.Log10(value)-s.low)/(s.high-s.low)*s.length
}

// compact writes a power of ten: 1 k, 10 M.
func compact(x float64) string {
	for _, unit := range []struct {
		size float64
		name string
	}{{1e6, " M"}, {1e3, " k"}} {
		if x >= unit.size {
			return fmt.Sprintf("%g%s", x/unit.size, unit.name)
		}
	}
	return fmt.Sprintf("%g", x)
}

// withoutFraction writes a power of ten of microseconds: 1 ms, 10 s.
func withoutFraction(us float64) string {
	return strings.NewReplacer(".00", "", ".0", "").Replace(fromMicros(us))
}

func escaped(text string) string {
	var out strings.Builder
	_ = xml.EscapeText(&out, []byte(text)) // a Builder takes everything
	return out.String()
}
