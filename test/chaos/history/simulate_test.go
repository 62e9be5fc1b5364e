package history

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"
)

const second = int64(time.Second)

// wait is after what time the hosts of the simulation give up.
const wait = 5 * second

// simulate makes a history of one volume that a correct SAN can have answered:
// each command takes effect at a moment between its call and its return, those
// that were not answered at one before their bound, or not at all.
func simulate(seed uint64, clients, commands int) *History {
	r := rand.New(rand.NewPCG(seed, 1))
	type event struct {
		at   int64
		op   *Op
		none bool
	}
	var events []event
	h := &History{}
	id := int64(0)
	for c := range clients {
		t := int64(0)
		for range commands {
			id++
			t += r.Int64N(second)
			o := &Op{ID: id, Host: string(rune('a' + c)), Volume: "v", LBA: r.Int64N(3), Call: t, Outcome: Good, Kind: Read}
			n := 1 + r.IntN(3)
			o.Vals = make([]Value, n)
			switch r.IntN(5) {
			case 0, 1:
				o.Kind = Write
				for i := range n {
					o.Vals[i] = ValueOf(id, i)
				}
			case 2:
				o.Kind = Compare
				o.Vals = []Value{ValueOf(id, 0)}
			}
			took := r.Int64N(second)
			o.Return = t + took
			e := event{at: t + r.Int64N(took+1), op: o}
			if o.Kind != Read && r.IntN(12) == 0 {
				o.Outcome, o.Bound, o.Return = Unknown, t+wait, Never
				e.at, e.none = t+r.Int64N(wait), r.IntN(2) == 0
				t += wait
			} else {
				t = o.Return
			}
			events = append(events, e)
			h.Ops = append(h.Ops, o)
		}
	}
	slices.SortFunc(events, func(a, b event) int { return cmp.Compare(a.at, b.at) })
	disk := map[int64]Value{}
	for _, e := range events {
		o := e.op
		switch o.Kind {
		case Read:
			for i := range o.Vals {
				o.Vals[i] = disk[o.LBA+int64(i)]
			}
			continue
		case Compare:
			o.Expect = []Value{disk[o.LBA]}
			if r.IntN(3) == 0 {
				o.Expect[0] = ValueOf(1, 9)
				if o.Outcome == Good {
					o.Outcome = Miscompare
				}
			}
			if o.Expect[0] != disk[o.LBA] {
				continue
			}
		}
		if e.none {
			continue
		}
		for i, v := range o.Vals {
			disk[o.LBA+int64(i)] = v
		}
	}
	return h
}

// none says that no volume has reservations.
func none(string) bool { return false }

func all(string) bool { return true }
