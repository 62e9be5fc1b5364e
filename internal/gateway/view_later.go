package gateway

import (
	"context"
	"slices"

	"sango/internal/lun"
	"sango/internal/san"
)

// What is taken away from hosts may have tasks left, and these end when their
// store likes. The view does not stand still for that: each target and volume
// waits for its own, and so does who wants to know that a change is in effect.
// Until its tasks have ended, a volume gets no other unit, and a target that was
// deleted no other LUN map.

// effect is a batch of changes that is being put into effect.
type effect struct {
	revision int64
	left     int // what it waits for; guarded by view.mu
}

// delay is what a target or a volume waits for.
type delay struct {
	left    int       // former ones of a target; guarded by view.still
	waiting []waiting // guarded by view.still
}

// waiting is a LUN map that can't be set as it should be yet.
type waiting struct {
	e    *effect
	name string // of the target
}

// begin begins an effect, which is to be ended with end.
func (v *view) begin(revision int64) *effect {
	v.mu.Lock()
	defer v.mu.Unlock()
	e := &effect{revision: revision, left: 1}
	v.effects = append(v.effects, e)
	return e
}

// more has e wait for one more end.
func (v *view) more(e *effect) {
	v.mu.Lock()
	defer v.mu.Unlock()
	e.left++
}

// end ends something that e waits for. A revision is in effect when all are that
// came before it. Of those behind one that waits, the last in a row that has ended
// stands for the row: heartbeats go on coming.
func (v *view) end(e *effect) {
	v.mu.Lock()
	defer v.mu.Unlock()
	e.left--
	kept := v.effects[:0]
	for _, e := range v.effects {
		switch last := len(kept) - 1; {
		case e.left == 0 && last < 0:
			v.revision = e.revision
		case e.left == 0 && kept[last].left == 0:
			kept[last] = e
		default:
			kept = append(kept, e)
		}
	}
	clear(v.effects[len(kept):])
	v.effects = kept
	v.wake()
}

// ended reports whether what the change of revision own took away has ended; own
// 0: all up to revision. They are applied. v.mu is held.
func (v *view) ended(revision, own int64) bool {
	if own == 0 {
		return v.revision >= revision
	}
	if own < 0 {
		return true
	}
	at := slices.IndexFunc(v.effects, func(e *effect) bool { return e.revision >= own })
	return at < 0 || v.effects[at].left == 0
}

// after has e wait until f, which may take as long as it likes, is done.
func (v *view) after(e *effect, f func()) {
	v.more(e)
	v.later.Go(func() {
		defer v.end(e)
		f()
	})
}

// holds reports whether there is d: then the LUN map of a target is set again
// when that is over, and e waits for it. v.still is held.
func (d *delay) holds(v *view, e *effect, name string) bool {
	if d == nil {
		return false
	}
	v.more(e)
	d.waiting = append(d.waiting, waiting{e, name})
	return true
}

// over ends d, which was taken out of its map; volumes: nobody waits yet for those
// that LUNs are to be made of. v.still is held.
func (v *view) over(d *delay, volumes bool) {
	for _, w := range d.waiting {
		v.setMap(w.e, w.name, func(san.UUID) bool { return volumes })
	}
	if len(d.waiting) > 0 && v.n.member == nil {
		v.setGroups()
	}
	for _, w := range d.waiting {
		v.end(w.e)
	}
}

// leave has e wait for what a change of a LUN map has to. v.still is held.
func (v *view) leave(e *effect, all []lun.Ending) {
	if len(all) == 0 {
		return
	}
	v.mu.RLock()
	for _, x := range all {
		if u := v.units[x.Unit.Volume().ID]; u != nil && u.unit == x.Unit {
			u.gone = append(slices.DeleteFunc(u.gone, isClosed), x.Done)
		}
	}
	v.mu.RUnlock()
	v.after(e, func() {
		for _, x := range all {
			<-x.Done
		}
	})
}

// rest keeps a volume without a unit until over is called: the LUNs that map it
// are seen then. A unit that it has is waited for, until ctx is done.
func (v *view) rest(ctx context.Context, id san.UUID) (over func(), err error) {
	for {
		v.still.Lock()
		v.mu.RLock()
		busy, moved := v.units[id] != nil, v.moved
		v.mu.RUnlock()
		if !busy && v.closes[id] == nil {
			d := &delay{}
			v.closes[id] = d
			v.still.Unlock()
			return func() {
				v.still.Lock()
				defer v.still.Unlock()
				delete(v.closes, id)
				v.over(d, false)
				v.mu.Lock()
				defer v.mu.Unlock()
				v.wake()
			}, nil
		}
		v.still.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
			return nil, san.Errorf(san.ErrUnavailable, "commands of hosts to the volume have not ended yet: %v", ctx.Err())
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// endTarget ends what a target that is gone has left. v.still is held.
func (v *view) endTarget(e *effect, s *served) {
	all := s.target.ChangeMap(nil)
	v.leave(e, all)
	name := s.rec.Name
	gone, d := v.n.dropTarget(name), v.ends[name]
	if d == nil {
		d = &delay{}
		v.ends[name] = d
	}
	d.left++
	v.after(e, func() {
		for _, x := range all {
			<-x.Done
		}
		gone()
		v.still.Lock()
		defer v.still.Unlock()
		if d.left--; d.left == 0 {
			delete(v.ends, name)
			v.over(d, true)
		}
	})
}

// closeUnused closes the units that no LUN maps any more. v.still is held.
func (v *view) closeUnused(e *effect) {
	v.mu.Lock()
	used := map[san.UUID]bool{}
	for _, s := range v.targets {
		for _, m := range s.luns {
			used[m.Volume] = true
		}
	}
	var idle []*unit
	for id, u := range v.units {
		if !used[id] {
			idle = append(idle, u)
			delete(v.units, id)
		}
	}
	v.mu.Unlock()
	for _, u := range idle {
		id, gone, d := u.unit.Volume().ID, u.gone, &delay{}
		v.closes[id] = d
		v.after(e, func() {
			for _, c := range gone {
				<-c
			}
			v.closeUnit(u)
			v.still.Lock()
			defer v.still.Unlock()
			delete(v.closes, id)
			v.over(d, false)
		})
	}
}

// closeUnit closes a unit that no LUN maps any more.
func (v *view) closeUnit(u *unit) {
	if m := v.n.member; m != nil {
		m.detach(u)
	}
	if err := u.unit.Close(); err != nil {
		v.n.cfg.Log.Error("volume did not close cleanly", "volume", u.unit.Volume().Name, "error", err)
	}
}

// close takes all LUNs away and closes all units.
func (v *view) close() {
	v.still.Lock()
	v.mu.Lock()
	targets, e := v.targets, &effect{revision: v.access, left: 1}
	v.targets = map[string]*served{}
	v.effects = append(v.effects, e)
	v.mu.Unlock()
	for _, s := range targets {
		v.leave(e, s.target.ChangeMap(nil))
	}
	v.closeUnused(e)
	v.end(e)
	v.still.Unlock()
	v.later.Wait()
}
