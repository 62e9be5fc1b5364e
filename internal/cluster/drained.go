package cluster

import (
	"context"

	"sango/internal/cluster/model"
)

// Drained reports whether this gateway is being drained, and how many volumes
// it still has. ok: it could be looked at.
func (r *Runtime) Drained(ctx context.Context) (draining bool, has int, ok bool) {
	ok = r.look(ctx, func(g *model.Gateway) {
		if draining = g.Draining(r.o.Gateway); !draining {
			return
		}
		for o := range g.Owners() {
			if o.State != model.Free && o.Owner == g.Member() {
				has++
			}
		}
	})
	return draining, has, ok
}

// Drains returns the gateways that are being drained. ok: it could be looked at.
func (r *Runtime) Drains(ctx context.Context) (all []model.GatewayID, ok bool) {
	ok = r.look(ctx, func(g *model.Gateway) {
		for _, rec := range g.Gateways() {
			if g.Draining(rec.ID) {
				all = append(all, rec.ID)
			}
		}
	})
	return all, ok
}
