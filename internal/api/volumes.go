package api

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"

	v1 "sango/internal/api/gen/sango/v1"
	"sango/internal/meta"
	"sango/internal/san"
)

// volumeService implements sango.v1.VolumeService.
type volumeService struct {
	n     Node
	peers *peers
}

// describe returns a volume with all that is known of it.
func (s volumeService) describe(ctx context.Context, name string) (*v1.Volume, error) {
	var v *san.Volume
	var uses []meta.Use
	var has ownership
	err := s.n.Meta().Update(ctx, func(tx *meta.Tx) (err error) {
		if v, err = tx.VolumeNamed(name); err != nil {
			return err
		}
		if uses, err = tx.Mappings(v.ID); err == nil {
			has, err = s.ownership(tx, v.ID)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	usages, err := s.usages(ctx, []*san.Volume{v}, has)
	if err != nil {
		return nil, err
	}
	m := has.describe(v, usages[v.ID])
	for _, use := range uses {
		m.Mappings = append(m.Mappings, &v1.VolumeMapping{Target: use.Target, Lun: int32(use.LUN)})
	}
	return m, nil
}

func (s volumeService) CreateVolume(ctx context.Context, r *connect.Request[v1.CreateVolumeRequest]) (*connect.Response[v1.CreateVolumeResponse], error) {
	v := specVolume(r.Msg.GetSpec())
	if err := s.n.Volumes().Create(ctx, v); err != nil {
		return nil, err
	}
	m, err := s.describe(ctx, v.Name)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&v1.CreateVolumeResponse{Volume: m}), nil
}

func (s volumeService) ListVolumes(ctx context.Context, _ *connect.Request[v1.ListVolumesRequest]) (*connect.Response[v1.ListVolumesResponse], error) {
	snap, err := s.n.Meta().Load(ctx)
	if err != nil {
		return nil, err
	}
	var has ownership
	if err := s.n.Meta().Update(ctx, func(tx *meta.Tx) (err error) {
		has, err = s.ownership(tx)
		return err
	}); err != nil {
		return nil, err
	}
	usages, err := s.usages(ctx, slices.Collect(maps.Values(snap.Volumes)), has)
	if err != nil {
		return nil, err
	}
	resp := &v1.ListVolumesResponse{}
	at := map[san.UUID]*v1.Volume{}
	for _, v := range snap.Volumes {
		m := has.describe(v, usages[v.ID])
		at[v.ID] = m
		resp.Volumes = append(resp.Volumes, m)
	}
	for _, name := range sorted(snap.Targets) {
		for lun, mp := range snap.Targets[name].LUNs {
			if m := at[mp.Volume]; m != nil {
				m.Mappings = append(m.Mappings, &v1.VolumeMapping{Target: name, Lun: int32(lun)})
			}
		}
	}
	slices.SortFunc(resp.Volumes, func(a, b *v1.Volume) int { return strings.Compare(a.Name, b.Name) })
	return connect.NewResponse(resp), nil
}

func (s volumeService) GetVolume(ctx context.Context, r *connect.Request[v1.GetVolumeRequest]) (*connect.Response[v1.GetVolumeResponse], error) {
	m, err := s.describe(ctx, r.Msg.GetName())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&v1.GetVolumeResponse{Volume: m}), nil
}

func (s volumeService) ResizeVolume(ctx context.Context, r *connect.Request[v1.ResizeVolumeRequest]) (*connect.Response[v1.ResizeVolumeResponse], error) {
	if err := s.n.Volumes().Resize(ctx, r.Msg.GetName(), r.Msg.GetSize()); err != nil {
		return nil, err
	}
	if err := s.n.Sync(ctx, Applied); err != nil {
		return nil, err
	}
	m, err := s.describe(ctx, r.Msg.GetName())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&v1.ResizeVolumeResponse{Volume: m}), nil
}

func (s volumeService) SetVolume(ctx context.Context, r *connect.Request[v1.SetVolumeRequest]) (*connect.Response[v1.SetVolumeResponse], error) {
	name := r.Msg.GetName()
	if err := change(ctx, s.n, func(tx *meta.Tx) error {
		v, err := tx.VolumeNamed(name)
		if err != nil {
			return err
		}
		if r.Msg.Fencing != nil {
			v.Fencing = san.Fencing(r.Msg.GetFencing())
			if v.Fencing == san.FenceCommand {
				all, err := tx.Gateways()
				if err != nil {
					return err
				}
				if lack := fenceless(all); len(lack) > 0 {
					return san.Errorf(san.ErrRefused, "any gateway may have to run the fence command, and there is none at %s: set fence: in the configuration there, and start it again, or take away with 'sango gateway remove' what is gone", strings.Join(lack, ", "))
				}
			}
		}
		if r.Msg.Prefer != nil {
			v.Prefer = r.Msg.GetPrefer().GetNames()
			for i, g := range v.Prefer {
				if slices.Contains(v.Prefer[:i], g) {
					return san.Errorf(san.ErrInvalid, "gateway %s is preferred twice: name each once, the best first", g)
				}
				if _, err := tx.Gateway(g); err != nil {
					return err
				}
			}
		}
		return tx.PlaceVolume(v.ID, v.Fencing, v.Prefer)
	}); err != nil {
		return nil, err
	}
	m, err := s.describe(ctx, name)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&v1.SetVolumeResponse{Volume: m}), nil
}

func (s volumeService) DeleteVolume(ctx context.Context, r *connect.Request[v1.DeleteVolumeRequest]) (*connect.Response[v1.DeleteVolumeResponse], error) {
	if err := s.n.Volumes().Delete(ctx, r.Msg.GetName()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&v1.DeleteVolumeResponse{}), nil
}

func (s volumeService) CreateSnapshot(ctx context.Context, r *connect.Request[v1.CreateSnapshotRequest]) (*connect.Response[v1.CreateSnapshotResponse], error) {
	name := r.Msg.GetSnapshot()
	if err := san.CheckName("snapshot", name); err != nil {
		return nil, err
	}
	if err := s.n.Volumes().Snapshot(ctx, r.Msg.GetVolume(), name); err != nil {
		return nil, err
	}
	m, err := s.describe(ctx, r.Msg.GetVolume())
	if err != nil {
		return nil, err
	}
	resp := &v1.CreateSnapshotResponse{}
	if i := slices.IndexFunc(m.Snapshots, func(x *v1.Snapshot) bool { return x.Name == name }); i >= 0 {
		resp.Snapshot = m.Snapshots[i]
	}
	return connect.NewResponse(resp), nil
}

// progressEvery is how often progress is told.
const progressEvery = 200 * time.Millisecond

func (s volumeService) DeleteSnapshot(ctx context.Context, r *connect.Request[v1.DeleteSnapshotRequest], stream *connect.ServerStream[v1.DeleteSnapshotResponse]) error {
	volume, snapshot := r.Msg.GetVolume(), r.Msg.GetSnapshot()
	if err := s.n.Volumes().DeleteSnapshot(ctx, volume, snapshot); err != nil {
		return err
	}
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	var last Job
	for {
		j, running, err := s.merge(ctx, volume, snapshot)
		if err != nil {
			return err
		}
		if !running {
			return stream.Send(&v1.DeleteSnapshotResponse{Done: last.Total, Total: last.Total})
		}
		if j.Total > 0 {
			last = j
		}
		if err := stream.Send(&v1.DeleteSnapshotResponse{Done: last.Done, Total: last.Total}); err != nil || r.Msg.GetNoWait() {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// merge tells how the merge behind a deleted snapshot stands. It goes on where the
// volume is: that may be another gateway by now.
func (s volumeService) merge(ctx context.Context, volume, snapshot string) (Job, bool, error) {
	j, running, err := s.n.Volumes().Merge(volume, snapshot)
	if running || s.n.Cluster() == nil {
		return j, running, err
	}
	at, werr := s.peers.where(ctx, volume, http.Header{}, time.Now())
	switch {
	case werr != nil:
		return j, false, werr
	case at.here:
		return j, running, err
	}
	a := s.peers.ask(ctx, map[string]*v1.DescribeRequest{at.Gateway: {Volumes: [][]byte{at.volume[:]}}})[at.Gateway]
	if a.err != nil {
		return Job{}, true, nil // it answers later, or is declared dead
	}
	for _, u := range a.GetUsage() {
		switch jobs := messageUsage(u).Jobs; {
		case u.GetProblem() != "":
			return Job{}, false, san.Errorf(san.ErrUnavailable, "snapshot %s@%s is gone, but the merge behind it waits: %s", volume, snapshot, u.GetProblem())
		case len(jobs) > 0:
			return jobs[0], true, nil
		}
	}
	return Job{}, false, nil
}

func (s volumeService) CloneVolume(ctx context.Context, r *connect.Request[v1.CloneVolumeRequest]) (*connect.Response[v1.CloneVolumeResponse], error) {
	v, err := s.n.Volumes().Clone(ctx, r.Msg.GetVolume(), r.Msg.GetSnapshot(), r.Msg.GetName())
	if err != nil {
		return nil, err
	}
	m, err := s.describe(ctx, v.Name)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&v1.CloneVolumeResponse{Volume: m}), nil
}

func (s volumeService) RollbackVolume(ctx context.Context, r *connect.Request[v1.RollbackVolumeRequest]) (*connect.Response[v1.RollbackVolumeResponse], error) {
	if err := s.n.Volumes().Rollback(ctx, r.Msg.GetVolume(), r.Msg.GetSnapshot()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&v1.RollbackVolumeResponse{}), nil
}
