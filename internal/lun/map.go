package lun

import (
	"slices"

	"sango/internal/san"
)

// Ending is what a change of a LUN map waits for.
type Ending struct {
	Unit *Unit
	// Done is closed when no task that came to the unit through a LUN that is gone
	// can touch the medium, or the unit can be seen where that had to be waited for.
	Done <-chan struct{}
}

// seat is a LUN as one nexus sees it.
type seat struct {
	nexus san.NexusID
	lun   san.LUN
}

// leaving is an I_T_L nexus whose LUN is gone.
type leaving struct {
	itl  *itl
	done chan struct{}
}

// SetMap is ChangeMap, and waits for all that it returns.
func (t *Target) SetMap(m map[san.LUN]MapEntry) {
	for _, e := range t.ChangeMap(m) {
		<-e.Done
	}
}

// ChangeMap replaces the LUN map. Every nexus whose visible LUNs change gets
// unit attention 3F/0E; tasks of a LUN that is gone are ended (those that execute
// go on to their end), and later commands end with LOGICAL UNIT NOT SUPPORTED.
// Sessions that see another volume at the same LUN end: of the commands that
// are on their way to the old one the unit attentions would stop but a few.
//
// It does not wait for those tasks, which may take as long as a store likes:
// that is for the caller, for each unit by itself. A nexus that has such a task
// sees nothing at that LUN before it has ended.
func (t *Target) ChangeMap(m map[san.LUN]MapEntry) (ending []Ending) {
	t.change.Lock()
	defer t.change.Unlock()
	for _, tr := range t.mistaken(m) { // before the first can reach the new one
		tr.Drop("another volume is at a LUN of this session")
	}
	var gone []*itl
	t.mu.Lock()
	old := t.luns
	t.luns = make(map[san.LUN]MapEntry, len(m))
	for l, e := range m {
		e.Hosts = slices.Clone(e.Hosts)
		t.luns[l] = e
	}
	for at, w := range t.leaving {
		if e, was := m[at.lun], old[at.lun]; e.Unit != nil && (e.Unit != was.Unit || !slices.Equal(e.Hosts, was.Hosts)) {
			ending = append(ending, Ending{e.Unit, w.done})
		}
	}
	for _, n := range t.nexuses {
		if !n.closed {
			gone = append(gone, t.refresh(n, nil)...)
		}
	}
	all := make([]*leaving, len(gone))
	for k, i := range gone {
		all[k] = &leaving{i, make(chan struct{})}
		t.leaving[seat{i.nexus.id, i.lun}] = all[k]
	}
	t.mu.Unlock()
	for _, w := range all {
		ended := make(chan struct{})
		f := newFence(func() { close(ended) })
		w.itl.retire(f)
		f.end()
		select {
		case <-ended:
			t.left(w)
		default:
			ending = append(ending, Ending{w.itl.unit, w.done})
			if e := m[w.itl.lun]; e.Unit != nil && e.Unit != w.itl.unit {
				ending = append(ending, Ending{e.Unit, w.done})
			}
			go func() {
				<-ended
				t.left(w)
			}()
		}
	}
	return ending
}

// left lets go of an I_T_L nexus whose LUN is gone, when its tasks have ended.
// What is at that LUN now is seen from then on.
func (t *Target) left(w *leaving) {
	i := w.itl
	if i.unit.part(i, nil) {
		i.unit.nexusLost(i, nil)
	}
	t.mu.Lock()
	delete(t.leaving, seat{i.nexus.id, i.lun})
	if n := t.nexuses[i.nexus.id]; n != nil && !n.closed && t.luns[i.lun].Unit != nil {
		t.refresh(n, i) // shows what is there, and takes nothing away
	}
	t.mu.Unlock()
	close(w.done)
}
