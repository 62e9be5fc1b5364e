package api

import (
	"context"
	"fmt"
	"slices"
	"strings"

	v1 "sango/internal/api/gen/sango/v1"
	"sango/internal/meta"
	"sango/internal/san"
)

// The states of a gateway.
const (
	stateServing  = "serving"
	stateDraining = "draining" // it is being emptied, or is to stay empty; or it is about to end
	stateDead     = "dead"
	stateRemoved  = "removed" // but volumes name it still
	stateJoining  = "joining" // it has registered, and is no member yet
	stateWaiting  = "waiting" // it has no right to serve now: the metadata does not confirm its heartbeats
	stateUnknown  = "unknown" // the metadata does not answer, and it is another one
)

// stateLost is that of a volume whose owner is dead, and that nobody else has
// been given yet: it is not certain that the owner can't write.
const stateLost = "lost"

// alive reports whether a start of a gateway is, as far as that was decided.
func alive(now map[string]*meta.Incarnation, gateway string, number uint64) bool {
	i := now[gateway]
	return i != nil && i.Life == meta.Alive && i.Number == number
}

// holder returns the gateway that serves a volume; empty: none does.
func holder(o *meta.Owner, now map[string]*meta.Incarnation) string {
	if o == nil || o.State != meta.OwnerActive || !alive(now, o.Gateway, o.Incarnation) {
		return ""
	}
	return o.Gateway
}

// has reports whether a gateway has a volume, or is to have it: in its present
// start, or if that is dead in one up to it.
func has(o *meta.Owner, gateway string, i *meta.Incarnation) bool {
	is := func(name string, number uint64) bool {
		return name == gateway && i != nil && (number == i.Number || number < i.Number && i.Life != meta.Alive)
	}
	switch o.State {
	case meta.OwnerActive:
		return is(o.Gateway, o.Incarnation)
	case meta.OwnerMoving:
		return is(o.Gateway, o.Incarnation) || is(o.To, o.ToIncarnation)
	case meta.OwnerReleased:
		return is(o.To, o.ToIncarnation)
	}
	return false
}

// clusterGateways returns the gateways that there are, by name: those that have
// registered, and those that are gone and not forgotten yet.
func clusterGateways(known []*meta.Gateway, now *meta.State, self Status) (all []*v1.Gateway) {
	at := map[string]*v1.Gateway{}
	for _, g := range known {
		m := gatewayMessage(g, self)
		m.Version, m.Reads, m.Links = g.Version, int32(max(g.Schema, 1)), g.Links.String()
		at[g.Name] = m
	}
	for name := range now.Incarnations {
		if at[name] == nil {
			at[name] = &v1.Gateway{Name: name}
		}
	}
	for _, o := range now.Owners {
		for _, name := range slices.Compact([]string{o.Gateway, o.To}) {
			if m := at[name]; m != nil && has(o, name, now.Incarnations[name]) {
				m.Volumes++
			}
		}
	}
	for _, name := range sorted(at) {
		m := at[name]
		m.Drained, m.Coordinator = now.Drains[name], now.Coordinator == name
		i := now.Incarnations[name]
		if i == nil {
			m.State = stateJoining
			all = append(all, m)
			continue
		}
		m.Incarnation, m.Reason = i.Number, i.Why
		switch {
		case i.Life == meta.Dead:
			m.State, m.Harmless = stateDead, now.Harmless[name] >= i.Number
		case i.Life == meta.Removed:
			m.State, m.Harmless = stateRemoved, now.Harmless[name] >= i.Number
		case slices.Contains(self.Waiting, name):
			m.State = stateWaiting
		case m.Drained:
			m.State = stateDraining
		}
		if i.Life == meta.Alive {
			m.Load = loadOf(name, now)
		}
		all = append(all, m)
	}
	return all
}

// outdate takes back what nobody knows of gateways while the metadata does not
// answer: whether the others serve, and who coordinates.
func outdate(all []*v1.Gateway, here func(gateway string) bool) {
	for _, g := range all {
		g.Coordinator = false
		if !here(g.Name) && (g.State == stateServing || g.State == stateDraining) {
			g.State = stateUnknown
		}
	}
}

// loadOf is the work of the volumes that a gateway serves, nil where that is not
// known.
func loadOf(name string, now *meta.State) *int64 {
	if now.Busy == nil {
		return nil
	}
	load := int64(0)
	if b := now.Busy[name]; b != nil {
		for v, work := range b.Volumes {
			if o := now.Owners[v]; o != nil && o.State == meta.OwnerActive && o.Gateway == name {
				load += int64(work)
			}
		}
	}
	return &load
}

func ownershipMessage(volume string, o *meta.Owner, now map[string]*meta.Incarnation) *v1.Ownership {
	if o == nil {
		o = &meta.Owner{State: meta.OwnerNone}
	}
	state := string(o.State)
	if o.State == meta.OwnerActive && !alive(now, o.Gateway, o.Incarnation) {
		state = stateLost
	}
	return &v1.Ownership{
		Volume: volume, State: state, Owner: o.Gateway, To: o.To, Epoch: uint64(o.Epoch), Reason: o.Reason, Asked: o.Asked,
		Since: stamp(o.Since), Failed: o.Failed,
	}
}

// agreed is what the gateways agree on.
type agreed struct {
	*v1.Cluster
	failed   map[san.UUID]*v1.Ownership // of volumes that could not be opened, or whose owner could not be shut out
	problems []string
}

func agreedOn(known []*meta.Gateway, now *meta.State, volumes []*san.Volume, st Status) agreed {
	m := agreed{Cluster: &v1.Cluster{Coordinator: now.Coordinator, Gateways: clusterGateways(known, now, st)}, failed: map[san.UUID]*v1.Ownership{}}
	lack := fenceless(known)
	commanded := 0
	for _, v := range volumes {
		o := ownershipMessage(v.Name, now.Owners[v.ID], now.Incarnations)
		if o.State != string(meta.OwnerActive) {
			m.Moving++
		}
		switch fencing := fencingOf(v); {
		case o.State != stateLost:
			if o.Failed != "" {
				m.failed[v.ID] = o
			}
		case fencing == san.FenceNone:
			o.Problem = "nothing but the word of a person tells that the gateway is off"
		case fencing == san.FenceCommand && slices.Contains(lack, now.Coordinator):
			o.Problem = fmt.Sprintf("the coordinator, gateway %s, has no fence command", now.Coordinator)
		default:
			m.failed[v.ID] = o
		}
		if v.Fencing == san.FenceCommand {
			commanded++
		}
		m.Volumes = append(m.Volumes, o)
	}
	if commanded > 0 && len(lack) > 0 {
		m.problems = append(m.problems, fmt.Sprintf("%d volumes rely on a fence command, which any gateway may have to run, and there is none at %s: set fence: in the configuration there, and start it again", commanded, strings.Join(lack, ", ")))
	}
	slices.SortFunc(m.Volumes, func(a, b *v1.Ownership) int { return strings.Compare(a.GetVolume(), b.GetVolume()) })
	return m
}

// fencingOf returns how a gateway that is gone is shut out of a volume.
func fencingOf(v *san.Volume) san.Fencing {
	switch {
	case v.Fencing != "":
		return v.Fencing
	case v.Driver == san.DriverLayered:
		return san.FenceDriver
	}
	return san.FenceNone
}

// fenceless returns the gateways that have no fence command.
func fenceless(known []*meta.Gateway) (names []string) {
	for _, g := range known {
		if !g.Fences() {
			names = append(names, g.Name)
		}
	}
	slices.Sort(names)
	return names
}

// cluster asks the metadata for what the gateways agree on.
func (s gatewayService) cluster(ctx context.Context, st Status) (m agreed, err error) {
	err = s.n.Meta().Update(ctx, func(tx *meta.Tx) error {
		known, err := tx.Gateways()
		if err != nil {
			return err
		}
		now, err := tx.State()
		if err != nil {
			return err
		}
		volumes, err := tx.Volumes()
		if err != nil {
			return err
		}
		l, err := tx.Layout()
		if err == nil {
			m = agreedOn(known, now, volumes, st)
			m.Layout = &v1.Layout{Version: int32(l.Version), Newest: int32(l.Newest), WaitsFor: l.WaitsFor}
		}
		return err
	})
	return m, err
}

// troubles tells why volumes could not be opened, as the gateways say that tried,
// and why their dead owners could not be shut out, as the coordinator says.
func (s gatewayService) troubles(ctx context.Context, coordinator string, failed map[san.UUID]*v1.Ownership) {
	c := s.n.Cluster()
	asked := map[string]*v1.DescribeRequest{}
	tells := func(o *v1.Ownership) string {
		if o.State == stateLost {
			return coordinator
		}
		return o.Failed
	}
	var here map[san.UUID]error
	for id, o := range failed {
		switch name := tells(o); {
		case name == "": // nobody coordinates
		case !c.Here(name):
			asked[name] = &v1.DescribeRequest{Troubles: true}
		default:
			if here == nil {
				here = c.Troubles()
			}
			if err := here[id]; err != nil {
				o.Problem = err.Error()
			}
		}
	}
	if s.peers == nil {
		return
	}
	for name, a := range s.peers.ask(ctx, asked) {
		if a.err != nil {
			for _, o := range failed {
				if tells(o) == name {
					o.Problem = fmt.Sprintf("why is not known: %v", a.err)
				}
			}
			continue
		}
		for _, t := range a.GetTroubles() {
			if id := t.GetId(); len(id) == len(san.UUID{}) {
				if o := failed[san.UUID(id)]; o != nil && tells(o) == name {
					o.Problem = t.GetProblem()
				}
			}
		}
	}
}
