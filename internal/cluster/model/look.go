package model

import (
	"iter"
	"slices"
	"strings"

	"sango/internal/san"
)

// What follows lets those look at the view who run the machine, between two
// steps.

// Gateways returns the records of all gateways, by name.
func (g *Gateway) Gateways() []GatewayRecord {
	l := make([]GatewayRecord, 0, len(g.view.gateways))
	for _, h := range g.view.gateways {
		l = append(l, h.rec)
	}
	slices.SortFunc(l, func(a, b GatewayRecord) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return l
}

// Draining reports whether a gateway is to be emptied.
func (g *Gateway) Draining(id GatewayID) bool {
	_, ok := g.view.drains[id]
	return ok
}

// Harmless returns up to which incarnation a gateway is.
func (g *Gateway) Harmless(id GatewayID) Incarnation { return g.view.fences[id].rec.Upto }

// Owners are the records of all volumes that have one, in no order.
func (g *Gateway) Owners() iter.Seq[OwnerRecord] {
	return func(yield func(OwnerRecord) bool) {
		for _, h := range g.view.owners {
			if !yield(h.rec) {
				return
			}
		}
	}
}

// Owner returns who owns a volume, and the revision of that: Free of epoch 0
// and 0 where nobody ever did.
func (g *Gateway) Owner(id san.UUID) (OwnerRecord, Revision) {
	h := g.view.owner(id)
	return h.rec, h.rev
}

// Has reports whether the store lets this member change what belongs to a
// volume under an epoch: it is the owner, and did not give it up yet.
func (g *Gateway) Has(id san.UUID, e san.Epoch) (Revision, bool) {
	l := g.volumes[id]
	if l == nil || l.epoch != e || l.rec.Owner != g.me || (g.phase != joined && g.phase != leaving) {
		return 0, false
	}
	switch l.step {
	case opened, serving, preparing, draining, flushing, closing: // who closes leaves a word for the next owner
		return l.rev, l.rec.State == Active && l.rec.Epoch == e || l.rec.State == Moving && !l.rec.Released
	}
	return 0, false
}
