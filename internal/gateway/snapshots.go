package gateway

import (
	"context"
	"errors"
	"time"

	"sango/internal/api"
	"sango/internal/block/layered"
	"sango/internal/meta"
	"sango/internal/san"
)

// withSnapshots returns the record of a volume that can have snapshots.
func (w volumes) withSnapshots(ctx context.Context, name string) (*san.Volume, error) {
	v, err := w.named(ctx, name)
	if err == nil {
		err = noSnapshots(v)
	}
	return v, err
}

// Snapshot implements api.Volumes.
func (w volumes) Snapshot(ctx context.Context, volume, snapshot string) error {
	v, err := w.withSnapshots(ctx, volume)
	if err != nil {
		return err
	}
	_, release, err := w.n.hold(v)
	if err != nil {
		return err
	}
	defer release()
	if err := w.n.disks.store.Snapshot(v.ID, snapshot); err != nil {
		if errors.Is(err, layered.ErrExists) {
			return san.Errorf(san.ErrExists, "snapshot %s@%s exists; choose another name", volume, snapshot)
		}
		return kindly(volume, err)
	}
	return nil
}

// noSuchSnapshot says it where err means it.
func noSuchSnapshot(volume, snapshot string, err error) error {
	if errors.Is(err, layered.ErrNotFound) {
		return san.Errorf(san.ErrNotFound, "there is no snapshot %s@%s; 'sango volume show %s' lists them", volume, snapshot, volume)
	}
	return kindly(volume, err)
}

// DeleteSnapshot implements api.Volumes.
func (w volumes) DeleteSnapshot(ctx context.Context, volume, snapshot string) error {
	v, err := w.withSnapshots(ctx, volume)
	if err != nil {
		return err
	}
	_, release, err := w.n.hold(v)
	if err != nil {
		return err
	}
	defer release()
	w.n.merging.Store(v.ID, snapshot)
	return noSuchSnapshot(volume, snapshot, w.n.disks.store.DeleteSnapshot(v.ID, snapshot))
}

// subject returns the snapshot whose deletion started the merge of a volume,
// as far as this process knows.
func (n *Node) subject(id san.UUID) string {
	s, _ := n.merging.Load(id)
	name, _ := s.(string)
	return name
}

// Merge implements api.Volumes.
func (w volumes) Merge(volume, snapshot string) (api.Job, bool, error) {
	v, err := w.named(context.Background(), volume)
	if err != nil {
		return api.Job{}, false, err
	}
	j, ok := w.n.disks.merges()[v.ID]
	switch {
	case !ok:
		return api.Job{}, false, nil
	case j.Error != "":
		return api.Job{}, false, san.Errorf(san.ErrUnavailable, "snapshot %s@%s is gone, but the merge behind it stopped: %s; it goes on when the volume is opened next", volume, snapshot, j.Error)
	}
	return api.Job{Kind: j.Kind, Subject: snapshot, Done: j.Done, Total: j.Total}, j.Running, nil
}

// Clone implements api.Volumes.
func (w volumes) Clone(ctx context.Context, volume, snapshot, name string) (*san.Volume, error) {
	from, err := w.withSnapshots(ctx, volume)
	if err != nil {
		return nil, err
	}
	// The metadata is not waited for while the volume is held: what was a snapshot
	// here may be gone when the bytes are cloned, and then it is said so.
	snaps, err := w.n.disks.store.Snapshots(from.ID)
	if err != nil {
		return nil, kindly(volume, err)
	}
	for _, s := range snaps {
		if s.Name == snapshot {
			v := &san.Volume{
				Name: name, Driver: from.Driver, Size: s.Size, BlockSize: from.BlockSize, PhysicalBlock: from.PhysicalBlock,
				ReadOnly: from.ReadOnly, Removable: from.Removable,
			}
			return v, w.add(ctx, v, func() error {
				_, release, err := w.n.hold(from)
				if err != nil {
					return err
				}
				defer release()
				return noSuchSnapshot(volume, snapshot, w.n.disks.store.Clone(from.ID, snapshot, v.ID))
			})
		}
	}
	return nil, san.Errorf(san.ErrNotFound, "there is no snapshot %s@%s; 'sango volume show %s' lists them", volume, snapshot, volume)
}

// Rollback implements api.Volumes.
func (w volumes) Rollback(ctx context.Context, volume, snapshot string) error {
	v, err := w.withSnapshots(ctx, volume)
	if err != nil {
		return err
	}
	if err := w.n.meta.Update(ctx, func(tx *meta.Tx) error { return notMapped(tx, v) }); err != nil {
		return err
	}
	// Nobody may see it meanwhile: LUNs of this node that map it wait. That goes
	// before the volume is held, since it may take a while.
	for _, g := range w.n.gateways() {
		over, err := g.view.rest(ctx, v.ID)
		if err != nil {
			return err
		}
		defer over()
	}
	term, release, err := w.n.hold(v)
	if err != nil {
		return err
	}
	defer release()
	ctx, cancel := during(ctx, term)
	defer cancel()
	return unlessOver(term, w.n.meta.Update(ctx, func(tx *meta.Tx) error {
		if err := notMapped(tx, v); err != nil {
			return err
		}
		return noSuchSnapshot(volume, snapshot, w.n.disks.store.Rollback(v.ID, snapshot))
	}))
}

// notMapped refuses to roll back a volume that hosts see.
func notMapped(tx *meta.Tx, v *san.Volume) error {
	uses, err := tx.Mappings(v.ID)
	if err != nil {
		return err
	}
	if len(uses) > 0 {
		u := uses[0]
		return san.Errorf(san.ErrRefused, "volume %s is mapped as LUN %d of %s, and hosts would see it change under them; run 'sango target unmap %s %d', roll back, and map it again", v.Name, u.LUN, u.Target, u.Target, u.LUN)
	}
	return nil
}

// temporary is how the snapshots that exports read are named.
func temporary() string { return "export-" + time.Now().UTC().Format("20060102-150405.000000") }
