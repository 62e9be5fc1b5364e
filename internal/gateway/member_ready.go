package gateway

import (
	"context"
	"maps"
	"slices"
	"time"

	"sango/internal/pause"
	"sango/internal/san"
)

// readyLook is how often Ready looks.
const readyLook = 10 * time.Millisecond

// Ready returns when a gateway serves each volume that a LUN maps, and hosts are
// let in, or with what is in the way when ctx is done. A node that serves alone
// is ready at once.
func (n *Node) Ready(ctx context.Context) error {
	if n.member == nil {
		return nil
	}
	for {
		waits := n.waitsFor()
		if waits == "" {
			return nil
		}
		if !pause.For(ctx, readyLook) {
			return san.Errorf(san.ErrUnavailable, "%s yet: %v", waits, ctx.Err())
		}
	}
}

// waitsFor returns what is not so yet, "" for nothing.
func (n *Node) waitsFor() string {
	for _, g := range n.gateways() {
		g.view.mu.RLock()
		units := slices.Collect(maps.Values(g.view.units))
		g.view.mu.RUnlock()
		for _, u := range units {
			v := u.unit.Volume()
			s, ready := g.member.found(v.ID), false
			if s == nil {
				continue // it is not mapped any more
			}
			s.wait(func() {
				ready = s.stage == serving || s.stage == away && s.via != nil && s.viaFor == s.rec.Epoch && s.via.Ready()
			})
			if !ready {
				return "volume " + v.Name + " is not served"
			}
		}
		if !g.member.letsIn() {
			return "gateway " + g.cfg.Name + " lets no hosts in"
		}
	}
	return ""
}
