package history

import (
	"cmp"
	"slices"

	"github.com/anishathalye/porcupine"
)

// Bounds of the reservation machine.
const (
	MaxNexus = 16 // nexuses are numbered from 1
	Cells    = 4  // blocks of the volume that are written to, from LBA 0 on
)

// Actions of PERSISTENT RESERVE OUT.
const (
	ActRegister        = "register"
	ActRegisterIgnore  = "register-ignore"
	ActReserve         = "reserve"
	ActRelease         = "release"
	ActClear           = "clear"
	ActPreempt         = "preempt"
	ActPreemptAndAbort = "preempt-abort"
)

// step is a part of an op that takes effect at one moment. A command that looks
// at the reservations and then does its work has two: between them the
// reservations may change, unless the change aborts it.
type step struct {
	op   *Op
	part part
}

type part uint8

const (
	whole  part = iota // a change of the reservations, or a look at them
	access             // it was let in, or stopped
	effect             // it read or wrote
)

// end is an op that nobody sent: it comes when all is over.
const end Kind = "end"

// resState is a volume with reservations while its history is put in order.
type resState struct {
	keys   [MaxNexus + 1]uint64
	holder int8  // nexus; 0: none
	kind   uint8 // type of the reservation; 0: none
	legacy int8  // who holds RESERVE(6); 0: nobody
	// until tells of a nexus that may not write any more: what it sent before may
	// still land, where it was let in before. Where its commands are aborted
	// (PREEMPT AND ABORT), not after anything that was sent later than limit.
	until, limit [MaxNexus + 1]int64
	marks        // of the reservations
	cells        [Cells]blockState
	ended        bool // all that was answered has its place
}

func (s *resState) allRegistrants() bool { return s.kind == 7 || s.kind == 8 }

func (s *resState) registrants() bool { return s.kind >= 5 }

func (s *resState) exclusive() bool { return s.kind == 3 || s.kind == 6 || s.kind == 8 }

func (s *resState) holds(n int) bool {
	return s.kind != 0 && s.keys[n] != 0 && (s.allRegistrants() || int(s.holder) == n)
}

// admits reports whether a command of nexus n is let in (SPC-4 §5.13.1 table
// 65, SPC-2 table 9).
func (s *resState) admits(n int, writes bool) bool {
	switch {
	case s.legacy != 0:
		return int(s.legacy) == n
	case s.kind == 0 || s.holds(n) || s.registrants() && s.keys[n] != 0:
		return true
	}
	return !writes && !s.exclusive()
}

// resModel is the machine. Its volumes have no reservation, and zeros, at
// first.
var resModel = porcupine.Model{
	Init: func() any { return resState{} },
	Step: func(state, input, _ any) (bool, any) {
		s, in := state.(resState), input.(step)
		ok := s.step(in)
		return ok, s
	},
	DescribeOperation: func(input, _ any) string { return input.(step).op.String() },
}

// step does a part of an op, and reports whether it can have been answered so.
// What was not answered has an effect, or comes after the end, which is a place
// that every order has for it: where it may come with no effect as well, that
// many more orders would have to be looked at.
func (s *resState) step(in step) bool {
	if in.op.Kind == end {
		s.ended = true
		return true
	}
	if in.op.Outcome != Unknown {
		return s.do(in)
	}
	if s.ended {
		return true
	}
	before := s.plain()
	return s.do(in) && s.plain() != before
}

// plain returns s without what only limits others: an op that does no more has
// no effect.
func (s *resState) plain() resState {
	p := *s
	p.marks = marks{}
	for i := range p.cells {
		p.cells[i].marks = marks{}
	}
	return p
}

func (s *resState) do(in step) bool {
	o := in.op
	switch o.Kind {
	case Lost:
		return s.change(o, func(n *resState) bool {
			if int(n.legacy) == o.Nexus {
				n.legacy = 0
			}
			return true
		})
	case Reserve:
		return s.change(o, func(n *resState) bool {
			if n.legacy != 0 && int(n.legacy) != o.Nexus {
				return false
			}
			n.legacy = int8(o.Nexus)
			return true
		})
	case Release:
		return s.change(o, func(n *resState) bool {
			if int(n.legacy) == o.Nexus {
				n.legacy = 0
			}
			return true
		})
	case PROut:
		return s.change(o, func(n *resState) bool { return n.persist(o) })
	case PRKeys:
		s.note(o, false)
		keys := []uint64{}
		for _, k := range s.keys {
			if k != 0 {
				keys = append(keys, k)
			}
		}
		slices.Sort(keys)
		return slices.Equal(keys, o.PR.Keys)
	case PRHeld:
		s.note(o, false)
		holder := uint64(0)
		if s.kind != 0 && !s.allRegistrants() {
			holder = s.keys[s.holder]
		}
		return s.kind == o.PR.Type && holder == o.PR.Holder
	}
	return s.data(in)
}

// data is a part of a read or write of a cell.
func (s *resState) data(in step) bool {
	o := in.op
	writes := o.Kind != Read
	if in.part == access {
		s.note(o, false)
		return s.admits(o.Nexus, writes) == (o.Outcome != Conflict)
	}
	c := &s.cells[o.LBA]
	may := !writes || s.admits(o.Nexus, true) || o.Call < s.until[o.Nexus] && s.any <= s.limit[o.Nexus]
	if o.Outcome == Unknown {
		if !may || o.Strict && s.any > o.Bound {
			return true
		}
		return c.step(o, 0)
	}
	s.note(o, false)
	return may && c.step(o, 0)
}

// change is a change of the reservations by o; f makes it, and reports whether
// it was not stopped by a conflict.
func (s *resState) change(o *Op, f func(*resState) bool) bool {
	if o.Outcome == Unknown && s.over(o) {
		return true
	}
	next := *s
	if !f(&next) {
		if o.Outcome != Unknown {
			s.note(o, false)
		}
		return o.Outcome == Conflict || o.Outcome == Unknown
	}
	if o.Outcome == Conflict {
		return false
	}
	for n := 1; n <= MaxNexus; n++ {
		if s.admits(n, true) && !next.admits(n, true) {
			next.until[n], next.limit[n] = o.returned(), Never
		}
		if o.PR != nil && o.PR.Action == ActPreemptAndAbort && s.keys[n] != 0 && next.keys[n] == 0 {
			next.limit[n] = o.returned() // the promise is made by the answer
		}
	}
	next.note(o, true)
	*s = next
	return true
}

// persist is PERSISTENT RESERVE OUT (SPC-4 §5.13), as far as hosts here use it.
func (s *resState) persist(o *Op) bool {
	n, p := o.Nexus, o.PR
	key := s.keys[n]
	switch p.Action {
	case ActRegister:
		if key != p.Key {
			return false
		}
		s.register(n, p.Other)
		return true
	case ActRegisterIgnore:
		s.register(n, p.Other)
		return true
	}
	if key == 0 || key != p.Key {
		return false
	}
	switch p.Action {
	case ActReserve:
		if s.kind != 0 {
			return s.holds(n) && s.kind == p.Type
		}
		s.kind, s.holder = p.Type, int8(n)
	case ActRelease:
		if s.holds(n) {
			s.kind, s.holder = 0, 0
		}
	case ActClear:
		s.keys, s.kind, s.holder = [MaxNexus + 1]uint64{}, 0, 0
	case ActPreempt, ActPreemptAndAbort:
		return s.preempt(n, p)
	}
	return true
}

func (s *resState) register(n int, key uint64) {
	if key == 0 && s.holds(n) {
		others := slices.ContainsFunc(s.keys[:], func(k uint64) bool { return k != 0 }) && s.allRegistrants()
		s.keys[n] = 0
		others = others && slices.ContainsFunc(s.keys[:], func(k uint64) bool { return k != 0 })
		if !others {
			s.kind, s.holder = 0, 0
		}
		return
	}
	s.keys[n] = key
}

func (s *resState) preempt(n int, p *PR) bool {
	takes := s.kind != 0 && (s.allRegistrants() && p.Other == 0 || !s.allRegistrants() && s.keys[s.holder] == p.Other)
	found := false
	for v := range s.keys {
		if s.keys[v] == 0 || takes && v == n {
			continue
		}
		if s.keys[v] == p.Other || takes && p.Other == 0 {
			s.keys[v], found = 0, true
		}
	}
	if takes {
		s.kind, s.holder = p.Type, int8(n)
	}
	return takes || found
}

// steps returns what porcupine puts in order of o.
func (o *Op) steps() []porcupine.Operation {
	var parts []part
	switch o.Kind {
	case Read:
		if o.Outcome == Good {
			parts = []part{access, effect}
		}
	case Write:
		switch o.Outcome {
		case Good:
			parts = []part{access, effect}
		case Unknown:
			parts = []part{effect}
		}
	default:
		if o.Outcome != Refused && (o.Outcome != Unknown || o.Kind != PRKeys && o.Kind != PRHeld) {
			parts = []part{whole}
		}
	}
	if o.Outcome == Conflict && (o.Kind == Read || o.Kind == Write) {
		parts = []part{access}
	}
	var ops []porcupine.Operation
	for _, p := range parts {
		ops = append(ops, porcupine.Operation{Input: step{o, p}, Call: o.Call, Return: o.returned()})
	}
	return ops
}

// machine returns what porcupine puts in order of the ops of a volume with
// reservations.
func machine(ops []*Op) []porcupine.Operation {
	last := &Op{Kind: end, Outcome: Good}
	var all []porcupine.Operation
	for _, o := range needed(ops) {
		all = append(all, o.steps()...)
		last.Call = max(last.Call, o.Call+1)
		if r := o.returned(); r != Never {
			last.Call = max(last.Call, r+1)
		}
	}
	last.Return = last.Call
	return append(all, last.steps()...)
}

// needed returns ops without the ends of a nexus that say no more than others
// do. A host that tries to log in again and again tells of each time that what it
// had is gone, from the same moment on: the first to be told holds for all of
// them. The others matter where there was a RESERVE(6) between them, one for each.
func needed(ops []*Op) []*Op {
	type loss struct {
		nexus int
		call  int64
	}
	losses := map[loss][]*Op{}
	for _, o := range ops {
		if o.Kind == Lost && o.Outcome == Good {
			l := loss{o.Nexus, o.Call}
			losses[l] = append(losses[l], o)
		}
	}
	spare := map[*Op]bool{}
	for l, same := range losses {
		slices.SortFunc(same, func(a, b *Op) int { return cmp.Compare(a.Return, b.Return) })
		between := 0
		for _, o := range ops {
			if o.Nexus == l.nexus && o.Kind == Reserve && o.returned() >= l.call && o.Call <= same[len(same)-1].Return && (o.Outcome == Good || o.Outcome == Unknown) {
				between++
			}
		}
		for i := 1; i < len(same)-between; i++ {
			spare[same[i]] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(ops), func(o *Op) bool { return spare[o] })
}
