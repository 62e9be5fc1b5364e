package model

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"sango/internal/san"
)

// balanced is a cluster of which a coordinator alone is played: what it proposes
// is done at once.
type balanced struct {
	t       *testing.T
	c       *Coordinator
	now     Instant
	rev     Revision
	owners  map[san.UUID]OwnerRecord
	moves   map[san.UUID]int
	moved   map[san.UUID]Instant
	soonest Instant // between two moves of one volume
}

func newBalanced(t *testing.T, gateways, volumes int) *balanced {
	b := &balanced{t: t, owners: map[san.UUID]OwnerRecord{}, moves: map[san.UUID]int{}, moved: map[san.UUID]Instant{}, soonest: never, now: Second}
	var all []Change
	write := func(r Record) {
		b.rev++
		all = append(all, Change{b.rev, r.Key(), r})
	}
	write(CoordinatorRecord{"g0"})
	for i := range gateways {
		write(GatewayRecord{ID: b.gateway(i), Incarnation: Incarnation(i + 1), Life: Alive})
	}
	for i := range volumes {
		id := b.volume(i)
		b.owners[id] = OwnerRecord{Volume: id, State: Active, Owner: Member{b.gateway(i % gateways), Incarnation(i%gateways + 1)}, Epoch: 1, Released: true}
		write(VolumeRecord{ID: id})
		write(b.owners[id])
	}
	b.elect(all)
	return b
}

func (b *balanced) gateway(i int) GatewayID { return GatewayID(fmt.Sprintf("g%d", i)) }
func (b *balanced) volume(i int) san.UUID   { return san.UUID{0: 1, 14: byte(i >> 8), 15: byte(i)} }

// elect begins with a coordinator that is told all.
func (b *balanced) elect(all []Change) {
	b.c = NewCoordinator(Config{TTL: 1000 * 24 * 3600 * Second}) // nobody is silent
	b.feed(Elected{1})
	b.feed(Snapshot{b.rev, all})
}

// feed has the machine take an event, and does what it says.
func (b *balanced) feed(ev Event) {
	b.now += Millisecond
	for _, e := range b.c.Step(b.now, ev) {
		p, ok := e.(Propose)
		if !ok {
			continue
		}
		o := p.Txn.Puts[0].(OwnerRecord)
		b.moves[o.Volume]++
		if last, ok := b.moved[o.Volume]; ok {
			b.soonest = min(b.soonest, b.now-last)
		}
		b.moved[o.Volume] = b.now
		if o.Reason != ReasonBalance || o.To == o.Owner {
			b.t.Errorf("%+v", o)
		}
		for _, step := range []OwnerRecord{o, {Volume: o.Volume, State: Active, Owner: o.To, Epoch: o.Epoch, Released: true, Reason: o.Reason}} {
			b.rev++
			b.owners[o.Volume] = step
			b.feed(Changed{[]Change{{b.rev, o.Key(), step}}})
		}
		b.feed(Answered{p.ID, Committed, b.rev - 1})
	}
}

// work has gateways tell what work their volumes are, as at says.
func (b *balanced) work(during Instant, at func(i int) int) {
	for end := b.now + during; b.now < end; b.now += 10 * Second {
		all := map[GatewayID]map[san.UUID]int{}
		for i := range len(b.owners) {
			o := b.owners[b.volume(i)]
			g := o.Owner.Gateway
			if all[g] == nil {
				all[g] = map[san.UUID]int{}
			}
			if w := at(i); w > 0 {
				all[g][o.Volume] = w
			}
		}
		for i := range len(b.c.view.gateways) {
			b.feed(Weighed{b.gateway(i), all[b.gateway(i)]})
		}
		b.feed(Tick{})
	}
}

func (b *balanced) total() (n int) {
	for _, m := range b.moves {
		n += m
	}
	return n
}

// has returns what the gateways have.
func (b *balanced) has(work func(i int) int) (volumes, works []int) {
	volumes, works = make([]int, len(b.c.view.gateways)), make([]int, len(b.c.view.gateways))
	for i := range len(b.owners) {
		g := b.owners[b.volume(i)].Owner.Incarnation - 1
		volumes[g]++
		works[g] += work(i)
	}
	return volumes, works
}

// Work that stays as it is is shared, by no more moves than there are busy
// volumes, and then nothing moves any more.
func TestWorkIsShared(t *testing.T) {
	total := 0
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 1))
		gateways := 2 + rng.IntN(6)
		b := newBalanced(t, gateways, gateways*(3+rng.IntN(20)))
		busy := map[int]int{}
		for range rng.IntN(4 * gateways) {
			busy[rng.IntN(len(b.owners))] = 100 + rng.IntN(30000)
		}
		work := func(i int) int { return busy[i] }
		b.work(3600*Second, work)
		before := b.total()
		total += before
		for v, n := range b.moves {
			if n > 2 {
				t.Errorf("seed %d: %v moved %d times", seed, v, n)
			}
		}
		volumes, works := b.has(work)
		b.work(3*3600*Second, work)
		if b.total() != before {
			t.Errorf("seed %d: %d moves, and %d more; %v volumes, %v", seed, before, b.total()-before, volumes, works)
		}
		t.Logf("seed %d: %d busy of %d: %d moves; %v volumes, %v", seed, len(busy), len(b.owners), before, volumes, works)
	}
	if total < 20 {
		t.Errorf("%d moves in all", total)
	}
}

// Loads that change all the time move a volume seldom, and less and less often.
func TestRestlessWork(t *testing.T) {
	for _, every := range []Instant{20 * Second, 60 * Second, 180 * Second, 600 * Second, 3600 * Second} {
		rng := rand.New(rand.NewPCG(uint64(every), 1))
		b := newBalanced(t, 3, 12)
		busy := map[int]int{}
		for range 24 * 3600 * Second / every {
			for i := range 12 {
				busy[i] = rng.IntN(2) * 20000
			}
			b.work(every, func(i int) int { return busy[i] })
		}
		most := 0
		for _, n := range b.moves {
			most = max(most, n)
		}
		if most > 16 || b.soonest < 300*Second {
			t.Errorf("every %d s: %d moves of one volume in a day, or %d s between two", every/Second, most, b.soonest/Second)
		}
	}
}

// A volume that waits to be tried again keeps no other one from being moved.
func TestBalanceBesideOneThatWaits(t *testing.T) {
	b := newBalanced(t, 2, 8)
	b.work(5*60*Second, func(i int) int {
		b.c.again(b.c.volumes[b.volume(7)], b.now+3600*Second) // as one that does not open
		return 20000 * (1 - i%2)
	})
	if b.total() == 0 {
		t.Error("nothing was moved")
	}
}

// Work is told by who has the volume: what a former gateway says does not count,
// and what the new one does not name is idle, after a while.
func TestWhoTells(t *testing.T) {
	b := newBalanced(t, 2, 2)
	id, a, z := b.volume(0), b.gateway(0), b.gateway(1)
	is := func(what string, want int) {
		t.Helper()
		if got := b.c.volumes[id].work; got != want || b.c.load[a].work+b.c.load[z].work != want {
			t.Errorf("%s: %d, want %d; gateways have %v", what, got, want, b.c.load)
		}
	}
	tell := func(g GatewayID, work int) { b.feed(Weighed{g, map[san.UUID]int{id: work}}) }
	is("nobody has told", 0)
	tell(z, 700)
	is("told by another", 0)
	tell(a, 500)
	is("told", 500)
	tell(a, -3)
	is("nonsense", 500)
	tell(a, 600)
	o := b.owners[id]
	o.Owner, o.Epoch = Member{z, 2}, 2
	b.rev++
	b.feed(Changed{[]Change{{b.rev, o.Key(), o}}})
	tell(a, 5)
	b.feed(Weighed{z, nil})
	is("just moved", 600)
	b.work(60*Second, func(int) int { return 0 })
	is("a minute later", 600)
	b.owners[id] = o
	b.work(180*Second, func(int) int { return 0 })
	is("not named", 0)
	tell(z, 40)
	is("told by the new one", 40)
	b.feed(Weighed{z, nil})
	is("not named any more", 0)
}
