package cluster

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"time"

	"sango/internal/cluster/model"
	"sango/internal/meta"
	"sango/internal/san"
)

// Status is the cluster as this gateway sees it.
type Status struct {
	Me          model.Member // nobody: it is no member now
	Right       bool         // to serve
	Coordinator model.GatewayID
	Gateways    []GatewayStatus     // by name
	Volumes     []model.OwnerRecord // those that have had an owner, by id
	Moving      int                 // volumes that move, or have nobody
	// Trouble is why volumes could not be opened here, last time.
	Trouble map[san.UUID]error
}

// GatewayStatus is one gateway.
type GatewayStatus struct {
	model.GatewayRecord
	Draining bool
	Harmless bool // nothing of it can reach a medium
	Volumes  int  // that it has, or is to have
}

// Status returns what there is. ErrUnavailable: this gateway is between two
// lives, or ctx is done.
func (r *Runtime) Status(ctx context.Context) (Status, error) {
	st := Status{Right: r.Right()}
	if c := r.coordinator.Load(); c != nil {
		st.Coordinator = c.Gateway
	}
	if !r.look(ctx, func(g *model.Gateway) { st.from(g) }) {
		return Status{}, san.Errorf(san.ErrUnavailable, "gateway %s is not in the cluster now; try again", r.o.Gateway)
	}
	slices.SortFunc(st.Volumes, func(a, b model.OwnerRecord) int { return bytes.Compare(a.Volume[:], b.Volume[:]) })
	st.Trouble = r.Trouble()
	return st, nil
}

func (st *Status) from(g *model.Gateway) {
	st.Me = g.Member()
	has := map[model.GatewayID]int{}
	for o := range g.Owners() {
		st.Volumes = append(st.Volumes, o)
		if o.State == model.Active {
			has[o.Owner.Gateway]++
			continue
		}
		st.Moving++
		if o.State == model.Moving {
			has[o.To.Gateway]++
		}
	}
	for _, rec := range g.Gateways() {
		st.Gateways = append(st.Gateways, GatewayStatus{
			GatewayRecord: rec, Draining: g.Draining(rec.ID), Harmless: rec.Life != model.Alive && g.Harmless(rec.ID) >= rec.Incarnation,
			Volumes: has[rec.ID],
		})
	}
}

// State returns it in the form of the metadata. When owners became what they are
// is not known.
func (st *Status) State() *meta.State {
	s := &meta.State{
		Coordinator: string(st.Coordinator), Incarnations: map[string]*meta.Incarnation{}, Drains: map[string]bool{}, Harmless: map[string]uint64{},
		Owners: map[san.UUID]*meta.Owner{},
	}
	for _, g := range st.Gateways {
		name := string(g.ID)
		s.Incarnations[name] = &meta.Incarnation{Number: uint64(g.Incarnation), Life: lives[g.Life], Why: string(g.Why)}
		if g.Draining {
			s.Drains[name] = true
		}
		if g.Harmless {
			s.Harmless[name] = uint64(g.Incarnation)
		}
	}
	for _, o := range st.Volumes {
		rec := ownerOf(o)
		rec.Since = time.Time{}
		s.Owners[o.Volume] = rec
	}
	return s
}

// Trouble is why volumes could not be opened here, last time.
func (r *Runtime) Trouble() map[san.UUID]error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.trouble)
}

// noteFence keeps why a fence failed.
func (r *Runtime) noteFence(e model.Fence, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		delete(r.unfenced, e)
	} else {
		r.unfenced[e] = err
	}
}

func (r *Runtime) forgetFences() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.unfenced)
}

// Unfenced is why a member could not be shut out of a volume, or turned off, last
// time; nil: it has not failed here, or another gateway coordinates.
func (r *Runtime) Unfenced(m model.Member, v san.UUID) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.unfenced[model.Fence{Member: m, Volume: v}]; err != nil {
		return err
	}
	return r.unfenced[model.Fence{Member: m}]
}

// Coordinates reports whether this gateway is the coordinator.
func (r *Runtime) Coordinates() bool { return r.office.Load() }
