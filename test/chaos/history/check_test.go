package history

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What a correct SAN answers is found correct.
func TestCorrectHistories(t *testing.T) {
	for seed := range uint64(30) {
		r := Check(simulate(seed, 5, 60), none)
		for _, f := range r.Findings {
			t.Fatalf("seed %d: %s", seed, f.Story)
		}
		if r.Blocks == 0 || r.Unknown == 0 {
			t.Fatalf("seed %d: nothing to check: %v", seed, &r)
		}
	}
}

// What no correct SAN answers is found.
func TestViolations(t *testing.T) {
	w := func(id, call, ret int64) *Op {
		return &Op{ID: id, Host: "h", Kind: Write, Volume: "v", Vals: []Value{ValueOf(id, 0)}, Call: call * second, Return: ret * second, Outcome: Good}
	}
	unknown := func(o *Op, bound int64, strict bool) *Op {
		o.Outcome, o.Return, o.Bound, o.Strict = Unknown, Never, bound*second, strict
		return o
	}
	read := func(id, call, ret, of int64) *Op {
		o := &Op{ID: id, Host: "h", Kind: Read, Volume: "v", Vals: []Value{0}, Call: call * second, Return: ret * second, Outcome: Good}
		if of > 0 {
			o.Vals[0] = ValueOf(of, 0)
		}
		return o
	}
	caw := func(o *Op, of int64, out Outcome) *Op {
		o.Kind, o.Expect, o.Outcome = Compare, []Value{0}, out
		if of > 0 {
			o.Expect[0] = ValueOf(of, 0)
		}
		return o
	}
	for _, c := range []struct {
		name string
		ops  []*Op
		at   int64 // the op that the story points at; 0: all is well
		hint string
	}{
		{"a write is read", []*Op{w(1, 0, 1), read(2, 2, 3, 1)}, 0, ""},
		{"an acknowledged write is lost", []*Op{w(1, 0, 1), read(2, 2, 3, 0)}, 2, "lost"},
		{"an acknowledged write is undone", []*Op{w(1, 0, 1), w(2, 2, 3), read(3, 4, 5, 1)}, 3, "lost, or undone"},
		{"a read is stale", []*Op{w(1, 0, 1), read(2, 2, 3, 1), w(3, 4, 5), read(4, 6, 7, 3), read(5, 8, 9, 1)}, 5, ""},
		{"reads go back", []*Op{w(1, 0, 1), w(2, 2, 9), read(3, 3, 4, 2), read(4, 5, 6, 1)}, 4, ""},
		{"concurrent reads may differ", []*Op{w(1, 0, 1), w(2, 2, 9), read(3, 3, 6, 2), read(4, 5, 7, 1)}, 0, ""},
		{"a write that was not answered lands", []*Op{w(1, 0, 1), unknown(w(2, 2, 0), 7, false), read(3, 3, 4, 1), read(4, 5, 6, 2)}, 0, ""},
		{"it does not land", []*Op{w(1, 0, 1), unknown(w(2, 2, 0), 7, false), read(3, 30, 31, 1)}, 0, ""},
		{"it lands before a later write", []*Op{unknown(w(1, 0, 0), 5, false), w(2, 6, 7), read(3, 8, 9, 2)}, 0, ""},
		{"it is a ghost", []*Op{unknown(w(1, 0, 0), 5, false), w(2, 6, 7), read(3, 8, 9, 1)}, 3, "ghost"},
		{"a ghost after it was seen", []*Op{unknown(w(1, 0, 0), 5, false), read(2, 1, 2, 1), w(3, 6, 7), read(4, 7, 9, 3), read(5, 10, 11, 1)}, 5, ""},
		{"a ghost that fits between call and return", []*Op{unknown(w(1, 0, 0), 5, false), w(2, 6, 20), read(3, 8, 9, 2), read(4, 10, 11, 1)}, 4, ""},
		{"a slow store may hold it up", []*Op{unknown(w(1, 0, 0), 5, false), read(2, 8, 9, 0), read(3, 20, 21, 1)}, 0, ""},
		{"but not past a fence", []*Op{unknown(w(1, 0, 0), 5, true), read(2, 8, 9, 0), read(3, 20, 21, 1)}, 3, ""},
		{"it lands once", []*Op{unknown(w(1, 0, 0), 50, false), read(2, 1, 2, 1), w(3, 3, 4), read(4, 5, 6, 3), read(5, 7, 8, 1)}, 5, ""},
		{"sent again it lands twice", []*Op{unknown(w(1, 0, 0), 50, false), func() *Op { o := w(6, 2, 9); o.Vals[0] = ValueOf(1, 0); return o }(), read(2, 1, 2, 1), w(3, 3, 4), read(4, 5, 6, 3), read(5, 7, 8, 1)}, 0, ""},
		{"compare and write", []*Op{caw(w(1, 0, 1), 0, Good), caw(w(2, 2, 3), 1, Good), read(3, 4, 5, 2)}, 0, ""},
		{"two compare and writes succeed at once", []*Op{caw(w(1, 0, 3), 0, Good), caw(w(2, 1, 4), 0, Good)}, 2, ""},
		{"a miscompare that was none", []*Op{w(1, 0, 1), caw(w(2, 2, 3), 1, Miscompare)}, 2, ""},
		{"a miscompare that writes", []*Op{caw(w(1, 0, 1), 9, Miscompare), read(2, 2, 3, 1)}, 2, ""},
		{"a refused write lands", []*Op{func() *Op { o := w(1, 0, 1); o.Outcome = Refused; return o }(), read(2, 2, 3, 1)}, 2, "nobody"},
		{"a block is torn", []*Op{w(1, 0, 1), func() *Op { o := read(2, 2, 3, 1); o.Vals[0] = Torn; return o }()}, 2, "no whole write"},
		{"a block is torn while it is written", []*Op{w(1, 0, 3), func() *Op { o := read(2, 2, 3, 1); o.Vals[0] = Torn; return o }(), read(3, 4, 5, 1)}, 2, "no whole write"},
		{"a block is torn where a write was not answered", []*Op{unknown(w(1, 0, 0), 9, false), func() *Op { o := read(2, 2, 3, 1); o.Vals[0] = Torn; return o }(), read(3, 4, 5, 1)}, 0, ""},
		{"a write lands elsewhere", []*Op{func() *Op { o := w(1, 0, 1); o.LBA = 9; return o }(), read(2, 2, 3, 1)}, 2, "nobody"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := Check(&History{Ops: c.ops}, none)
			if c.at == 0 {
				if len(r.Findings) > 0 {
					t.Fatal(r.Findings[0].Story)
				}
				return
			}
			if len(r.Findings) != 1 || r.Findings[0].Verdict != Violated {
				t.Fatalf("not found: %v", &r)
			}
			f := r.Findings[0]
			if f.at == nil || f.at.ID != c.at || !strings.Contains(f.Story, c.hint) {
				t.Errorf("points at %v, want #%d and %q:\n%s", f.at, c.at, c.hint, f.Story)
			}
		})
	}
}

// Histories that were correct until something was done to them.
func TestMutations(t *testing.T) {
	for _, m := range []struct {
		name   string
		mutate func(h *History) bool // false: this history has nothing to be mutated
	}{
		{"a write that was read was not acknowledged but refused", func(h *History) bool {
			for _, o := range h.Ops {
				if o.Kind == Write && o.Outcome == Good && reads(h, o) {
					o.Outcome = Refused
					return true
				}
			}
			return false
		}},
		{"a read finds what was there long before", func(h *History) bool {
			// The last read of a block, and a write with others after it.
			for i := len(h.Ops) - 1; i >= 0; i-- {
				if o := h.Ops[i]; o.Kind == Read && o.Call > 50*second && o.Vals[0] != 0 {
					o.Vals[0] = 0
					return true
				}
			}
			return false
		}},
		{"a write lands after its bound", func(h *History) bool {
			for _, o := range h.Ops {
				if o.Outcome == Unknown && o.Kind == Write && reads(h, o) && last(h, o) > o.Call+wait/2 {
					o.Bound = o.Call - 100*second
					o.Strict = true
					return true
				}
			}
			return false
		}},
	} {
		t.Run(m.name, func(t *testing.T) {
			done, found := 0, 0
			for seed := range uint64(20) {
				h := simulate(seed+100, 5, 60)
				if !m.mutate(h) {
					continue
				}
				done++
				if r := Check(h, none); len(r.Findings) > 0 {
					found++
				}
			}
			if done < 5 || found < done {
				t.Errorf("%d of %d found", found, done)
			}
		})
	}
}

// reads reports whether a command found what o wrote.
func reads(h *History, o *Op) bool { return last(h, o) > 0 }

// last is when a command that found what o wrote was sent last.
func last(h *History, o *Op) int64 {
	t := int64(0)
	for _, r := range h.Ops {
		if r.Kind == Read && slices.ContainsFunc(r.Vals, func(v Value) bool { return v != 0 && slices.Contains(o.Vals, v) }) {
			t = max(t, r.Call)
		}
	}
	return t
}

// A history that was written is read as it was.
func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history")
	r, err := NewRecorder(path, Header{Seed: 7, Blocks: map[string]int{"v": 512}})
	if err != nil {
		t.Fatal(err)
	}
	h := simulate(1, 3, 20)
	for _, o := range h.Ops {
		r.Add(o)
	}
	r.AddFault(Fault{Start: 1, End: Never, What: "something"})
	if _, err := r.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if got.Seed != 7 || len(got.Ops) != len(h.Ops) || len(got.Faults) != 1 || got.Blocks["v"] != 512 {
		t.Fatalf("%d ops, %d faults, header %+v", len(got.Ops), len(got.Faults), got.Header)
	}
	for i, o := range got.Ops {
		if o.String() != h.Ops[i].String() {
			t.Fatalf("%v, want %v", o, h.Ops[i])
		}
	}
}

func TestValues(t *testing.T) {
	for _, size := range []int{512, 4096} {
		b, scratch := make([]byte, size), make([]byte, size)
		for _, v := range []Value{0, ValueOf(1, 0), ValueOf(1, 1), ValueOf(1<<40, 300)} {
			v.Fill(b)
			if got := ValueIn(b, scratch); got != v {
				t.Errorf("%v came back as %v", v, got)
			}
			b[size-1] ^= 1
			if got := ValueIn(b, scratch); got != Torn {
				t.Errorf("half of %v came back as %v", v, got)
			}
		}
	}
}
