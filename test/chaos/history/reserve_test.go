package history

import "testing"

// The reservation machine: nexuses 1 and 2 are paths of one host, 3 of another.
func TestReservations(t *testing.T) {
	var id, now int64
	op := func(nexus int, k Kind, out Outcome) *Op {
		id++
		now += 2 * second
		o := &Op{ID: id, Host: "h", Nexus: nexus, Kind: k, Volume: "r", Call: now - second, Return: now, Outcome: out}
		if out == Unknown {
			o.Return, o.Bound = Never, now+wait
		}
		return o
	}
	p := func(nexus int, action string, key, other uint64, typ uint8, out Outcome) *Op {
		o := op(nexus, PROut, out)
		o.PR = &PR{Action: action, Key: key, Other: other, Type: typ}
		return o
	}
	keys := func(k ...uint64) *Op {
		o := op(9, PRKeys, Good)
		o.PR = &PR{Keys: append([]uint64{}, k...)}
		return o
	}
	held := func(holder uint64, typ uint8) *Op {
		o := op(9, PRHeld, Good)
		o.PR = &PR{Holder: holder, Type: typ}
		return o
	}
	w := func(nexus int, out Outcome) *Op {
		o := op(nexus, Write, out)
		o.Vals = []Value{ValueOf(o.ID, 0)}
		return o
	}
	read := func(nexus int, of *Op, out Outcome) *Op {
		o := op(nexus, Read, out)
		o.Vals = []Value{0}
		if of != nil {
			o.Vals = of.Vals
		}
		return o
	}
	// until makes o still under way when later was answered.
	until := func(o, later *Op) { o.Return = later.Return + second/2 }

	start := func() []*Op {
		return []*Op{
			p(1, ActRegister, 0, 0xa, 0, Good), p(2, ActRegisterIgnore, 0, 0xa, 0, Good), p(3, ActRegister, 0, 0xb, 0, Good),
			p(1, ActReserve, 0xa, 0, 5, Good),
		}
	}
	for _, c := range []struct {
		name string
		ops  func() []*Op
		bad  bool
	}{
		{"registrants write, strangers read", func() []*Op {
			return append(start(), w(2, Good), w(3, Good), w(4, Conflict), read(4, nil, Conflict))
		}, true},
		{"registrants write, strangers read what was written", func() []*Op {
			s, x := start(), w(3, Good)
			return append(s, x, w(4, Conflict), read(4, x, Good), keys(0xa, 0xa, 0xb), held(0xa, 5))
		}, false},
		{"a stranger writes", func() []*Op { return append(start(), w(4, Good)) }, true},
		{"a wrong key", func() []*Op { return append(start(), p(3, ActReserve, 0xc, 0, 5, Good)) }, true},
		{"a wrong key conflicts", func() []*Op { return append(start(), p(3, ActReserve, 0xc, 0, 5, Conflict)) }, false},
		{"two reservations", func() []*Op { return append(start(), p(3, ActReserve, 0xb, 0, 5, Good)) }, true},
		{"preempted, and gone", func() []*Op {
			return append(start(), p(3, ActPreempt, 0xb, 0xa, 5, Good), keys(0xb), held(0xb, 5), w(1, Conflict), w(3, Good))
		}, false},
		{"preempted, and not gone", func() []*Op { return append(start(), p(3, ActPreempt, 0xb, 0xa, 5, Good), keys(0xa, 0xb)) }, true},
		{"a key is forgotten", func() []*Op { return append(start(), keys(0xa, 0xb)) }, true},
		{"the reservation is forgotten", func() []*Op { return append(start(), held(0, 0)) }, true},
		{"a preempted write lands late, which PREEMPT does not forbid", func() []*Op {
			s, x := start(), w(1, Unknown)
			y := p(3, ActPreempt, 0xb, 0xa, 5, Good)
			return append(s, x, y, read(3, nil, Good), read(3, x, Good))
		}, false},
		{"a preempted and aborted write lands late", func() []*Op {
			s, x := start(), w(1, Unknown)
			y := p(3, ActPreemptAndAbort, 0xb, 0xa, 5, Good)
			return append(s, x, y, read(3, nil, Good), read(3, x, Good))
		}, true},
		{"it may land before", func() []*Op {
			s, x := start(), w(1, Unknown)
			return append(s, x, p(3, ActPreemptAndAbort, 0xb, 0xa, 5, Good), read(3, x, Good))
		}, false},
		{"a write is let in before a preempt and lands after it", func() []*Op {
			s, x := start(), w(1, Good)
			y := p(3, ActPreempt, 0xb, 0xa, 5, Good)
			z := read(3, nil, Good)
			until(x, z)
			return append(s, x, y, z, read(3, x, Good))
		}, false},
		{"the same with abort", func() []*Op {
			s, x := start(), w(1, Good)
			y := p(3, ActPreemptAndAbort, 0xb, 0xa, 5, Good)
			z := read(3, nil, Good)
			until(x, z)
			return append(s, x, y, z, read(3, x, Good))
		}, true},
		{"it lands while the preempt and abort waits for it", func() []*Op {
			s, x := start(), w(1, Good)
			y := p(3, ActPreemptAndAbort, 0xb, 0xa, 5, Good)
			k := keys(0xb)
			z := read(3, x, Good)
			until(x, z)
			until(y, z)
			return append(s, x, y, k, read(3, x, Good))
		}, false},
		{"a preempt and abort without an answer promises nothing", func() []*Op {
			s, x := start(), w(1, Unknown)
			return append(s, x, p(3, ActPreemptAndAbort, 0xb, 0xa, 5, Unknown), keys(0xb), read(3, nil, Good), read(3, x, Good))
		}, false},
		{"a write that was sent after a preempt", func() []*Op {
			s, y, x := start(), p(3, ActPreempt, 0xb, 0xa, 5, Good), w(1, Unknown)
			return append(s, y, x, read(3, x, Good))
		}, true},
		{"an unknown preempt may have happened", func() []*Op {
			return append(start(), p(3, ActPreempt, 0xb, 0xa, 5, Unknown), keys(0xb))
		}, false},
		{"or not", func() []*Op { return append(start(), p(3, ActPreempt, 0xb, 0xa, 5, Unknown), keys(0xa, 0xa, 0xb)) }, false},
		{"but not twice", func() []*Op {
			return append(start(), p(3, ActPreempt, 0xb, 0xa, 5, Unknown), keys(0xb), p(1, ActRegister, 0, 0xa, 0, Good), keys(0xa, 0xb), keys(0xb))
		}, true},
		{"an unknown change comes after its bound", func() []*Op {
			s, x := start(), p(3, ActClear, 0xb, 0, 0, Unknown)
			x.Bound = x.Call
			return append(s, x, p(1, ActRegister, 0xa, 0xc, 0, Good), keys(0xa, 0xb, 0xc), keys())
		}, true},
		{"the holder unregisters", func() []*Op {
			return append(start(), p(1, ActRegister, 0xa, 0, 0, Good), held(0, 0), keys(0xa, 0xb), w(4, Good))
		}, false},
		{"of all registrants the last one counts", func() []*Op {
			return []*Op{
				p(1, ActRegister, 0, 0xa, 0, Good), p(2, ActRegister, 0, 0xa, 0, Good), p(1, ActReserve, 0xa, 0, 7, Good),
				p(1, ActRegister, 0xa, 0, 0, Good), held(0, 7), w(4, Conflict), p(2, ActRegister, 0xa, 0, 0, Good), held(0, 0), w(4, Good),
			}
		}, false},
		{"exclusive access", func() []*Op {
			return []*Op{p(1, ActRegister, 0, 0xa, 0, Good), p(1, ActReserve, 0xa, 0, 3, Good), read(2, nil, Conflict), read(1, nil, Good), p(1, ActRelease, 0xa, 0, 3, Good), read(2, nil, Good)}
		}, false},
		{"RESERVE(6)", func() []*Op {
			return []*Op{op(1, Reserve, Good), w(2, Conflict), op(2, Reserve, Conflict), op(2, Release, Good), w(1, Good), op(1, Lost, Good), w(2, Good)}
		}, false},
		{"RESERVE(6) is broken", func() []*Op { return []*Op{op(1, Reserve, Good), w(2, Good)} }, true},
		{"RESERVE(6) outlives its nexus", func() []*Op { return []*Op{op(1, Reserve, Good), op(1, Lost, Good), w(2, Conflict)} }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			id, now = 0, 0
			r := Check(&History{Ops: c.ops()}, all)
			switch {
			case !c.bad && len(r.Findings) > 0:
				t.Error(r.Findings[0].Story)
			case c.bad && (len(r.Findings) != 1 || r.Findings[0].Verdict != Violated):
				t.Errorf("not found: %v", &r)
			}
		})
	}
}

// A host that logs in again and again has as many ends of its nexus, from the
// same moment on, and each nexus may have ended at last. That must not keep a
// history from being put in order.
func TestManyLosses(t *testing.T) {
	history := func(nexuses int, found Value) *History {
		var ops []*Op
		add := func(nexus int, k Kind, call, ret int64, out Outcome) *Op {
			o := &Op{ID: int64(len(ops) + 1), Host: "h", Nexus: nexus, Kind: k, Volume: "r", Call: call * second, Return: ret * second, Outcome: out}
			if out == Unknown {
				o.Return, o.Bound = Never, Never
			}
			ops = append(ops, o)
			return o
		}
		add(1, Reserve, 1, 2, Good)
		for n := 1; n <= nexuses; n++ {
			add(n, Reserve, 3, 0, Unknown)
			add(n, Release, 3, 0, Unknown)
			for i := range int64(8) {
				add(n, Lost, 3, 10+i, Good)
			}
			add(n, Lost, 3, 0, Unknown)
		}
		w := add(1, Write, 20, 21, Good)
		w.Vals = []Value{ValueOf(w.ID, 0)}
		add(1, Reserve, 40, 41, Good)
		add(2, Read, 42, 43, Conflict)
		r := add(1, Read, 44, 45, Good)
		r.Vals = []Value{found}
		if found == 0 {
			r.Vals = w.Vals
		}
		add(1, Release, 46, 47, Good)
		return &History{Ops: ops}
	}
	reserved := func(string) bool { return true }
	if r := Check(history(9, 0), reserved); len(r.Findings) != 0 {
		t.Error(r.Findings[0].Story)
	}
	if r := Check(history(2, ValueOf(999, 0)), reserved); len(r.Findings) != 1 || r.Findings[0].Verdict != Violated {
		t.Errorf("a value that was never written: %v", r.Findings)
	}
}
