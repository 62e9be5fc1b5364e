package lun

import (
	"errors"
	"sync"

	"sango/internal/san"
)

// ErrNexuses is returned by Attach when the target has as many nexuses as it
// may have.
var ErrNexuses = errors.New("the target has as many sessions as its limit allows; log one out, or raise the limit")

// ErrNexusExists is returned by Attach when a nexus of this name is attached:
// the transport detaches the old session first (session reinstatement).
var ErrNexusExists = errors.New("a session of the same initiator port and target port is attached")

// Target is a SCSI target device: a LUN map and the nexuses that look at
// units through it. Its methods may be called from any goroutine.
type Target struct {
	name string
	o    TargetOptions

	mu      sync.Mutex // guards the fields below
	luns    map[san.LUN]MapEntry
	groups  []PortGroup
	nexuses map[san.NexusID]*Nexus
}

// MapEntry is what a LUN stands for.
type MapEntry struct {
	Unit  *Unit
	Hosts []string // names of hosts that see it; nil: every host
}

// NewTarget returns a target named name (its IQN) without LUNs.
func NewTarget(name string, o TargetOptions) *Target {
	return &Target{name: name, o: o.withDefaults(), nexuses: map[san.NexusID]*Nexus{}}
}

// Name returns the target's IQN.
func (t *Target) Name() string { return t.name }

// SetMap replaces the LUN map. Every nexus whose visible LUNs change gets unit
// attention 3F/0E; tasks of a LUN that is gone are ended, and later commands
// end with LOGICAL UNIT NOT SUPPORTED. It returns when no task of a LUN that
// is gone can touch the medium.
func (t *Target) SetMap(m map[san.LUN]MapEntry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.luns = m
}

// SetPortGroups replaces the view of target port groups. Every nexus gets
// unit attention 2A/06 if it changed.
func (t *Target) SetPortGroups(g []PortGroup) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.groups = g
}
