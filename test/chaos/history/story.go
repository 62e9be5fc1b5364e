package history

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/anishathalye/porcupine"
)

// most is how many commands a story tells before and after the one that fits
// in nowhere.
const most = 25

// tell makes the story: what was done to the block or volume in order, the
// faults around it, and the command that no order explains.
func (f *Finding) tell(ops []porcupine.Operation, info porcupine.LinearizationInfo) {
	seen := map[*Op]bool{}
	for _, p := range ops {
		if o := opOf(p); !seen[o] && o.Kind != end {
			seen[o] = true
			f.ops = append(f.ops, o)
		}
	}
	slices.SortFunc(f.ops, func(a, b *Op) int { return cmp.Or(cmp.Compare(a.Call, b.Call), cmp.Compare(a.ID, b.ID)) })
	want := map[*Op]int{}
	for _, p := range ops {
		want[opOf(p)]++
	}
	// The longest order that was found ends where something returned that could
	// not be fitted in; of orders of the same length the one that came furthest.
	length := 0
	f.at = f.leftOut(nil, want)
	for _, partition := range info.PartialLinearizationsOperations() {
		for _, order := range partition {
			if len(order) < length {
				continue
			}
			at := f.leftOut(order, want)
			if len(order) > length || at != nil && (f.at == nil || at.Return > f.at.Return) {
				length, f.at = len(order), at
			}
		}
	}
	f.Story = f.write()
}

// leftOut returns the op that was answered first of those that are not in order
// with all of their parts; nil: there is none.
func (f *Finding) leftOut(order []porcupine.Operation, want map[*Op]int) *Op {
	have := map[*Op]int{}
	for _, p := range order {
		have[opOf(p)]++
	}
	var first *Op
	for _, o := range f.ops {
		if have[o] < want[o] && o.returned() != Never && (first == nil || o.Return < first.Return) {
			first = o
		}
	}
	return first
}

func (f *Finding) write() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s.\n", f.Of, f.Verdict)
	if f.at != nil {
		fmt.Fprintf(&b, "No order of these commands explains how #%d ended.\n", f.at.ID)
	}
	for _, hint := range f.hints() {
		fmt.Fprintf(&b, "%s\n", hint)
	}
	first, last := 0, len(f.ops)
	if f.at != nil {
		i := slices.Index(f.ops, f.at)
		first, last = max(0, i-most), min(len(f.ops), i+most/2)
	} else if last > 3*most {
		first = last - 3*most
	}
	shown := slices.Clone(f.ops[first:last])
	// What wrote the values that are told of is shown as well.
	for _, o := range f.ops[:first] {
		if o.Outcome == Unknown || slices.ContainsFunc(shown, func(s *Op) bool {
			return s.Kind == Read && f.value(s) != 0 && o.Kind != Read && f.value(o) == f.value(s)
		}) {
			shown = append(shown, o)
		}
	}
	slices.SortFunc(shown, func(a, b *Op) int { return cmp.Or(cmp.Compare(a.Call, b.Call), cmp.Compare(a.ID, b.ID)) })
	type entry struct {
		t    int64
		text string
	}
	var lines []entry
	for _, o := range shown {
		mark := "   "
		if o == f.at {
			mark = ">>>"
		}
		lines = append(lines, entry{o.Call, mark + " " + o.line(f.indexIn(o))})
	}
	if len(shown) > 0 {
		from, to := shown[0].Call, shown[len(shown)-1].Call
		for _, x := range f.faults {
			if x.End >= from && x.Start <= to {
				lines = append(lines, entry{x.Start, fmt.Sprintf("*** %s – %s  %s", clock(x.Start), clock(x.End), x.What)})
			}
		}
	}
	slices.SortStableFunc(lines, func(a, b entry) int { return cmp.Compare(a.t, b.t) })
	if first > 0 {
		fmt.Fprintf(&b, "    (%d earlier commands are in the history)\n", len(f.ops)-len(shown))
	}
	for _, l := range lines {
		fmt.Fprintln(&b, l.text)
	}
	return b.String()
}

// indexIn returns the index of the finding's block in o, −1 for a machine.
func (f *Finding) indexIn(o *Op) int {
	if f.index < 0 {
		return len(o.Vals) - 1 // a cell
	}
	return int(f.index - o.LBA)
}

// value is what o read or wrote at the finding's block.
func (f *Finding) value(o *Op) Value {
	if i := f.indexIn(o); i >= 0 && i < len(o.Vals) {
		return o.Vals[i]
	}
	return 0
}

// hints says in words what is wrong where that is simple.
func (f *Finding) hints() []string {
	r := f.at
	if r == nil || r.Kind != Read || f.index < 0 {
		return nil
	}
	v := f.value(r)
	if v == Torn {
		return []string{"It found a block that is no whole write."}
	}
	var writers []*Op
	for _, o := range f.ops {
		if o.Kind != Read && v != 0 && f.value(o) == v {
			writers = append(writers, o)
		}
	}
	if v != 0 && len(writers) == 0 {
		return []string{fmt.Sprintf("It found %v, which nobody wrote there.", v)}
	}
	// The latest change that was acknowledged before the read began.
	var latest *Op
	for _, o := range f.ops {
		if o.Kind != Read && o.Outcome == Good && o.Return < r.Call && (latest == nil || o.Call > latest.Call) {
			latest = o
		}
	}
	if latest == nil || f.value(latest) == v {
		return nil
	}
	for _, w := range writers {
		switch {
		case w.Outcome == Good && w.Return >= latest.Call:
			return nil // it may have come later
		case w.Outcome == Unknown && latest.Call <= w.Bound:
			return nil
		case w.Outcome == Unknown:
			return []string{fmt.Sprintf("It found %v of #%d, which was not answered, and could not land any more when #%d was sent, which was acknowledged: a ghost write, if other reads found #%d in between.", v, w.ID, latest.ID, latest.ID)}
		}
	}
	return []string{fmt.Sprintf("It found %v, although #%d had written %v since and was acknowledged: that write was lost, or undone.", v, latest.ID, f.value(latest))}
}
