package model

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// simStore is a linearizable store with guarded transactions, and the judge of
// what is written into it.
type simStore struct {
	w    *world
	rev  Revision
	recs map[Key]entry

	moves  map[Reason]int // moves and grants by reason
	lost   int            // volumes whose owner, or the one who was to be, died
	deaths map[Reason]int // declared
	last   Instant        // the last change of ownership
}

type entry struct {
	rev Revision
	rec Record
}

func newSimStore(w *world) *simStore {
	return &simStore{w: w, recs: map[Key]entry{}, moves: map[Reason]int{}, deaths: map[Reason]int{}}
}

// apply does a transaction if its guards hold.
func (s *simStore) apply(t Txn) (Revision, bool) {
	for _, g := range t.Guards {
		if s.recs[g.Key].rev != g.Rev {
			return 0, false
		}
	}
	s.rev++
	var told []Change
	for _, r := range t.Puts {
		s.judge(t, r)
		s.recs[r.Key()] = entry{s.rev, r}
		told = append(told, Change{Rev: s.rev, Key: r.Key(), Record: r})
	}
	for _, k := range t.Deletes {
		s.guarded(t, k)
		delete(s.recs, k)
		told = append(told, Change{Rev: s.rev, Key: k})
	}
	s.w.traceTxn(t)
	for _, p := range s.w.procs {
		p.stream(told)
	}
	return s.rev, true
}

// put writes what the machines do not: the work of administrators.
func (s *simStore) put(r Record) Revision {
	rev, _ := s.apply(Txn{Guards: []Guard{{r.Key(), s.recs[r.Key()].rev}}, Puts: []Record{r}})
	return rev
}

func (s *simStore) del(k Key) {
	s.apply(Txn{Guards: []Guard{{k, s.recs[k].rev}}, Deletes: []Key{k}})
}

// snapshot is everything, in the order of keys.
func (s *simStore) snapshot() Snapshot {
	snap := Snapshot{Rev: s.rev}
	keys := slices.SortedFunc(maps.Keys(s.recs), func(a, b Key) int {
		return strings.Compare(fmt.Sprint(a), fmt.Sprint(b))
	})
	for _, k := range keys {
		snap.Changes = append(snap.Changes, Change{Rev: s.recs[k].rev, Key: k, Record: s.recs[k].rec})
	}
	return snap
}

func (s *simStore) owner(id volumeID) OwnerRecord {
	o, _ := s.recs[OwnerRecord{Volume: id}.Key()].rec.(OwnerRecord)
	return o
}

func (s *simStore) gone(m Member) bool {
	g, ok := s.recs[GatewayRecord{ID: m.Gateway}.Key()].rec.(GatewayRecord)
	return !ok || g.Incarnation != m.Incarnation || g.Life != Alive
}

func (s *simStore) guarded(t Txn, k Key) {
	if k.Kind == KindBeat {
		k.Kind = KindGateway
	}
	for _, g := range t.Guards {
		if g.Key == k {
			return
		}
	}
	if s.w.set.off == 0 {
		s.w.fail("a transaction changes %v without a guard: %+v", k, t)
	}
}

// judge looks at what a record becomes.
func (s *simStore) judge(t Txn, r Record) {
	s.guarded(t, r.Key())
	switch r := r.(type) {
	case GatewayRecord:
		old, _ := s.recs[r.Key()].rec.(GatewayRecord)
		if old.Life != Alive || r.Life == Alive && r.Incarnation == old.Incarnation {
			break
		}
		s.judgeDeath(r)
		for _, v := range s.w.volumes {
			if o := s.owner(v); o.Owner == old.Member() && !(o.State == Moving && o.Released) || o.To == old.Member() {
				s.lost++
			}
		}
	case OwnerRecord:
		s.judgeOwner(r)
	}
}

// judgeDeath looks at a declaration: who is suspected is so by two that live.
func (s *simStore) judgeDeath(r GatewayRecord) {
	if r.Life != Dead {
		return
	}
	s.deaths[r.Why]++
	if r.Why != ReasonSuspected {
		return
	}
	others := 0
	for _, e := range s.recs {
		if g, ok := e.rec.(GatewayRecord); ok && g.ID != r.ID && g.Life == Alive {
			others++
		}
	}
	if others < 2 {
		s.w.fail("%v is declared dead for suspicion, and %d others live", r.Member(), others)
	}
}

func (s *simStore) judgeOwner(r OwnerRecord) {
	s.last = s.w.now
	old := s.owner(r.Volume)
	granted := r.State == Moving && (old.State != Moving || old.To != r.To || old.Epoch != r.Epoch)
	want := old.Epoch
	if granted {
		want++
	}
	if r.Epoch != want && s.w.set.off == 0 {
		s.w.fail("%s: epoch %d follows %d: %s after %s", name(r.Volume), r.Epoch, old.Epoch, showOwner(r), showOwner(old))
	}
	if !granted {
		return
	}
	s.moves[r.Reason]++
	because := false
	switch r.Reason {
	case ReasonDead:
		because = s.gone(old.Owner) || s.gone(old.To)
	case ReasonDrain, ReasonBalance, ReasonFailback, ReasonAsked:
		because = old.State == Active && !r.Released
	case ReasonNew, ReasonLeft, ReasonFailed:
		because = old.State == Free
	}
	if !because && s.w.set.off == 0 {
		s.w.fail("%s moves without a reason: %s after %s", name(r.Volume), showOwner(r), showOwner(old))
	}
}
