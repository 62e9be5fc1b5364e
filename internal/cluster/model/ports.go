package model

import (
	"sango/internal/san"
	"sango/internal/scsi/alua"
)

// Port is the state of one gateway's port group for a volume.
type Port struct {
	Gateway GatewayID
	State   alua.State
}

// Ports returns the states of all port groups for a volume, by gateway, as the
// view has them: every gateway with the same view says the same. The owner's
// is active/optimized, those that relay to it active/non-optimized; all that
// live are in transition while the volume has no owner that is alive; those
// of dead gateways are unavailable.
//
// The view that a linearizable read has confirmed is what REPORT TARGET PORT
// GROUPS may be answered from (R5).
func (g *Gateway) Ports(id san.UUID) []Port {
	o := g.view.owner(id).rec
	served := o.State == Active && !g.view.gone(o.Owner)
	var l []Port
	for _, m := range g.view.sortedGateways() {
		p := Port{m.Gateway, alua.NonOptimized}
		switch {
		case g.view.gone(m):
			p.State = alua.Unavailable
		case !served:
			p.State = alua.Transitioning
		case m == o.Owner:
			p.State = alua.Optimized
		}
		l = append(l, p)
	}
	return l
}
