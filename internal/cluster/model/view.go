package model

import (
	"slices"

	"sango/internal/san"
)

// held is a record as it was at a revision; 0: there is none.
type held[T any] struct {
	rev Revision
	rec T
}

// view is the store, as far as changes have been told.
type view struct {
	rev      Revision // of the last change
	synced   bool     // there was a snapshot
	counter  held[CounterRecord]
	gateways map[GatewayID]held[GatewayRecord]
	beats    map[GatewayID]held[BeatRecord]
	drains   map[GatewayID]held[DrainRecord]
	fences   map[GatewayID]held[FenceRecord]
	volumes  map[san.UUID]held[VolumeRecord]
	owners   map[san.UUID]held[OwnerRecord]
}

func newView() view {
	return view{
		gateways: map[GatewayID]held[GatewayRecord]{}, beats: map[GatewayID]held[BeatRecord]{}, drains: map[GatewayID]held[DrainRecord]{},
		volumes: map[san.UUID]held[VolumeRecord]{}, owners: map[san.UUID]held[OwnerRecord]{},
		fences: map[GatewayID]held[FenceRecord]{},
	}
}

// apply takes note of a change, unless a later one of that record is known
// already: one's own transactions are told twice, by their answer and by the
// stream. It returns whether it was news.
func (v *view) apply(c Change) bool {
	v.rev = max(v.rev, c.Rev)
	switch c.Key.Kind {
	case KindCounter:
		r, _ := c.Record.(CounterRecord)
		if c.Rev <= v.counter.rev {
			return false
		}
		v.counter = held[CounterRecord]{c.Rev, r}
		return true
	case KindGateway:
		return put(v.gateways, c.Key.Gateway, c)
	case KindBeat:
		return put(v.beats, c.Key.Gateway, c)
	case KindDrain:
		return put(v.drains, c.Key.Gateway, c)
	case KindFence:
		return put(v.fences, c.Key.Gateway, c)
	case KindVolume:
		return put(v.volumes, c.Key.Volume, c)
	case KindOwner:
		return put(v.owners, c.Key.Volume, c)
	}
	return false
}

func put[K comparable, T any](m map[K]held[T], k K, c Change) bool {
	if c.Rev <= m[k].rev {
		return false
	}
	if c.Record == nil {
		delete(m, k)
		return true
	}
	r, ok := c.Record.(T)
	if ok {
		m[k] = held[T]{c.Rev, r}
	}
	return ok
}

// guard returns the guard that the record of k is still what the view says.
func (v *view) guard(k Key) Guard {
	g := Guard{Key: k}
	switch k.Kind {
	case KindCounter:
		g.Rev = v.counter.rev
	case KindGateway:
		g.Rev = v.gateways[k.Gateway].rev
	case KindBeat:
		g.Rev = v.beats[k.Gateway].rev
	case KindDrain:
		g.Rev = v.drains[k.Gateway].rev
	case KindFence:
		g.Rev = v.fences[k.Gateway].rev
	case KindVolume:
		g.Rev = v.volumes[k.Volume].rev
	case KindOwner:
		g.Rev = v.owners[k.Volume].rev
	}
	return g
}

// gone reports whether m is over, for good.
func (v *view) gone(m Member) bool {
	g, ok := v.gateways[m.Gateway]
	return !ok || g.rec.Incarnation != m.Incarnation || g.rec.Life != Alive
}

// live returns the members that are alive, by name.
func (v *view) live() []Member {
	return slices.DeleteFunc(v.sortedGateways(), v.gone)
}

// sortedGateways returns the present members of all gateways, by name.
func (v *view) sortedGateways() []Member {
	var l []Member
	for _, g := range v.gateways {
		l = append(l, g.rec.Member())
	}
	slices.SortFunc(l, compareMembers)
	return l
}

func compareMembers(a, b Member) int {
	switch {
	case a.Gateway != b.Gateway && a.Gateway < b.Gateway, a.Gateway == b.Gateway && a.Incarnation < b.Incarnation:
		return -1
	case a == b:
		return 0
	}
	return 1
}

// owner returns who owns a volume: Free with epoch 0 where nobody ever did.
func (v *view) owner(id san.UUID) held[OwnerRecord] {
	o := v.owners[id]
	o.rec.Volume = id
	return o
}
