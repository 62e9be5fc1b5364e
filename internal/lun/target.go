package lun

import (
	"errors"
	"reflect"
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

	change sync.Mutex // one SetMap at a time

	mu      sync.Mutex // guards the fields below; taken before an itl's
	luns    map[san.LUN]MapEntry
	groups  []PortGroup
	nexuses map[san.NexusID]*Nexus
	past    []san.NexusID // nexuses that were attached once, the latest last
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
	return &Target{name: name, o: o.withDefaults(), nexuses: map[san.NexusID]*Nexus{}}
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
	for _, i := range v.all {
		if told {
			i.attn.raise(first)
		}
		i.unit.join(i)
	}
	n.view.Store(v)
	n.follow(t.groups)
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
		if e.Unit == nil || !e.visible(n.host) {
			continue
		}
		i := old.all[l]
		if i == nil || i.unit != e.Unit {
			i = &itl{nexus: n, unit: e.Unit, lun: l}
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

// SetMap replaces the LUN map. Every nexus whose visible LUNs change gets unit
// attention 3F/0E; tasks of a LUN that is gone are ended (those that execute
// go on to their end), and later commands end with LOGICAL UNIT NOT SUPPORTED.
// Sessions that see another volume at the same LUN end: of the commands that
// are on their way to the old one the unit attentions would stop but a few.
// It returns when no task of a LUN that is gone can touch the medium.
func (t *Target) SetMap(m map[san.LUN]MapEntry) {
	t.change.Lock()
	defer t.change.Unlock()
	for _, tr := range t.mistaken(m) { // before the first can reach the new one
		tr.Drop("another volume is at a LUN of this session")
	}
	var gone []*itl
	waitFence(func(f *fence) {
		t.mu.Lock()
		t.luns = make(map[san.LUN]MapEntry, len(m))
		for l, e := range m {
			e.Hosts = slices.Clone(e.Hosts)
			t.luns[l] = e
		}
		for _, n := range t.nexuses {
			if n.closed {
				continue
			}
			gone = append(gone, t.refresh(n)...)
		}
		t.mu.Unlock()
		for _, i := range gone {
			i.retire(f)
		}
	})
	for _, i := range gone {
		i.unit.nexusLost(i)
	}
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

// refresh brings the view of n up to date. Call with the lock.
func (t *Target) refresh(n *Nexus) (gone []*itl) {
	old := n.view.Load()
	v, gone := t.look(n, old)
	changed := len(gone) > 0
	for l, i := range v.all {
		if old.all[l] == i {
			continue
		}
		changed = true
		i.attn.raise(scsi.ASCPowerOnOrReset)
		if old.all[l] != nil {
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

// SetPortGroups replaces the view of target port groups. Every nexus gets
// unit attention 2A/06 if it changed.
func (t *Target) SetPortGroups(g []PortGroup) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if reflect.DeepEqual(t.groups, g) {
		return
	}
	first := t.groups == nil
	t.groups = make([]PortGroup, len(g))
	for i := range g {
		t.groups[i] = g[i]
		t.groups[i].Ports = slices.Clone(g[i].Ports)
	}
	for _, n := range t.nexuses {
		n.follow(t.groups)
		if first {
			continue
		}
		for _, i := range n.view.Load().all {
			i.attn.raise(scsi.ASCAccessStateChanged)
		}
	}
}

// portGroups returns the target port groups. Where none are set, all ports
// that have a nexus make up group 1, active/optimized.
func (t *Target) portGroups() []PortGroup {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.groups) > 0 {
		return t.groups // replaced, never changed
	}
	g := PortGroup{ID: 1}
	for id := range t.nexuses {
		if !slices.Contains(g.Ports, id.Target.TPG) {
			g.Ports = append(g.Ports, id.Target.TPG)
		}
	}
	slices.Sort(g.Ports)
	return []PortGroup{g}
}
