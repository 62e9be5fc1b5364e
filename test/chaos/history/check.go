package history

import (
	"cmp"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// Verdict is what a check found.
type Verdict string

// The verdicts. Undecided is a failure too: the history is too hard to tell,
// and has to be made easier.
const (
	Correct   Verdict = "correct"
	Violated  Verdict = "violated"
	Undecided Verdict = "undecided"
)

// Finding is one block, or one segment of a reservation volume, that was not
// found correct.
type Finding struct {
	Of      string // block or volume
	Verdict Verdict
	Story   string
	ops     []*Op
	at      *Op // that fits in nowhere; nil: it is not known
	index   int64
	faults  []Fault
}

// Report is the result of Check.
type Report struct {
	Blocks, Segments int // that were checked
	Ops              int // single effects put in order
	Unknown          int // commands without an answer among them
	// Half counts reads that found a part of a write which was under way, and
	// not answered: a block that is neither old nor new. They are not put in order.
	Half     int
	Findings []Finding
}

// Limit is how long one block may be thought about.
const Limit = 2 * time.Minute

// Check puts each block's and each reservation volume's commands in order.
// Volumes in reserved are those with reservations.
func Check(h *History, reserved func(volume string) bool) Report {
	blocks := map[Block][]porcupine.Operation{}
	machines := map[string][]*Op{}
	var r Report
	for _, o := range h.Ops {
		if o.Outcome == Unknown {
			r.Unknown++
		}
		if reserved(o.Volume) {
			machines[o.Volume] = append(machines[o.Volume], o)
			continue
		}
		for i := range o.Vals {
			if o.ofBlock(i) {
				b := Block{o.Volume, o.LBA + int64(i)}
				blocks[b] = append(blocks[b], porcupine.Operation{Input: blockOp{o, i}, Call: o.Call, Return: o.returned()})
			}
		}
	}
	for b, ops := range blocks {
		whole := slices.DeleteFunc(slices.Clone(ops), func(p porcupine.Operation) bool { return halfWritten(p, ops) })
		r.Half += len(ops) - len(whole)
		blocks[b] = whole
	}
	r.Blocks, r.Segments = len(blocks), len(machines)

	var mu sync.Mutex
	var wg sync.WaitGroup
	room := make(chan struct{}, runtime.GOMAXPROCS(0))
	check := func(of string, index int64, m porcupine.Model, ops []porcupine.Operation) {
		r.Ops += len(ops)
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			result, info := porcupine.CheckOperationsVerbose(m, ops, Limit)
			if result == porcupine.Ok {
				return
			}
			f := Finding{Of: of, Verdict: Violated, index: index, faults: h.Faults}
			if result == porcupine.Unknown {
				f.Verdict = Undecided
			}
			f.tell(ops, info)
			mu.Lock()
			r.Findings = append(r.Findings, f)
			mu.Unlock()
		})
	}
	byPlace := func(a, b Block) int {
		return cmp.Or(cmp.Compare(a.Volume, b.Volume), cmp.Compare(a.LBA, b.LBA))
	}
	for _, b := range slices.SortedFunc(maps.Keys(blocks), byPlace) {
		check(b.String(), b.LBA, blockModel, blocks[b])
	}
	for _, v := range slices.Sorted(maps.Keys(machines)) {
		check("the reservations of volume "+v, -1, resModel, machine(machines[v]))
	}
	wg.Wait()
	slices.SortFunc(r.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(len(a.ops), len(b.ops)), cmp.Compare(a.Of, b.Of))
	})
	return r
}

// halfWritten reports whether p is a read that found no whole block while one of
// ops wrote to it that was not answered: its gateway may have died in the middle.
func halfWritten(p porcupine.Operation, ops []porcupine.Operation) bool {
	in := p.Input.(blockOp)
	if in.op.Kind != Read || in.op.Vals[in.i] != Torn {
		return false
	}
	return slices.ContainsFunc(ops, func(w porcupine.Operation) bool {
		o := opOf(w)
		if o == nil || o.Outcome != Unknown || o.Strict && in.op.Call > o.Bound {
			return false
		}
		return w.Call <= p.Return && p.Call <= w.Return
	})
}

// opOf returns the op of an operation of either model.
func opOf(p porcupine.Operation) *Op {
	switch in := p.Input.(type) {
	case blockOp:
		return in.op
	case step:
		return in.op
	}
	return nil
}

// String tells the numbers.
func (r *Report) String() string {
	return fmt.Sprintf("%d blocks and %d segments of reservations with %d effects, %d commands without an answer, %d reads of a block that was half written: %d findings",
		r.Blocks, r.Segments, r.Ops, r.Unknown, r.Half, len(r.Findings))
}
