package model

import (
	"fmt"
	"testing"

	"sango/internal/san"
)

// TestScale loses 10 of 100 gateways that have 10,000 volumes: each volume that
// lost its owner moves once, the others stay, and the rest share them evenly.
func TestScale(t *testing.T) {
	const gateways, volumes, lost = 100, 10000, 10
	c := NewCoordinator(Config{TTL: 3 * Second})
	recs := map[Key]Revision{}
	rev, now := Revision(0), Second
	load := map[GatewayID]int{}
	write := func(r Record) Change {
		rev++
		recs[r.Key()] = rev
		return Change{Rev: rev, Key: r.Key(), Record: r}
	}
	gateway := func(i int) Member { return Member{GatewayID(fmt.Sprintf("g%03d", i)), Incarnation(i + 1)} }
	all := []Change{write(CoordinatorRecord{"g099"})}
	term := rev
	for i := range gateways {
		m := gateway(i)
		all = append(all, write(GatewayRecord{ID: m.Gateway, Incarnation: m.Incarnation, Life: Alive}))
	}
	for i := range volumes {
		id := san.UUID{0: 1, 14: byte(i >> 8), 15: byte(i)}
		owner := gateway(i % gateways)
		load[owner.Gateway]++
		all = append(all, write(VolumeRecord{ID: id, Fencing: FenceDriver}),
			write(OwnerRecord{Volume: id, State: Active, Owner: owner, Epoch: 1, Released: true}))
	}
	var todo []Effect
	moved, most := 0, 0
	feed := func(ev Event) {
		now += Millisecond / 10
		todo = append(todo, c.Step(now, ev)...)
	}
	feed(Snapshot{Rev: rev, Changes: all})
	feed(Elected{term})
	for i := range lost {
		m := gateway(i)
		feed(Changed{[]Change{write(GatewayRecord{ID: m.Gateway, Incarnation: m.Incarnation, Life: Dead})}})
	}
	for len(todo) > 0 {
		most = max(most, len(todo))
		e := todo[0]
		todo = todo[1:]
		if f, ok := e.(Fence); ok {
			feed(FenceEnded{f.Member, f.Volume, true})
			continue
		}
		p := e.(Propose)
		o, ok := p.Txn.Puts[0].(OwnerRecord)
		for _, g := range p.Txn.Guards {
			ok = ok && recs[g.Key] == g.Rev
		}
		if !ok {
			t.Fatalf("%+v is not a grant with guards that hold", p.Txn)
		}
		moved++
		load[o.Owner.Gateway]--
		load[o.To.Gateway]++
		ch := write(o)
		feed(Answered{p.ID, Committed, rev})
		active := o
		active.State, active.Owner, active.To = Active, o.To, Member{}
		feed(Changed{[]Change{ch, write(active)}})
	}
	if want := volumes / gateways * lost; moved != want {
		t.Errorf("%d moves for %d volumes that lost their owner", moved, want)
	}
	if most > 2*64 {
		t.Errorf("%d effects were under way at one time", most)
	}
	for i := range gateways {
		n := load[gateway(i).Gateway]
		if i < lost && n != 0 || i >= lost && (n < 111 || n > 112) {
			t.Errorf("%v has %d volumes", gateway(i), n)
		}
	}
}
