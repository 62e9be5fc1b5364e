package lun

import (
	"errors"
	"slices"
	"sync"

	"sango/internal/san"
	"sango/internal/scsi"
)

// ErrNexuses is returned by Attach when the target has as many nexuses as it
// may have.
var ErrNexuses = errors.New("the target has as many sessions as its limit allows; log one out, or raise the limit")

// ErrNexusExists is returned by Attach when a nexus of this name is attached,
// or its tasks have not all ended: the transport detaches the old session
// first (session reinstatement, DESIGN R4(e)).
var ErrNexusExists = errors.New("a session of the same initiator port and target port is attached")

// Target is a SCSI target device: a LUN map and the nexuses that look at
// units through it. Its methods may be called from any goroutine.
type Target struct {
	name string
	o    TargetOptions

	change sync.Mutex // one ChangeMap at a time

	mu      sync.Mutex // guards the fields below; taken before an itl's
	luns    map[san.LUN]MapEntry
	nexuses map[san.NexusID]*Nexus
	past    []san.NexusID     // nexuses that were attached once, the latest last
	leaving map[seat]*leaving // whose LUN is gone, and which have tasks left
}

// maxPast bounds the nexuses that are remembered, so that they are not told of
// a power on when they come back.
const maxPast = 256

// MapEntry is what a LUN stands for.
type MapEntry struct {
	Unit  *Unit
	Hosts []string // names of hosts that see it; nil: every host
}

func (e MapEntry) visible(host string) bool { return e.Hosts == nil || slices.Contains(e.Hosts, host) }

// NewTarget returns a target named name (its IQN) without LUNs.
func NewTarget(name string, o TargetOptions) *Target {
	return &Target{name: name, o: o.withDefaults(), nexuses: map[san.NexusID]*Nexus{}, leaving: map[seat]*leaving{}}
}

// Name returns the target's IQN.
func (t *Target) Name() string { return t.name }

// Attach adds a nexus after its login reached the full feature phase. host is
// the name of the host it belongs to ("" where the target is open).
func (t *Target) Attach(id san.NexusID, host string, tr Transport) (*Nexus, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.nexuses[id] != nil {
		return nil, ErrNexusExists
	}
	if len(t.nexuses) >= t.o.Nexuses {
		return nil, ErrNexuses
	}
	n := &Nexus{id: id, host: host, target: t, tr: tr}
	n.fencer, _ = tr.(Fencer)
	first, told := t.firstAttention(id)
	v, _ := t.look(n, &view{})
	n.view.Store(v) // an owner elsewhere may have something to say as soon as it knows of n
	for _, i := range v.all {
		if told {
			i.attn.raise(first)
		}
		i.unit.join(i)
	}
	t.nexuses[id] = n
	return n, nil
}

// firstAttention returns what a nexus is told first, if anything: a power on
// is news to an initiator but once a port (SAM-5 §6.2), the loss of a nexus to
// the same nexus when it is back (SAM-5 §6.3.4). An initiator that takes a new
// ISID for each session, as libiscsi does, has a new nexus each time, that
// lost nothing. Call with the lock.
func (t *Target) firstAttention(id san.NexusID) (c scsi.ASC, ok bool) {
	if slices.Contains(t.past, id) {
		return scsi.ASCNexusLoss, true
	}
	same := func(o san.NexusID) bool { return o.Initiator.Name == id.Initiator.Name && o.Target == id.Target }
	if slices.ContainsFunc(t.past, same) {
		return 0, false
	}
	for o := range t.nexuses {
		if same(o) {
			return 0, false
		}
	}
	return scsi.ASCPowerOnOrReset, true
}

func (t *Target) remember(id san.NexusID) {
	if i := slices.Index(t.past, id); i >= 0 {
		t.past = slices.Delete(t.past, i, i+1)
	}
	if len(t.past) == maxPast {
		t.past = slices.Delete(t.past, 0, 1)
	}
	t.past = append(t.past, id)
}

// look returns what n sees of the map now. What it sees of the same unit at
// the same LUN as in old stays the same itl; gone are the others of old.
func (t *Target) look(n *Nexus, old *view) (v *view, gone []*itl) {
	v = &view{all: map[san.LUN]*itl{}}
	for l, e := range t.luns {
		if e.Unit == nil || !e.visible(n.host) || t.leaving[seat{n.id, l}] != nil {
			continue
		}
		i := old.all[l]
		if i != nil && i.unit != e.Unit {
			continue // when that has left
		}
		if i == nil {
			i = &itl{nexus: n, unit: e.Unit, lun: l}
			i.login.Store(NewLogin())
		}
		v.all[l] = i
		if l < lowLUNs {
			v.low[l] = i
		}
		v.luns = append(v.luns, l)
	}
	slices.Sort(v.luns)
	for l, i := range old.all {
		if v.all[l] != i {
			gone = append(gone, i)
		}
	}
	return v, gone
}

// mistaken returns the sessions that would see another volume by m where they
// see one now.
func (t *Target) mistaken(m map[san.LUN]MapEntry) (all []Transport) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, n := range t.nexuses {
		if n.closed {
			continue
		}
		for l, i := range n.view.Load().all {
			if e := m[l]; e.Unit != nil && e.Unit != i.unit && e.visible(n.host) {
				all = append(all, n.tr)
				break
			}
		}
	}
	return all
}

// refresh brings the view of n up to date; was, unless nil, has just left it. Call
// with the lock.
func (t *Target) refresh(n *Nexus, was *itl) (gone []*itl) {
	old := n.view.Load()
	v, gone := t.look(n, old)
	changed := len(gone) > 0
	for l, i := range v.all {
		if old.all[l] == i {
			continue
		}
		changed = true
		i.attn.raise(scsi.ASCPowerOnOrReset)
		if was != nil && was.lun == l && was.unit != i.unit {
			i.attn.raise(scsi.ASCInquiryDataChanged)
		}
		i.unit.join(i)
	}
	if !changed {
		return nil
	}
	for _, i := range gone {
		n.keep(i)
	}
	n.view.Store(v)
	for _, i := range v.all {
		i.attn.raise(scsi.ASCReportedLUNsChanged)
	}
	return gone
}

// ports returns the target port groups of a unit that was told none: all ports
// that have a nexus make up group 1, active/optimized.
func (t *Target) ports() []PortGroup {
	t.mu.Lock()
	defer t.mu.Unlock()
	g := PortGroup{ID: 1}
	for id := range t.nexuses {
		if !slices.Contains(g.Ports, id.Target.TPG) {
			g.Ports = append(g.Ports, id.Target.TPG)
		}
	}
	slices.Sort(g.Ports)
	return []PortGroup{g}
}
