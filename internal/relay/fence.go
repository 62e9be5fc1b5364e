package relay

import (
	"sync"
	"time"

	"sango/internal/relay/wire"
	"sango/internal/san"
	"sango/internal/scsi"
)

// The limits of fences: those that this gateway sends at the same time, those
// that one peer may have outstanding here, and the instances that tombstones
// name in all.
const (
	maxFences     = 1024
	maxPeerFences = 1024
	maxGraves     = 64 << 10
)

// graveTime is how long a tombstone stands: far longer than a command may be
// on its way (MaxAge), and than a view takes.
const graveTime = time.Minute

// graves are the tombstones of instances that were fenced: nothing of them is
// let in any more.
type graves struct {
	mu   sync.Mutex // guards the fields below
	list []grave
	n    int // instances named
}

type grave struct {
	initiator string
	list      scsi.FenceList
	until     time.Time
}

func (g *grave) size() int { return 1 + len(g.list.Entries) }

// add puts up a tombstone, unless there are too many.
func (g *graves) add(initiator string, l scsi.FenceList, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	x := grave{initiator, l, now.Add(graveTime)}
	if g.n+x.size() > maxGraves {
		return false
	}
	g.n += x.size()
	g.list = append(g.list, x)
	return true
}

// has reports whether an instance of an initiator is dead.
func (g *graves) has(initiator string, i san.Instance) bool {
	if i.IsZero() {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for k := range g.list {
		if x := &g.list[k]; x.initiator == initiator {
			if _, named := x.list.Names(i); named {
				return true
			}
		}
	}
	return false
}

func (g *graves) tick(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	old := 0
	for ; old < len(g.list) && now.After(g.list[old].until); old++ {
		g.n -= g.list[old].size()
	}
	if old > 0 {
		g.list = append([]grave(nil), g.list[old:]...)
	}
}

// fences are those that this gateway has sent to the others.
type fences struct {
	mu  sync.Mutex // guards the fields below; a line's is taken under it
	all map[*fencing]bool
}

// fencing is a fence that the other members are told of.
type fencing struct {
	waits map[*peer]bool // who has not answered
	done  func(bool)
	ended chan struct{}
}

// fenceAt is a fence on its way to one of them. It is guarded by its line.
type fenceAt struct {
	frame fenceFrame
	of    *fencing
	retry time.Time // to be sent again then; zero: it was sent
}

// action is the service action of the list: it names instances, or earlier
// runs.
func (f *Fence) action() scsi.ServiceAction {
	if len(f.List.Entries) == 0 {
		return scsi.SAFenceEarlierRuns
	}
	return scsi.SAFenceInstances
}

// Fence has every other live member end the sessions that f names, and this
// one the nexuses of other gateways; its own sessions are the caller's. done is
// called, once, when nothing of them can touch a medium through any of them any
// more, or is over in the view; or with false when stop was closed before. It
// reports false, and nothing is done, if too many fences wait.
func (n *Node) Fence(f Fence, stop <-chan struct{}, done func(bool)) bool {
	if !n.graves.add(f.Initiator, f.List, time.Now()) {
		return false
	}
	n.mu.Lock()
	var peers []*peer
	for _, p := range n.peers {
		peers = append(peers, p)
	}
	closed := n.closed
	if !closed {
		n.wg.Add(1)
	}
	n.mu.Unlock()
	if closed {
		return false
	}
	g := &fencing{waits: map[*peer]bool{}, done: done, ended: make(chan struct{})}
	s := &n.fences
	s.mu.Lock()
	if len(s.all) >= maxFences {
		s.mu.Unlock()
		n.wg.Done()
		return false
	}
	s.all[g] = true
	g.waits[nil] = true // this gateway
	list := f.List.Append(nil)
	for _, p := range peers {
		p.mu.Lock()
		live := p.listed
		p.mu.Unlock()
		if !live {
			continue
		}
		g.waits[p] = true
		l := p.lines[0]
		l.mu.Lock()
		at := &fenceAt{of: g, frame: fenceFrame{wire.Fence{ID: l.nextID(), Action: uint8(f.action()), Initiator: f.Initiator}, list}}
		l.fences[at.frame.ID] = at
		if l.conn != nil {
			l.conn.post(&at.frame)
		}
		l.wake()
		l.mu.Unlock()
	}
	s.mu.Unlock()
	go func() {
		defer n.wg.Done()
		n.bury(f)
		n.fencedAt(g, nil)
		select {
		case <-g.ended:
		case <-stop:
			n.giveUp(g)
		case <-n.quit:
			n.giveUp(g)
		}
	}()
	return true
}

// fencedAt notes that p has answered, or that there is none any more.
func (n *Node) fencedAt(g *fencing, p *peer) {
	s := &n.fences
	s.mu.Lock()
	delete(g.waits, p)
	ended := len(g.waits) == 0 && s.all[g]
	if ended {
		delete(s.all, g)
		close(g.ended)
	}
	s.mu.Unlock()
	if ended {
		g.done(true)
	}
}

// giveUp ends the wait for g.
func (n *Node) giveUp(g *fencing) {
	s := &n.fences
	s.mu.Lock()
	waits := s.all[g]
	delete(s.all, g)
	for p := range g.waits {
		if p == nil {
			continue
		}
		l := p.lines[0]
		l.mu.Lock()
		for id, at := range l.fences {
			if at.of == g {
				delete(l.fences, id)
			}
		}
		l.mu.Unlock()
	}
	s.mu.Unlock()
	if waits {
		g.done(false)
	}
}

// settleFences ends the wait for members that are over.
func (n *Node) settleFences() {
	type pair struct {
		g *fencing
		p *peer
	}
	var over []pair
	s := &n.fences
	s.mu.Lock()
	for g := range s.all {
		for p := range g.waits {
			if p == nil {
				continue
			}
			p.mu.Lock()
			if !p.listed {
				over = append(over, pair{g, p})
			}
			p.mu.Unlock()
		}
	}
	s.mu.Unlock()
	for _, o := range over {
		n.fencedAt(o.g, o.p)
	}
}

// endFences ends all waits, when the node has ended.
func (n *Node) endFences() {
	s := &n.fences
	s.mu.Lock()
	var all []*fencing
	for g := range s.all {
		all = append(all, g)
	}
	s.mu.Unlock()
	for _, g := range all {
		n.giveUp(g)
	}
}

// fenced takes a peer's answer to Fence. With the lock of l held.
func (l *line) fenced(f *wire.Fenced) error {
	at := l.fences[f.ID]
	if at == nil {
		return nil // it was given up
	}
	if !f.OK {
		at.retry = time.Now().Add(retryTime)
		return nil
	}
	delete(l.fences, f.ID)
	n, p := l.peer.node, l.peer
	l.later = append(l.later, func() { n.fencedAt(at.of, p) })
	return nil
}

// bury ends the nexuses of other gateways that f names, whose tombstone
// stands, and returns when nothing of them can touch a medium any more.
func (n *Node) bury(f Fence) {
	var all []*remote
	n.nexuses.mu.Lock()
	for _, r := range n.nexuses.all {
		for ; r != nil; r = r.prev.Load() {
			if _, named := f.List.Names(r.instance); named && r.key.nexus.Initiator.Name == f.Initiator {
				all = append(all, r)
			}
		}
	}
	n.nexuses.mu.Unlock()
	for _, r := range all {
		r.end()
	}
	for _, r := range all {
		<-r.done
	}
}

// fence takes a Fence of a front.
func (in *inbound) fence(w *wire.Fence, data []byte) error {
	list, cc := scsi.ParseFenceList(data, scsi.ServiceAction(w.Action))
	if cc != nil {
		return wire.Errorf("a %v with a list that makes no sense: %v", wire.TypeFence, cc)
	}
	n := in.node
	f := Fence{Initiator: w.Initiator, List: list}
	answer := func(ok bool) {
		in.mu.Lock()
		if ok {
			in.fences--
		}
		in.conn.post(&wire.Fenced{ID: w.ID, OK: ok})
		in.conn.kick()
	}
	in.mu.Lock()
	crowded := in.fences >= maxPeerFences
	if !crowded {
		in.fences++
	}
	in.mu.Unlock()
	if crowded || !n.graves.add(f.Initiator, f.List, time.Now()) {
		if !crowded {
			in.mu.Lock()
			in.fences--
			in.mu.Unlock()
		}
		answer(false)
		return nil
	}
	in.wg.Add(1)
	go func() {
		defer in.wg.Done()
		n.bury(f)
		own := make(chan struct{})
		n.cfg.Fence(f, func() { close(own) })
		select {
		case <-own:
			answer(true)
		case <-in.conn.quit: // it will ask again
		}
	}()
	return nil
}
