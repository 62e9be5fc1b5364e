package model

import (
	"testing"

	"sango/internal/san"
)

// change is what the stream says of one record at a revision.
func change(rev Revision, r Record) Changed { return Changed{[]Change{{rev, r.Key(), r}}} }

// gone is what it says when that was deleted.
func gone(rev Revision, r Record) Changed { return Changed{[]Change{{rev, r.Key(), nil}}} }

// forgets reports whether a volume is forgotten among effects.
func forgets(eff []Effect, v san.UUID) bool {
	for _, e := range eff {
		if f, ok := e.(Forget); ok && f.Volume == v {
			return true
		}
	}
	return false
}

// joined returns a gateway that has become a member at revision 2.
func joinedGateway(t *testing.T) *Gateway {
	t.Helper()
	g := NewGateway("a", true, Config{TTL: 3 * Second})
	g.Step(1, Start{})
	for _, e := range g.Step(2, Snapshot{Rev: 1}) {
		if p, ok := e.(Propose); ok {
			g.Step(3, Answered{ID: p.ID, Outcome: Committed, Rev: 2})
		}
	}
	g.Step(4, change(2, GatewayRecord{ID: "a", Incarnation: g.Member().Incarnation, Life: Alive}))
	if g.phase != joined {
		t.Fatal("not a member")
	}
	return g
}

// A gateway keeps nothing of volumes that were deleted, however that comes to
// its ears.
func TestGatewayForgetsDeletedVolumes(t *testing.T) {
	v := san.NewUUID()
	elsewhere := OwnerRecord{Volume: v, State: Active, Owner: Member{"b", 9}, Epoch: 1, Released: true}
	mine := func(g *Gateway) OwnerRecord {
		return OwnerRecord{Volume: v, State: Moving, To: g.Member(), Epoch: 1, Released: true}
	}
	empty := func(g *Gateway, rev Revision) Snapshot {
		r := GatewayRecord{ID: "a", Incarnation: g.Member().Incarnation, Life: Alive}
		return Snapshot{Rev: rev, Changes: []Change{{2, r.Key(), r}}}
	}
	check := func(name string, g *Gateway, eff []Effect) {
		t.Helper()
		if !forgets(eff, v) || len(g.volumes) > 0 || len(g.timed) > 0 {
			t.Errorf("%s: kept: %v; effects %v", name, g.volumes[v], eff)
		}
	}
	g := joinedGateway(t)
	g.Step(5, change(5, elsewhere))
	check("a change", g, g.Step(6, gone(6, elsewhere)))

	g = joinedGateway(t)
	g.Step(5, change(5, elsewhere))
	check("a snapshot", g, g.Step(6, empty(g, 9)))

	g = joinedGateway(t)
	g.Step(5, change(5, mine(g)))
	if eff := g.Step(6, gone(6, elsewhere)); forgets(eff, v) {
		t.Error("forgotten while it was being opened")
	}
	check("an open that failed", g, g.Step(7, OpenFailed{v, 1}))

	for name, last := range map[string]func(g *Gateway, id uint64) []Effect{
		"an answer after the deletion": func(g *Gateway, id uint64) []Effect {
			g.Step(8, gone(8, elsewhere))
			g.Step(9, Closed{v})
			return g.Step(10, Answered{ID: id, Outcome: Committed, Rev: 7})
		},
		"an answer that was refused": func(g *Gateway, id uint64) []Effect {
			g.Step(8, gone(8, elsewhere))
			g.Step(9, Closed{v})
			return g.Step(10, Answered{ID: id, Outcome: Refused})
		},
		"a snapshot in place of what was answered": func(g *Gateway, id uint64) []Effect {
			g.Step(8, Answered{ID: id, Outcome: Committed, Rev: 7})
			g.Step(9, empty(g, 9))
			return g.Step(10, Closed{v})
		},
	} {
		g = joinedGateway(t)
		g.Step(5, change(5, mine(g)))
		var id uint64
		for _, e := range g.Step(6, Opened{Volume: v, Epoch: 1}) {
			if p, ok := e.(Propose); ok && p.Txn.Puts[0].Key().Kind == KindOwner {
				id = p.ID
			}
		}
		if id == 0 {
			t.Fatal("it does not say that it serves")
		}
		check(name, g, last(g, id))
	}
}

// Nor does the coordinator.
func TestCoordinatorForgetsDeletedVolumes(t *testing.T) {
	c := NewCoordinator(Config{TTL: 3 * Second, Gather: -1})
	c.Step(1, Snapshot{Rev: 1})
	c.Step(2, Elected{1})
	a := GatewayRecord{ID: "a", Incarnation: 1, Life: Alive}
	c.Step(3, change(2, a))
	rev := Revision(2)
	next := func() Revision { rev++; return rev }
	var ids []san.UUID
	for range 5 {
		v := VolumeRecord{ID: san.NewUUID(), Fencing: FenceDriver}
		ids = append(ids, v.ID)
		for _, e := range c.Step(4, change(next(), v)) {
			p, ok := e.(Propose)
			if !ok {
				continue
			}
			o, ok := p.Txn.Puts[0].(OwnerRecord)
			if !ok {
				t.Fatalf("proposed %v", p)
			}
			c.Step(5, Answered{ID: p.ID, Outcome: Committed, Rev: next()})
			c.Step(5, change(rev, o))
			o.State, o.Owner, o.To = Active, o.To, Member{}
			c.Step(6, change(next(), o))
		}
	}
	if len(c.volumes) != 5 || c.load["a"].volumes != 5 {
		t.Fatalf("%d volumes, load %v", len(c.volumes), c.load)
	}
	a.Life, a.Why = Dead, ReasonSilent
	fences := c.Step(7, change(next(), a)) // volumes wait for fences
	for i, id := range ids {
		v, o := VolumeRecord{ID: id}, OwnerRecord{Volume: id}
		r := next()
		if i%2 == 0 { // in one transaction, in either order
			c.Step(8, Changed{[]Change{{r, v.Key(), nil}, {r, o.Key(), nil}}})
		} else {
			c.Step(8, Changed{[]Change{{r, o.Key(), nil}, {r, v.Key(), nil}}})
		}
	}
	for _, e := range fences {
		if f, ok := e.(Fence); ok {
			c.Step(9, FenceEnded{f.Member, f.Volume, true})
		}
	}
	c.Step(10, Tick{})
	if len(c.volumes)+len(c.order)+len(c.due)+len(c.parked) > 0 || c.load["a"].volumes != 0 || c.fences != 0 || len(c.members[a.Member()].fences) > 0 {
		t.Errorf("kept: %v, %v, %v, load %v, %d fences, %v", c.volumes, c.order, c.due, c.load, c.fences, c.members[a.Member()])
	}
}
