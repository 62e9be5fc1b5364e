package model

import (
	"slices"

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
// is active/optimized, those that relay to it active/non-optimized, until
// another one is active where it gives the volume up by plan: commands wait
// then, not for long. All that live are in transition while the volume has no
// owner that is alive; those of dead gateways are unavailable.
//
// The view that a linearizable read has confirmed is what REPORT TARGET PORT
// GROUPS may be answered from (R5).
func (g *Gateway) Ports(id san.UUID) []Port {
	return Ports(g.view.owner(id).rec, g.Gateways())
}

// Ports are the states for a volume that o is of, where all gateways are those
// given, by name.
func Ports(o OwnerRecord, gateways []GatewayRecord) []Port {
	alive := func(m Member) bool {
		return slices.ContainsFunc(gateways, func(g GatewayRecord) bool { return g.Life == Alive && g.Member() == m })
	}
	served := false
	switch {
	case o.State == Active || o.State == Moving && !o.Released:
		served = alive(o.Owner)
	case o.Reason == ReasonLeft: // nobody is optimized
		served = o.State == Free || alive(o.To)
	case o.planned():
		served = alive(o.Owner) && alive(o.To)
	}
	l := make([]Port, 0, len(gateways))
	for _, g := range gateways {
		p := Port{g.ID, alua.NonOptimized}
		switch {
		case g.Life != Alive:
			p.State = alua.Unavailable
		case !served:
			p.State = alua.Transitioning
		case g.Member() == o.Owner:
			p.State = alua.Optimized
		}
		l = append(l, p)
	}
	return l
}

// planned reports whether a volume moves although its owner is well.
func (o *OwnerRecord) planned() bool {
	switch o.Reason {
	case ReasonDrain, ReasonFailback, ReasonBalance, ReasonAsked:
		return o.State == Moving
	}
	return false
}
