package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// The plot: a row for each ratio of the figure that its load is about, as a bar from zero, with a mark where its bar is
// and a thin line from the lowest to the highest round.
const (
	svgWidth  = 1040
	labelEnd  = 530 // where the labels end and the scale begins
	scaleEnd  = 970
	rowHeight = 22
	headRoom  = 34
)

// colours are those of the classes of elements, for light and dark backgrounds.
var colours = []struct{ class, attribute, light, dark string }{
	{"back", "fill", "#ffffff", "#0d1117"},
	{"text", "fill", "#1f2328", "#e6edf3"},
	{"dim", "fill", "#59636e", "#9198a1"},
	{"grid", "stroke", "#d1d9e0", "#3d444d"},
	{"met", "fill", "#2da44e", "#3fb950"},
	{"not", "fill", "#cf222e", "#f85149"},
	{"none", "fill", "#818b98", "#656c76"},
	{"mark", "stroke", "#0969da", "#58a6ff"},
	{"range", "stroke", "#1f2328", "#e6edf3"},
}

// style has the colours: dark ones for readers that say so.
func style() string {
	var light, dark strings.Builder
	for _, c := range colours {
		fmt.Fprintf(&light, " .%s { %s: %s }", c.class, c.attribute, c.light)
		fmt.Fprintf(&dark, " .%s { %s: %s }", c.class, c.attribute, c.dark)
	}
	return "text { font: 12px sans-serif } .head { font-size: 14px; font-weight: bold }" + light.String() +
		"\n@media (prefers-color-scheme: dark) {" + dark.String() + " }"
}

// plotted is one row of the plot.
type plotted struct {
	label string
	j     *judged
}

// plottedOf returns the rows of a case: its ratios of what the load is about.
func plottedOf(c *caseResult) []plotted {
	load := c.Title
	if c.Client != "each its own" {
		load += " (" + c.Client + ")"
	}
	var rows []plotted
	for _, j := range c.Judged {
		if j.To != "" && j.Metric == c.Main {
			rows = append(rows, plotted{fmt.Sprintf("%s: %s ÷ %s", load, j.Of, j.To), j})
		}
	}
	return rows
}

// plots returns the rows of each section that has any.
func (r *report) plots() (titles []string, rows [][]plotted) {
	r.inSections(func(s section, cases []*caseResult) {
		var of []plotted
		for _, c := range cases {
			of = append(of, plottedOf(c)...)
		}
		if len(of) > 0 && s.name != limits {
			titles, rows = append(titles, s.title), append(rows, of)
		}
	})
	return titles, rows
}

func (r *report) svg() string {
	top := 1.0
	height := headRoom + 16
	titles, sections := r.plots()
	for _, rows := range sections {
		height += headRoom + len(rows)*rowHeight
		for _, p := range rows {
			top = max(top, p.j.Max, p.j.Bar)
		}
	}
	unit := tickUnit(top)
	top = math.Ceil(top/unit) * unit
	x := func(v float64) float64 { return labelEnd + (scaleEnd-labelEnd)*min(v, top)/top }

	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="Ratios of Sango to its peers">`+"\n<style>%s</style>\n",
		svgWidth, height, svgWidth, height, style())
	fmt.Fprintf(&b, `<rect class="back" width="%d" height="%d"/>`+"\n", svgWidth, height)
	for n := 0; float64(n)*unit <= top+unit/2; n++ {
		v := float64(n) * unit
		fmt.Fprintf(&b, `<line class="grid" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/><text class="dim" text-anchor="middle" x="%.1f" y="16">%g×</text>`+"\n", x(v), x(v), 22, height-28, x(v), v)
	}
	y := 22
	for i, rows := range sections {
		fmt.Fprintf(&b, `<text class="text head" x="12" y="%d">%s</text>`+"\n", y+22, html.EscapeString(titles[i]))
		y += headRoom
		for _, p := range rows {
			bar(&b, p, y, x)
			y += rowHeight
		}
	}
	fmt.Fprintf(&b, `<text class="dim" x="12" y="%d">Longer is better. The mark is the bar to reach, green where it is; the thin line goes from the lowest to the highest round.</text>`+"\n", height-10)
	b.WriteString("</svg>\n")
	return b.String()
}

// bar draws one row.
func bar(b *strings.Builder, p plotted, y int, x func(float64) float64) {
	class := "none"
	if p.j.Met != nil {
		class = "not"
		if *p.j.Met {
			class = "met"
		}
	}
	label := p.label
	if n := []rune(label); len(n) > 76 {
		label = string(n[:81]) + "…"
	}
	fmt.Fprintf(b, `<text class="text" text-anchor="end" x="%d" y="%d">%s</text>`, labelEnd-8, y+14, html.EscapeString(label))
	fmt.Fprintf(b, `<rect class="%s" x="%d" y="%d" width="%.1f" height="%d"><title>%s</title></rect>`,
		class, labelEnd, y+3, max(1, x(p.j.Median)-labelEnd), rowHeight-8, html.EscapeString(p.label))
	fmt.Fprintf(b, `<line class="range" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>`, x(p.j.Min), x(p.j.Max), y+10, y+10)
	if p.j.Bar > 0 {
		fmt.Fprintf(b, `<line class="mark" stroke-width="3" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>`, x(p.j.Bar), x(p.j.Bar), y, y+rowHeight-2)
	}
	fmt.Fprintf(b, `<text class="text" text-anchor="end" x="%d" y="%d">%.2f×</text>`+"\n", svgWidth-12, y+14, p.j.Median)
}

// tickUnit returns the distance of the lines of a scale up to top.
func tickUnit(top float64) float64 {
	unit := math.Pow10(int(math.Floor(math.Log10(top))))
	for _, f := range []float64{0.2, 0.5, 1, 2} {
		if top/(unit*f) <= 10 {
			return unit * f
		}
	}
	return unit * 2
}
