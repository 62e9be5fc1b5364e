package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// row is one judgement as people read it.
type row struct {
	load, client, what, left, right, ratio, spread, bar, goal, verdict string
}

// section is what the ids of its cases begin with, and its title.
type section struct{ name, title string }

var sections = []section{
	{"target", "Target beside tgt"},
	{"initiator", "Initiator and multipath beside libiscsi"},
	{"nbd", "NBD server beside nbdkit and qemu-nbd"},
	{"sessions", "Many sessions"},
	{"volumes", "Many volumes"},
	{limits, "What the machine allows"},
}

// limits are no comparison.
const limits = "limit"

// inSections calls f with the cases of each section that has any.
func (r *report) inSections(f func(s section, cases []*caseResult)) {
	for _, s := range sections {
		var cases []*caseResult
		for _, c := range r.Cases {
			if strings.HasPrefix(c.ID, s.name+"/") {
				cases = append(cases, c)
			}
		}
		if len(cases) > 0 {
			f(s, cases)
		}
	}
}

// bars counts the claims that have one.
func (r *report) bars() (met, all int) {
	for _, c := range r.Cases {
		for _, j := range c.Judged {
			if j.Met != nil {
				all++
				if *j.Met {
					met++
				}
			}
		}
	}
	return met, all
}

// rows are what was judged of a case.
func (r *caseResult) rows() []row {
	find := func(name string) *contenderResult {
		for _, x := range r.Contenders {
			if x.Name == name {
				return x
			}
		}
		return nil
	}
	value := func(name string, m metric) string {
		if x := find(name); x != nil {
			return fmt.Sprintf("%s %s", name, m.format(x.All[m].Median))
		}
		return ""
	}
	var rows []row
	if len(r.claims) == 0 { // nothing to judge: what there is
		for _, x := range r.Contenders {
			v := x.All[r.Main]
			rows = append(rows, row{load: r.Title, client: r.Client, what: r.Main.String(), left: value(x.Name, r.Main), spread: r.Main.format(v.Min) + " to " + r.Main.format(v.Max)})
		}
		return rows
	}
	for _, j := range r.Judged {
		w := row{load: r.Title, client: r.Client, what: j.Metric.String(), left: value(j.Of, j.Metric)}
		format := func(v float64) string { return fmt.Sprintf("%.2f", v) }
		if j.To == "" {
			format = j.Metric.format
		} else {
			w.right, w.ratio = value(j.To, j.Metric), format(j.Median)
		}
		w.spread = format(j.Min) + " to " + format(j.Max)
		sign := "≥ "
		if j.AtMost {
			sign = "≤ "
		}
		if j.Bar > 0 {
			w.bar = sign + format(j.Bar)
		}
		if j.Goal > 0 {
			w.goal = sign + format(j.Goal)
		}
		if j.Met != nil {
			w.verdict = "not met"
			if *j.Met {
				w.verdict = "met"
			}
		}
		rows = append(rows, w)
	}
	return rows
}

// terminal prints what was judged.
func (r *report) terminal(w io.Writer) {
	r.inSections(func(s section, cases []*caseResult) {
		fmt.Fprintf(w, "%s\n", s.title)
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, c := range cases {
			for i, x := range c.rows() {
				load := fmt.Sprintf("%s (%s)", x.load, x.client)
				if i > 0 {
					load = ""
				}
				fmt.Fprintln(t, strings.Join([]string{"  " + load, x.what, x.left, x.right, x.ratio, x.spread, x.bar, x.verdict}, "\t"))
			}
		}
		t.Flush()
		fmt.Fprintln(w)
	})
	met, all := r.bars()
	fmt.Fprintf(w, "%d of %d bars are met; ratios are medians of %d rounds, with the lowest and highest\n", met, all, r.Rounds)
	for _, f := range r.Failures {
		fmt.Fprintln(w, "did not run:", f)
	}
}
