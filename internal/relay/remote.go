package relay

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"sango/internal/lun"
	"sango/internal/relay/wire"
	"sango/internal/san"
)

// remoteState is where a remote is in its life.
type remoteState uint8

const (
	remoteWaiting remoteState = iota // for the end of an earlier one of its name
	remoteOpen
	remoteEnding
	remoteEnded
)

// remote is an I_T_L nexus of another gateway: the transport of a lun.Remote.
// It is guarded by the lock of its inbound.
type remote struct {
	in       *inbound
	handle   wire.Handle
	key      nexusKey
	epoch    san.Epoch
	standing lun.Standing
	instance san.Instance
	unit     Unit

	prev atomic.Pointer[remote] // the one of its name before it, until that has ended
	done chan struct{}          // closed when nothing of it can touch a medium

	// gate is held by the reader while it calls package lun for r.
	gate  sync.Mutex
	nexus Remote // constant from when it is open

	state remoteState
	moved bool // it ended since its unit is not the volume's any more: what comes goes to whoever serves
	asked bool // the front has closed it, and waits for the answer
	out   int  // commands outstanding
	bytes int64
	last  wire.Seq // of the command that came last
	tomb  wire.Seq // commands up to it are refused
}

// open takes a NexusOpen.
func (in *inbound) open(o *wire.NexusOpen) error {
	n := in.node
	if int(o.Handle) >= n.cfg.Nexuses {
		return wire.Errorf("nexus %d, of at most %d", o.Handle, n.cfg.Nexuses)
	}
	in.mu.Lock()
	for int(o.Handle) >= len(in.remotes) {
		in.remotes = append(in.remotes, nil)
	}
	taken := in.remotes[o.Handle] != nil
	in.mu.Unlock()
	if taken {
		return wire.Errorf("nexus %d is open", o.Handle)
	}
	unit := n.cfg.Owner.Unit(o.Volume)
	switch {
	case !n.cfg.Owner.Port(in.member.Gateway, o.Nexus.Target):
		in.refuse(o.Handle, wire.ReasonPort, "the target port is not one of the gateway's")
		return nil
	case unit == nil:
		in.refuse(o.Handle, wire.ReasonUnknown, "there is no such volume")
		return nil
	}
	r := &remote{
		in: in, handle: o.Handle, key: nexusKey{o.Nexus, o.LUN, o.Volume}, epoch: o.Epoch,
		standing: lun.Standing{Fresh: o.Fresh, Login: o.Login, Doubt: o.Doubt}, instance: o.Instance, unit: unit, done: make(chan struct{}),
	}
	in.mu.Lock()
	in.remotes[o.Handle] = r
	prev := n.nexuses.add(r)
	if prev != nil {
		in.wg.Add(1)
		go func() {
			defer in.wg.Done()
			n.outlive(prev)
			r.prev.Store(nil)
			r.attach()
		}()
	}
	in.mu.Unlock()
	if prev == nil {
		r.attach()
	}
	return nil
}

// outlive waits for the end of a nexus that another one takes the place of. Its
// front closes it, or the link ends. Only where its unit is not the volume's any
// more, since no LUN mapped it for a moment, nobody does before that ownership is
// over: the front may have seen another order.
func (n *Node) outlive(r *remote) {
	t := time.NewTicker(tickTime)
	defer t.Stop()
	for {
		if n.cfg.Owner.Unit(r.key.volume) != r.unit {
			r.in.mu.Lock()
			r.moved = r.moved || r.state == remoteOpen
			r.in.mu.Unlock()
			r.end()
		}
		select {
		case <-r.done:
			return
		case <-t.C:
		}
	}
}

// add makes r the last of its name, and returns the one that it waits for.
func (g *registry) add(r *remote) (prev *remote) {
	g.mu.Lock()
	defer g.mu.Unlock()
	prev = g.all[r.key]
	r.prev.Store(prev)
	g.all[r.key] = r
	return prev
}

func (in *inbound) refuse(h wire.Handle, why wire.Reason, text string) {
	in.mu.Lock()
	in.conn.post(&wire.NexusOpened{Handle: h, Reason: why, Text: text})
	in.conn.kick()
}

// attach makes r known to its unit.
func (r *remote) attach() {
	in, n := r.in, r.in.node
	in.mu.Lock()
	ends := r.state == remoteEnding || in.conn.err != nil
	in.mu.Unlock()
	// The tombstones are looked at when r can be found: whoever puts one up later
	// finds it.
	fenced := n.graves.has(r.key.nexus.Initiator.Name, r.instance)
	if ends || fenced {
		r.finish(wire.ReasonFenced, "the instance was fenced")
		return
	}
	nexus, err := r.unit.AttachRemote(r.epoch, r.key.nexus, r.key.lun, r.standing, r)
	if err != nil {
		why := wire.ReasonUnknown
		if errors.Is(err, lun.ErrMoved) {
			why = wire.ReasonMoved
		}
		r.finish(why, err.Error())
		return
	}
	in.mu.Lock()
	if r.state == remoteEnding || in.conn.err != nil {
		r.state = remoteEnding
		in.mu.Unlock()
		r.hush()
		nexus.Detach()
		r.finish(wire.ReasonFenced, "the instance was fenced")
		return
	}
	r.nexus, r.state = nexus, remoteOpen
	in.conn.post(&wire.NexusOpened{Handle: r.handle, Commands: uint32(n.cfg.NexusCommands), Bytes: uint64(n.cfg.NexusBytes)})
	in.conn.kick()
}

// close takes a NexusClose.
func (in *inbound) close(h wire.Handle) error {
	in.mu.Lock()
	r := in.at(h)
	if r == nil || r.asked {
		in.mu.Unlock()
		return wire.Errorf("nexus %d is closed, and is not open", h)
	}
	r.asked = true
	if r.state == remoteEnded {
		in.bury(r)
		in.conn.kick()
		return nil
	}
	in.mu.Unlock()
	r.end()
	return nil
}

// at returns the remote of a handle, nil if there is none.
func (in *inbound) at(h wire.Handle) *remote {
	if int(h) < len(in.remotes) {
		return in.remotes[h]
	}
	return nil
}

// bury forgets r, which has ended. With the lock held.
func (in *inbound) bury(r *remote) {
	in.remotes[r.handle] = nil
	in.conn.post(&wire.NexusClosed{Handle: r.handle})
}

// end is nexus loss. It does not wait: done does.
func (r *remote) end() {
	in := r.in
	in.mu.Lock()
	was := r.state
	if was == remoteEnding || was == remoteEnded {
		in.mu.Unlock()
		return
	}
	r.state = remoteEnding
	if was == remoteOpen { // else attach finds out
		in.wg.Add(1)
		go func() {
			defer in.wg.Done()
			r.detach()
		}()
	}
	in.mu.Unlock()
}

// detach ends r at its unit.
func (r *remote) detach() {
	r.hush()
	// The reader may be in the middle of something; what comes now finds that r
	// ends. It must not wait for the tasks: others use the link.
	r.gate.Lock()
	r.gate.Unlock() //nolint:staticcheck // nothing is to be done meanwhile
	r.nexus.Detach()
	r.finish(wire.ReasonFenced, "the nexus has ended")
}

// hush acknowledges for the front what it was told: until the nexus is opened
// anew nothing of it is executed, and then the front has noticed. It goes before
// the wait for the tasks, since they may wait for it.
func (r *remote) hush() {
	in := r.in
	var acked []func()
	in.mu.Lock()
	for id, t := range in.tells {
		if t.to == r {
			delete(in.tells, id)
			acked = append(acked, t.acked)
		}
	}
	in.mu.Unlock()
	for _, f := range acked {
		f()
	}
}

// finish notes that nothing is left of r. One that was never open is refused.
func (r *remote) finish(why wire.Reason, text string) {
	in := r.in
	g := &in.node.nexuses
	g.mu.Lock()
	if g.all[r.key] == r {
		delete(g.all, r.key)
	}
	g.mu.Unlock()
	close(r.done)
	in.mu.Lock()
	switch {
	case r.nexus == nil && !r.asked:
		in.remotes[r.handle] = nil
		in.conn.post(&wire.NexusOpened{Handle: r.handle, Reason: why, Text: text})
	case r.asked:
		in.bury(r)
	}
	r.state = remoteEnded
	in.conn.kick()
}

// manage takes a Manage.
func (in *inbound) manage(m *wire.Manage) error {
	in.mu.Lock()
	r := in.at(m.Handle)
	switch {
	case r == nil || r.state == remoteWaiting:
		in.mu.Unlock()
		return wire.Errorf("a %v for nexus %d, which is not open", wire.TypeManage, m.Handle)
	case in.manages >= maxManages:
		in.mu.Unlock()
		return wire.Errorf("more than %d requests at a time", maxManages)
	}
	r.tomb = max(r.tomb, m.Upto)
	in.manages++
	ends, moved := r.state != remoteOpen, r.moved
	in.mu.Unlock()
	id := m.ID
	done := func(a lun.TMFResponse) {
		f := wire.Managed{ID: id, Response: uint8(a)}
		if a == lun.TMFMoved {
			f.Outcome = wire.Moved
		}
		in.mu.Lock()
		in.manages--
		in.conn.post(&f)
		in.conn.kick()
	}
	switch {
	case moved:
		done(lun.TMFMoved)
		return nil
	case ends:
		done(lun.TMFRejected)
		return nil
	}
	r.gate.Lock()
	defer r.gate.Unlock()
	r.nexus.Manage(lun.TMF{Function: lun.Function(m.Function), LUN: r.key.lun.Field(), RefTag: m.TaskTag}, done)
	return nil
}

// maxManages bounds the requests that a link has outstanding.
const maxManages = 4096

// Tell implements lun.RemoteTransport.
func (r *remote) Tell(_ san.LUN, e lun.Event, acked func()) {
	in := r.in
	in.mu.Lock()
	if r.state != remoteOpen && r.state != remoteWaiting || in.conn.err != nil {
		in.mu.Unlock()
		acked()
		return
	}
	in.lastID++
	in.tells[in.lastID] = tell{r, acked}
	f := wire.Tell{ID: in.lastID, Handle: r.handle, ASC: uint16(e.Attention)}
	for _, x := range []struct {
		on   bool
		flag wire.TellFlags
	}{{e.Abort, wire.TellAbort}, {e.Only, wire.TellOnly}, {e.Drop, wire.TellDrop}, {e.DSense, wire.TellDSense}, {e.TAS, wire.TellTAS}} {
		if x.on {
			f.Flags |= x.flag
		}
	}
	in.conn.post(&f)
	in.conn.kick()
}

// Drop implements lun.Transport: this gateway has no right to answer any more,
// to nobody.
func (r *remote) Drop(reason string) { r.in.conn.end(errors.New(reason)) }
