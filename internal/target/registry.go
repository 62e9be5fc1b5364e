package target

import (
	"sync"

	"sango/internal/iscsi"
	"sango/internal/san"
)

// registry knows the sessions of a server by their names.
type registry struct {
	perHost int   // normal sessions that one initiator name may have
	memory  int64 // bytes of task data that they may hold together

	mu       sync.Mutex // guards the fields below
	refusing refusal    // why there are no new sessions; 0: there are
	nexuses  map[san.NexusID]*conn
	handles  map[uint16]*conn // by TSIH
	hosts    map[string]*host // by initiator name
	last     uint16           // TSIH that was given last
	fences   int              // that wait
}

// host is what the sessions of one initiator name share.
type host struct {
	sessions int // normal ones; guarded by registry.mu
	fences   int // that wait; guarded by registry.mu
	memory   budget
}

func newRegistry(perHost int, memory int64) *registry {
	return &registry{
		perHost: perHost, memory: memory,
		nexuses: make(map[san.NexusID]*conn), handles: make(map[uint16]*conn), hosts: make(map[string]*host),
	}
}

// add registers the session of c and gives it a TSIH. If another session has
// its name, that one is returned and nothing is done: add again when it is
// gone.
func (r *registry) add(c *conn) (old *conn, status iscsi.LoginStatus) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id, name := c.nexusID(), c.identity.Initiator.Name
	h := r.hosts[name]
	switch {
	case !c.identity.Discovery && r.nexuses[id] != nil:
		return r.nexuses[id], iscsi.LoginSuccess // also where the new one is sent elsewhere: what it left unanswered is sent again there
	case r.refuses(c.identity.Discovery):
		return nil, iscsi.LoginUnavailable
	case c.identity.Discovery:
	case h != nil && h.sessions >= r.perHost:
		c.log.Warn("a login was refused: the initiator has as many sessions as it may have", "sessions", h.sessions)
		return nil, iscsi.LoginOutOfResources
	}
	if len(r.handles) == 0xffff {
		return nil, iscsi.LoginOutOfResources
	}
	for {
		r.last++
		if r.last != 0 && r.handles[r.last] == nil {
			break
		}
	}
	c.tsih = r.last
	r.handles[c.tsih] = c
	if !c.identity.Discovery {
		if h == nil {
			h = &host{memory: budget{limit: r.memory}}
			r.hosts[name] = h
		}
		h.sessions++
		c.host = h
		r.nexuses[id] = c
	}
	return nil, iscsi.LoginSuccess
}

// of returns the normal sessions of an initiator name.
func (r *registry) of(name string) (list []*conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.hosts[name] == nil {
		return nil
	}
	for id, c := range r.nexuses {
		if id.Initiator.Name == name {
			list = append(list, c)
		}
	}
	return list
}

// remove forgets the session of c, if it got as far as to have one.
func (r *registry) remove(c *conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.tsih == 0 || r.handles[c.tsih] != c {
		return
	}
	delete(r.handles, c.tsih)
	if c.identity.Discovery {
		return
	}
	delete(r.nexuses, c.nexusID())
	if c.host.sessions--; c.host.sessions == 0 {
		delete(r.hosts, c.identity.Initiator.Name)
	}
}

// has reports whether the session that tsih names belongs to that nexus.
func (r *registry) has(tsih uint16, id san.NexusID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.handles[tsih]
	return c != nil && c.nexusID() == id
}

// refuses reports whether add refuses new sessions. A server that drains is one
// that hosts are still told of, so it answers who asks where else to go. r.mu is
// held.
func (r *registry) refuses(discovery bool) bool {
	return r.refusing&^draining != 0 || r.refusing != 0 && !discovery
}

// ends reports whether a session ends that add let in: since then it would not.
func (r *registry) ends(discovery bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refuses(discovery)
}

// drains reports whether add refuses new sessions because of Drain alone.
func (r *registry) drains() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refusing == draining
}

// refusal is a reason to refuse new sessions.
type refusal uint8

const (
	draining  refusal = 1 << iota // Drain
	suspended                     // Suspend
)

// refuse makes add refuse new sessions for a reason, or takes that one back.
func (r *registry) refuse(why refusal, on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if on {
		r.refusing |= why
	} else {
		r.refusing &^= why
	}
}

// beginFence counts a fence that waits, of h. It reports false if there are too
// many.
func (r *registry) beginFence(h *host) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if h.fences >= hostFences || r.fences >= serverFences {
		return false
	}
	h.fences++
	r.fences++
	return true
}

// endFence takes back what beginFence counted.
func (r *registry) endFence(h *host) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h.fences--
	r.fences--
}
