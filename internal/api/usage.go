package api

import (
	"context"
	"fmt"

	v1 "sango/internal/api/gen/sango/v1"
	"sango/internal/meta"
	"sango/internal/san"
)

// ownership is who has volumes, where several gateways serve together.
type ownership struct {
	owners map[san.UUID]*meta.Owner
	now    map[string]*meta.Incarnation
}

// ownership returns who has all volumes, or those named.
func (s volumeService) ownership(tx *meta.Tx, ids ...san.UUID) (w ownership, err error) {
	if s.n.Cluster() == nil {
		return w, nil
	}
	if w.now, err = tx.Incarnations(); err != nil {
		return w, err
	}
	if len(ids) == 0 {
		w.owners, err = tx.Owners()
		return w, err
	}
	w.owners = map[san.UUID]*meta.Owner{}
	for _, id := range ids {
		if w.owners[id], err = tx.Owner(id); err != nil {
			return w, err
		}
	}
	return w, nil
}

// describe makes the message of a volume.
func (w ownership) describe(v *san.Volume, u Usage) *v1.Volume {
	m := volumeMessage(v, u)
	if w.now != nil {
		m.Ownership = ownershipMessage(v.Name, w.owners[v.ID], w.now)
	}
	return m
}

// usages returns what volumes take, as those gateways tell which have them. Who
// does not answer in time holds up nothing.
func (s volumeService) usages(ctx context.Context, all []*san.Volume, w ownership) (map[san.UUID]Usage, error) {
	c := s.n.Cluster()
	told := make(map[san.UUID]Usage, len(all))
	asked := map[string]*v1.DescribeRequest{}
	for _, v := range all {
		g := ""
		if c != nil {
			g = holder(w.owners[v.ID], w.now)
		}
		switch {
		case c == nil || c.Here(g):
			u, err := s.n.Volumes().Usage(v)
			if err != nil {
				return nil, err
			}
			told[v.ID] = u
		case g == "":
			told[v.ID] = Usage{Silent: "no gateway has the volume at the moment"}
		default:
			if asked[g] == nil {
				asked[g] = &v1.DescribeRequest{}
			}
			asked[g].Volumes = append(asked[g].Volumes, v.ID[:])
			told[v.ID] = Usage{Silent: fmt.Sprintf("gateway %s says nothing of the volume", g)}
		}
	}
	for g, a := range s.peers.ask(ctx, asked) {
		if a.err != nil {
			for _, b := range asked[g].Volumes {
				told[san.UUID(b)] = Usage{Silent: a.err.Error()}
			}
			continue
		}
		for _, u := range a.Usage {
			if id := u.GetId(); len(id) == len(san.UUID{}) {
				told[san.UUID(id)] = messageUsage(u)
			}
		}
	}
	return told, nil
}

func usageMessage(id san.UUID, u Usage) *v1.VolumeUsage {
	m := &v1.VolumeUsage{Id: id[:], Used: u.Used, Shared: u.Shared, Problem: u.Problem}
	for _, s := range u.Snapshots {
		m.Snapshots = append(m.Snapshots, snapshotMessage(s))
	}
	for _, j := range u.Jobs {
		m.Jobs = append(m.Jobs, jobMessage(j))
	}
	return m
}

func messageUsage(m *v1.VolumeUsage) Usage {
	u := Usage{Used: m.GetUsed(), Shared: m.GetShared(), Problem: m.GetProblem()}
	for _, s := range m.GetSnapshots() {
		x := Snapshot{Name: s.GetName(), Size: s.GetSize()}
		if s.GetCreated() != nil {
			x.Created = s.GetCreated().AsTime()
		}
		u.Snapshots = append(u.Snapshots, x)
	}
	for _, j := range m.GetJobs() {
		u.Jobs = append(u.Jobs, Job{Kind: j.GetKind(), Subject: j.GetSubject(), Done: j.GetDone(), Total: j.GetTotal()})
	}
	return u
}
