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
	svgWidth  = 960
	labelEnd  = 470 // where the labels end and the scale begins
	scaleEnd  = 890
	rowHeight = 22
	headRoom  = 34
)

// style has the colours for light and dark. A reader without a preference gets light ones.
const style = `
  svg { --back: #ffffff; --text: #1f2328; --dim: #6e7781; --line: #d0d7de; --met: #2da44e; --not: #cf222e; --none: #57606a; --mark: #0969da; }
  @media (prefers-color-scheme: dark) {
    svg { --back: #0d1117; --text: #e6edf3; --dim: #8d96a0; --line: #30363d; --met: #3fb950; --not: #f85149; --none: #8d96a0; --mark: #58a6ff; }
  }
  text { font: 12px sans-serif; fill: var(--text); }
  .dim { fill: var(--dim); }
  .head { font-weight: bold; font-size: 14px; }
  .end { text-anchor: end; }
  .mid { text-anchor: middle; }
  .back { fill: var(--back); }
  .grid { stroke: var(--line); }
  .met { fill: var(--met); }
  .not { fill: var(--not); }
  .none { fill: var(--none); }
  .mark { stroke: var(--mark); stroke-width: 3; }
  .range { stroke: var(--text); stroke-width: 1; }
`

// plotted is one row of the plot.
type plotted struct {
	label string
	j     *judged
}

// plottedOf returns the rows of a case: its ratios of what the load is about.
func plottedOf(c *caseResult) []plotted {
	var rows []plotted
	for _, j := range c.Judged {
		if j.To != "" && j.Metric == c.Main {
			rows = append(rows, plotted{fmt.Sprintf("%s (%s): %s ÷ %s", c.Title, c.Client, j.Of, j.To), j})
		}
	}
	return rows
}

func (r *report) svg() string {
	top := 1.0
	height := headRoom + 16
	r.inGroups(func(_ string, cases []*caseResult) {
		height += headRoom
		for _, c := range cases {
			for _, p := range plottedOf(c) {
				top = max(top, p.j.Max, p.j.Bar, p.j.Goal)
				height += rowHeight
			}
		}
	})
	unit := tickUnit(top)
	top = math.Ceil(top/unit) * unit
	x := func(v float64) float64 { return labelEnd + (scaleEnd-labelEnd)*min(v, top)/top }

	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="Ratios of Sango to its peers">`+"\n<style>%s</style>\n",
		svgWidth, height, svgWidth, height, style)
	fmt.Fprintf(&b, `<rect class="back" width="%d" height="%d"/>`+"\n", svgWidth, height)
	for n := 0; float64(n)*unit <= top+unit/2; n++ {
		v := float64(n) * unit
		fmt.Fprintf(&b, `<line class="grid" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/><text class="dim mid" x="%.1f" y="16">%g×</text>`+"\n", x(v), x(v), 22, height-8, x(v), v)
	}
	y := 22
	r.inGroups(func(title string, cases []*caseResult) {
		fmt.Fprintf(&b, `<text class="head" x="12" y="%d">%s</text>`+"\n", y+22, html.EscapeString(title))
		y += headRoom
		for _, c := range cases {
			for _, p := range plottedOf(c) {
				bar(&b, p, y, x)
				y += rowHeight
			}
		}
	})
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
		label = string(n[:75]) + "…"
	}
	fmt.Fprintf(b, `<text class="end" x="%d" y="%d">%s</text>`, labelEnd-8, y+14, html.EscapeString(label))
	fmt.Fprintf(b, `<rect class="%s" x="%d" y="%d" width="%.1f" height="%d"><title>%s</title></rect>`,
		class, labelEnd, y+3, max(1, x(p.j.Median)-labelEnd), rowHeight-8, html.EscapeString(p.label))
	fmt.Fprintf(b, `<line class="range" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>`, x(p.j.Min), x(p.j.Max), y+10, y+10)
	if p.j.Bar > 0 {
		fmt.Fprintf(b, `<line class="mark" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>`, x(p.j.Bar), x(p.j.Bar), y, y+rowHeight-2)
	}
	fmt.Fprintf(b, `<text class="end" x="%d" y="%d">%.2f×</text>`+"\n", svgWidth-12, y+14, p.j.Median)
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
