package gateway

import (
	"context"
	"encoding/hex"
	"net/netip"
	"time"

	"sango/internal/api"
	"sango/internal/san"
	"sango/internal/target"
)

// dropWait bounds the wait for the tasks of a session that lost its right.
const dropWait = 30 * time.Second

// enforce ends the sessions whose initiator may not log in any more, and those
// that would log in as another host now: which LUNs a session sees hangs on
// its host. What it returns waits for their tasks.
func (n *Node) enforce() (gone func()) {
	return n.dropSessions("access withdrawn", func(i target.SessionInfo) bool {
		if i.Discovery {
			return false
		}
		from, err := netip.ParseAddrPort(i.Peer)
		if err != nil {
			return false
		}
		n.view.mu.RLock()
		defer n.view.mu.RUnlock()
		s := n.view.targets[i.Target]
		if s == nil {
			return true
		}
		h, ok := n.view.admits(s, i.Initiator, from.Addr())
		return !ok || i.Host != hostName(h)
	})
}

// dropTarget ends the sessions of a target that is gone. What it returns waits
// for their tasks.
func (n *Node) dropTarget(name string) (gone func()) {
	return n.dropSessions("target deleted", func(i target.SessionInfo) bool { return i.Target == name })
}

func (n *Node) dropSessions(reason string, match func(target.SessionInfo) bool) (gone func()) {
	wait := n.server.Dismiss(match, reason)
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), dropWait)
		defer cancel()
		if err := wait(ctx); err != nil {
			n.cfg.Log.Warn("a session did not end", "reason", reason, "error", err)
		}
	}
}

// Sessions implements api.Node.
func (n *Node) Sessions() []api.Session {
	var out []api.Session
	var all []target.SessionInfo
	for _, g := range n.gateways() {
		all = append(all, g.server.Sessions()...)
	}
	for _, i := range all {
		if i.Discovery {
			continue
		}
		s := api.Session{Target: i.Target, Host: i.Host, Remote: i.Peer, TPG: san.TPG(i.TPG)}
		s.Initiator.Name = i.Initiator
		if b, err := hex.DecodeString(i.ISID); err == nil {
			copy(s.Initiator.ISID[:], b)
		}
		out = append(out, s)
	}
	return out
}
