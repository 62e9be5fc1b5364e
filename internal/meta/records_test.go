package meta

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sango/internal/san"
)

// What others write beside the configuration does not keep a watch from
// reaching the revision that Current told.
func currentReachesTheWatch(t *testing.T, s, s2 *Store) {
	snap, err := s2.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	told, ended := make(chan int64, 100), make(chan error, 1)
	go func() {
		ended <- s2.Watch(ctx, snap.Revision, func(rev int64, _ []Change) error {
			told <- rev
			return nil
		})
	}()
	for i := range 6 {
		if _, err := s.kv.Put(t.Context(), []string{"/elsewhere", live + "x"}[i%2], "x"); err != nil {
			t.Fatal(err)
		}
		rev, err := s2.Current(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for got := int64(0); got < rev; {
			got = <-told
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// register adds a gateway and returns it.
func register(t *testing.T, s *Store, name string) *Gateway {
	t.Helper()
	var g *Gateway
	update(t, s, func(tx *Tx) error {
		g = &Gateway{Name: name, Portals: []Portal{{Name: "a", Listen: "127.0.0.1:1", Advertise: "127.0.0.1:1"}}}
		return tx.Register(g)
	})
	return g
}

// A name belongs to one directory; the one that is alone has it by its claim.
func namesHaveOneDirectory(t *testing.T, s, s2 *Store) {
	add := func(s *Store, node san.UUID) (g *Gateway, err error) {
		g = &Gateway{Name: "gw1", Node: node, Portals: []Portal{{Name: "a"}}}
		return g, s.Update(t.Context(), func(tx *Tx) error { return tx.Register(g) })
	}
	node, other := san.NewUUID(), san.NewUUID()
	first, err := add(s, node)
	if err != nil {
		t.Fatal(err)
	}
	if g, err := add(s2, node); err != nil || g.Group != first.Group || g.Portals[0].TPG != first.Portals[0].TPG {
		t.Errorf("the same again: %+v after %+v, %v", g, first, err)
	}
	if _, err := add(s2, other); !errors.Is(err, san.ErrRefused) {
		t.Errorf("another directory under the name: %v", err)
	}
	if err := s2.Claim(t.Context(), &Claim{Node: other, Gateway: "gw1"}); err != nil {
		t.Fatal(err)
	}
	if _, err := add(s2, other); err != nil {
		t.Errorf("another directory with the claim: %v", err)
	}
}

// change makes a change that is to be made.
func change1(t *testing.T, s *Store, guards []Guard, changes ...Record) int64 {
	t.Helper()
	rev, made, err := s.Change(t.Context(), guards, changes)
	if err != nil || !made {
		t.Fatal(made, err)
	}
	return rev
}

func incarnationRecord(gateway string, n uint64, life Life) Record {
	return Record{RecordKey: RecordKey{RecordIncarnation, gateway}, Value: &Incarnation{Number: n, Life: life}}
}

// A change is made where all guards hold, and as a whole.
func changesAreGuarded(t *testing.T, s, s2 *Store) {
	v := volume(t, s, "disk1")
	gw := RecordKey{RecordIncarnation, "gw1"}
	owner := RecordKey{RecordOwner, v.ID.String()}
	born := change1(t, s, []Guard{{gw, 0}}, incarnationRecord("gw1", 1, Alive))
	beat := Record{RecordKey: RecordKey{RecordBeat, "gw1"}, Value: &Beat{Incarnation: 1, Count: 1, Suspects: []Suspect{{"gw2", 7}}}}
	change1(t, s2, []Guard{{gw, born}}, beat)
	a1 := Record{RecordKey: owner, Value: &Owner{State: OwnerActive, Gateway: "gw1", Incarnation: 1, Epoch: 1, Failed: "gw3"}}
	at := change1(t, s, []Guard{{gw, born}, {owner, 0}}, a1)
	if _, made, err := s2.Change(t.Context(), []Guard{{gw, born}, {owner, 0}}, []Record{a1}); err != nil || made {
		t.Errorf("granted twice: %v, %v", made, err)
	}
	over := change1(t, s2, []Guard{{gw, born}}, incarnationRecord("gw1", 1, Dead))
	if _, made, err := s.Change(t.Context(), []Guard{{gw, born}}, []Record{beat}); err != nil || made {
		t.Errorf("a dead gateway beats: %v, %v", made, err)
	}
	now, got, err := s.Records(t.Context(), owner, RecordKey{RecordBeat, "gw1"}, gw, RecordKey{Kind: RecordCounter}, RecordKey{RecordDrain, "gw1"})
	if err != nil || now < over {
		t.Fatal(now, err)
	}
	a1.Revision, a1.Value.(*Owner).Revision = at, at
	if d := cmp.Diff(a1, got[0]); d != "" {
		t.Error(d)
	}
	beat.Revision = got[1].Revision
	if d := cmp.Diff(beat, got[1]); d != "" {
		t.Error(d)
	}
	if i := got[2].Value.(*Incarnation); i.Life != Dead || got[2].Revision != over || got[3].Value != nil || got[4].Value != nil {
		t.Errorf("%+v", got[2:])
	}
	// What is deleted is guarded by its absence.
	change1(t, s, []Guard{{gw, over}}, Record{RecordKey: gw})
	change1(t, s, []Guard{{gw, 0}}, incarnationRecord("gw1", 2, Alive))
	update(t, s, func(tx *Tx) error { return tx.DeleteVolume(v.ID) })
	if _, got, err = s2.Records(t.Context(), owner); err != nil || got[0].Value != nil {
		t.Errorf("a deleted volume has an owner: %+v, %v", got, err)
	}
}

// The reservations that an owner keeps are those that a node has that serves
// alone, and the other way round.
func reservationsGoBothWays(t *testing.T, s, s2 *Store) {
	v := volume(t, s, "disk1")
	key := RecordKey{RecordReserved, v.ID.String()}
	u := s.Unit(v.ID)
	if err := u.Save("reservations", []byte(`{"version":1}`)); err != nil {
		t.Fatal(err)
	}
	_, got, err := s2.Records(t.Context(), key)
	if err != nil || got[0].Value.(*Reserved).Epoch != 0 || string(got[0].Value.(*Reserved).Data) != `{"version":1}` {
		t.Fatalf("%+v, %v", got, err)
	}
	change1(t, s2, []Guard{{key, got[0].Revision}}, Record{RecordKey: key, Value: &Reserved{Epoch: 3, Data: []byte(`{"version":1,"x":2}`)}})
	if err := u.Save("reservations", nil); !errors.Is(err, san.ErrRefused) {
		t.Errorf("Save over an unseen value: %v", err)
	}
	if b, err := s.Unit(v.ID).Load("reservations"); err != nil || string(b) != `{"version":1,"x":2}` {
		t.Errorf("Load = %q, %v", b, err)
	}
	early, err := s.Units(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if b, err := early.Unit(v.ID).Load("reservations"); err != nil || string(b) != `{"version":1,"x":2}` {
		t.Errorf("Load at the start = %q, %v", b, err)
	}
}

// A gateway that is not the owner any more changes nothing that a unit keeps.
func savesUnderOneOwner(t *testing.T, s, s2 *Store) {
	v := volume(t, s, "disk1")
	owner := RecordKey{RecordOwner, v.ID.String()}
	at := change1(t, s, []Guard{{owner, 0}}, Record{RecordKey: owner, Value: &Owner{State: OwnerActive, Gateway: "a", Incarnation: 1, Epoch: 1}})
	u, u2 := s.Unit(v.ID), s2.Unit(v.ID)
	u.Own(at)
	if err := u.Save("mode-pages", []byte("a")); err != nil {
		t.Fatal(err)
	}
	at = change1(t, s2, []Guard{{owner, at}}, Record{RecordKey: owner, Value: &Owner{State: OwnerActive, Gateway: "b", Incarnation: 2, Epoch: 2}})
	if err := u.Save("mode-pages", []byte("late")); !errors.Is(err, san.ErrRefused) {
		t.Errorf("Save of the former owner = %v", err)
	}
	u2.Own(at)
	if b, err := u2.Load("mode-pages"); err != nil || string(b) != "a" {
		t.Errorf("Load = %q, %v", b, err)
	}
	if err := u2.Save("mode-pages", []byte("b")); err != nil {
		t.Error(err)
	}
}

// One is coordinator at a time; the next has a higher term, and the last one
// decides nothing any more.
func oneCoordinator(t *testing.T, s, s2 *Store) {
	const ttl = time.Minute
	first, err := s.Campaign(t.Context(), Coordinator{Gateway: "a", Incarnation: 1}, ttl)
	if err != nil {
		t.Fatal(err)
	}
	elected := make(chan *Office, 1)
	go func() {
		o, err := s2.Campaign(t.Context(), Coordinator{Gateway: "b", Incarnation: 2}, ttl)
		if err != nil {
			t.Error(err)
		}
		elected <- o
	}()
	decide := func(s *Store, o *Office) bool {
		_, made, err := s.Change(t.Context(), []Guard{{RecordKey{Kind: RecordCoordinator}, o.Term}}, []Record{{RecordKey: RecordKey{RecordDrain, "x"}, Value: &Drain{}}})
		if err != nil {
			t.Error(err)
		}
		return made
	}
	if !decide(s, first) {
		t.Error("the coordinator decides nothing")
	}
	first.Resign(t.Context())
	<-first.Lost()
	second := <-elected
	if second == nil {
		t.FailNow()
	}
	if second.Term <= first.Term {
		t.Errorf("term %d after %d", second.Term, first.Term)
	}
	if decide(s, first) || !decide(s2, second) {
		t.Error("the wrong one decides")
	}
	_, got, err := s.Records(t.Context(), RecordKey{Kind: RecordCoordinator})
	if c, ok := got[0].Value.(*Coordinator); err != nil || !ok || c.Gateway != "b" || c.Term != second.Term {
		t.Errorf("%+v, %v", got, err)
	}
	second.Resign(t.Context())
}

// stream follows a store, and keeps what it is told.
type stream struct {
	told  chan Record
	at    chan int64
	ended chan error
}

func follow(t *testing.T, s *Store, everything bool) (first []Record, st *stream) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	st = &stream{told: make(chan Record, 1000), at: make(chan int64, 1000), ended: make(chan error, 1)}
	whole := make(chan []Record, 1)
	last := int64(0)
	go func() {
		st.ended <- s.Follow(ctx, everything, func(rev int64, all bool, records []Record) error {
			if rev < last || rev == last && len(records) > 0 {
				t.Errorf("revision %d after %d", rev, last)
			}
			last = rev
			if all {
				whole <- records
				return nil
			}
			for _, r := range records {
				st.told <- r
			}
			st.at <- rev
			return nil
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-st.ended; err != nil {
			t.Error(err)
		}
	})
	return <-whole, st
}

// One stream has it all, in the order in which it was made; heartbeats for
// those who want them.
func followTellsAllInOrder(t *testing.T, s, s2 *Store) {
	v := volume(t, s, "disk1")
	change1(t, s, nil, incarnationRecord("a", 1, Alive))
	beat := Record{RecordKey: RecordKey{RecordBeat, "a"}, Value: &Beat{Incarnation: 1}}
	change1(t, s, nil, beat)
	kinds := func(l []Record) (k []RecordKind) {
		for _, r := range l {
			k = append(k, r.Kind)
		}
		slices.Sort(k)
		return k
	}
	some, part := follow(t, s2, false)
	every, full := follow(t, s2, true)
	if want := []RecordKind{RecordIncarnation, RecordVolume}; !slices.Equal(kinds(some), want) {
		t.Errorf("the beginning: %v", kinds(some))
	}
	if want := []RecordKind{RecordBeat, RecordIncarnation, RecordVolume}; !slices.Equal(kinds(every), want) {
		t.Errorf("the beginning of everything: %v", kinds(every))
	}
	owner := Record{RecordKey: RecordKey{RecordOwner, v.ID.String()}, Value: &Owner{State: OwnerActive, Gateway: "a", Incarnation: 1, Epoch: 1}}
	var want []Record
	for _, r := range []Record{
		beat, owner,
		{RecordKey: RecordKey{RecordDrain, "a"}, Value: &Drain{}},
		beat,
		{RecordKey: RecordKey{RecordDrain, "a"}},
		{RecordKey: RecordKey{RecordHarmless, "a"}, Value: &Harmless{UpTo: 4}},
		{RecordKey: RecordKey{Kind: RecordCounter}, Value: uint64(8)},
		{RecordKey: RecordKey{RecordBusy, "a"}, Value: &Busy{Volumes: map[san.UUID]int{v.ID: 5}}},
	} {
		r.Revision = change1(t, s, nil, r)
		if o, ok := r.Value.(*Owner); ok {
			o.Revision = r.Revision
		}
		want = append(want, r)
	}
	change1(t, s, nil, Record{RecordKey: RecordKey{RecordReserved, v.ID.String()}, Value: &Reserved{Epoch: 1}}) // not told
	if err := s.Passing(t.Context(), Record{RecordKey: RecordKey{RecordAsk, v.ID.String()}, Value: &Ask{To: "a"}}, 60); err != nil {
		t.Fatal(err)
	}
	for _, w := range want {
		for _, st := range []*stream{full, part} {
			if st == part && (w.Kind == RecordBeat || w.Kind == RecordBusy) {
				continue
			}
			if d := cmp.Diff(w, <-st.told); d != "" {
				t.Errorf("%v: %s", w.RecordKey, d)
			}
		}
	}
	if r := <-full.told; r.Kind != RecordAsk || r.Value.(*Ask).To != "a" {
		t.Errorf("%+v", r)
	}
	// Both reach what is current, whatever was written last.
	now, err := s2.Current(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range []*stream{full, part} {
		for at := int64(0); at < now; {
			at = <-st.at
		}
	}
	if len(part.told) > 0 {
		t.Errorf("told besides: %+v", <-part.told)
	}
}

// A volume has its place in a store that all can read.
func TestPlaceVolume(t *testing.T) {
	s := fresh(t)
	v := volume(t, s, "disk1")
	place := func(f san.Fencing, prefer ...string) error {
		return s.Update(t.Context(), func(tx *Tx) error { return tx.PlaceVolume(v.ID, f, prefer) })
	}
	if err := place(san.FenceCommand, "gw2", "gw1"); err != nil {
		t.Fatal(err)
	}
	if err := place("magic"); !errors.Is(err, san.ErrInvalid) {
		t.Errorf("an unknown fencing: %v", err)
	}
	if err := place(san.FenceNone, "no name"); !errors.Is(err, san.ErrInvalid) {
		t.Errorf("a gateway that can't be: %v", err)
	}
	snap, err := s.Load(t.Context())
	if got := snap.Volumes[v.ID]; err != nil || got.Fencing != san.FenceCommand || !slices.Equal(got.Prefer, []string{"gw2", "gw1"}) {
		t.Errorf("%+v, %v", snap.Volumes[v.ID], err)
	}
	update(t, s, func(tx *Tx) error { return tx.put("schema", 2) })
	if err := place(san.FenceNone); !errors.Is(err, san.ErrRefused) {
		t.Errorf("a place that others can't read: %v", err)
	}
	if err := s.Clustered(t.Context()); !errors.Is(err, san.ErrRefused) {
		t.Errorf("Clustered of version 2 = %v", err)
	}
}
