package lun

import (
	"sync"
	"sync/atomic"

	"sango/internal/san"
)

// Nexus is an I_T nexus that is attached to a target: one session. Its methods
// may be called from any goroutine; Admit is called by one at a time.
type Nexus struct {
	id     san.NexusID
	host   string
	target *Target
	tr     Transport
	fencer Fencer // tr, if it is one

	view   atomic.Pointer[view] // what it sees
	closed bool                 // guarded by Target.mu
	mu     sync.Mutex           // guards retired
	gone   []*itl               // LUNs that went while tasks were left
}

// view is what a nexus sees of a LUN map. It never changes.
type view struct {
	low  [lowLUNs]*itl // the usual ones, without a look-up
	all  map[san.LUN]*itl
	luns []san.LUN // ascending
}

const lowLUNs = 16

func (v *view) at(l san.LUN) *itl {
	if l < lowLUNs {
		return v.low[l]
	}
	return v.all[l]
}

// ID returns the name of the nexus.
func (n *Nexus) ID() san.NexusID { return n.id }

// Host returns the name of the host the nexus belongs to.
func (n *Nexus) Host() string { return n.host }

// Target returns the target that the nexus is attached to.
func (n *Nexus) Target() *Target { return n.target }

// Transport returns what carries the tasks of the nexus.
func (n *Nexus) Transport() Transport { return n.tr }

// Detach is nexus loss: the tasks of the nexus are aborted (TaskDone with
// Aborted for each), and it returns when none of them can touch the medium,
// TaskDone has been called for all, and what ends with the nexus has ended, on
// whatever gateway (see Relay.Part).
// The transport calls neither Admit nor Manage any more. Detach again does
// nothing.
func (n *Nexus) Detach() {
	t := n.target
	t.mu.Lock()
	if n.closed {
		t.mu.Unlock()
		return
	}
	n.closed = true // so that SetMap leaves it alone
	v := n.view.Load()
	left := n.takeGone()
	t.mu.Unlock()

	// The name stays taken until the tasks have ended: a login that reinstates
	// the session waits for that (DESIGN R4(e)).
	waitFence(func(f *fence) {
		for _, i := range v.all {
			i.close(f)
		}
		for _, i := range left {
			i.close(f)
		}
	})
	// The same goes for what it held: a host that was told that it is logged out
	// tells others, and their commands may overtake the news on the way to the owner.
	waitFence(func(f *fence) {
		for _, i := range v.all {
			if i.unit.part(i, f) {
				i.unit.nexusLost(i, nil)
			}
		}
	})

	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.nexuses, n.id)
	t.remember(n.id)
}

func everyTask(*Task) bool { return true }

// keep notes an itl whose LUN is gone, until its tasks have ended.
func (n *Nexus) keep(i *itl) {
	n.mu.Lock()
	defer n.mu.Unlock()
	left := n.gone[:0]
	for _, g := range n.gone {
		if !g.empty() {
			left = append(left, g)
		}
	}
	clear(n.gone[len(left):])
	n.gone = append(left, i)
}

func (n *Nexus) takeGone() []*itl {
	n.mu.Lock()
	defer n.mu.Unlock()
	g := n.gone
	n.gone = nil
	return g
}
