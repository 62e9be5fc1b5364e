package model

import (
	"slices"
	"testing"

	"sango/internal/san"
)

// A gateway tells which one is preferred for a volume whenever that is another,
// also where a snapshot takes the place of changes, and not when it is over.
func TestPreferIsTold(t *testing.T) {
	v, w := san.UUID{15: 1}, san.UUID{15: 2}
	g := NewGateway("A", true, Config{})
	rev := Revision(1)
	change := func(id san.UUID, deleted bool, prefer ...GatewayID) Change {
		rev++
		c := Change{Rev: rev, Key: VolumeRecord{ID: id}.Key()}
		if !deleted {
			c.Record = VolumeRecord{ID: id, Prefer: prefer}
		}
		return c
	}
	step := func(ev Event, want ...Prefer) {
		t.Helper()
		var got []Prefer
		for _, e := range g.Step(0, ev) {
			if p, ok := e.(Prefer); ok {
				got = append(got, p)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("after %+v: %+v, not %+v", ev, got, want)
		}
	}
	whole := func(c ...Change) Snapshot { return Snapshot{Changes: c, Rev: rev} }
	some := func(c ...Change) Changed { return Changed{c} }
	step(whole(change(w, false, "B"), change(v, false, "A", "B")), Prefer{v, "A"}, Prefer{w, "B"})
	step(some(change(v, false, "A")))
	step(some(change(v, false, "B", "A"), change(w, false)), Prefer{v, "B"}, Prefer{w, ""})
	step(some(change(v, false)), Prefer{v, ""})
	step(some(change(v, false, "A")), Prefer{v, "A"})
	step(some(change(v, true)), Prefer{v, ""})
	step(some(change(w, false, "B")), Prefer{w, "B"})
	step(whole(change(v, false, "A")), Prefer{v, "A"}, Prefer{w, ""})
	step(whole(change(v, false, "A")))
	g.phase = fenced
	step(some(change(v, false)))
}
