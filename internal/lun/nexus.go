package lun

import "sango/internal/san"

// Nexus is an I_T nexus that is attached to a target: one session.
type Nexus struct {
	id     san.NexusID
	host   string
	target *Target
	tr     Transport
}

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
	t.nexuses[id] = n
	return n, nil
}

// ID returns the name of the nexus.
func (n *Nexus) ID() san.NexusID { return n.id }

// Host returns the name of the host the nexus belongs to.
func (n *Nexus) Host() string { return n.host }

// Admit takes a task over, in CmdSN order. It sets t.OutLen; when that is 0
// the task runs now, in place on the calling goroutine if it can't block, else
// on a worker of the unit.
func (n *Nexus) Admit(t *Task) { t.nexus = n }

// Detach is nexus loss: the tasks of the nexus are aborted (TaskDone with
// Aborted for each), and it returns when none of them can touch the medium.
func (n *Nexus) Detach() {
	n.target.mu.Lock()
	defer n.target.mu.Unlock()
	delete(n.target.nexuses, n.id)
}
