package gateway

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"sango/internal/api"
	"sango/internal/block/layered"
	"sango/internal/meta"
	"sango/internal/san"
)

// volumes changes volumes together with their bytes (api.Volumes). The record
// and the bytes cannot change in one transaction, so that each change notes
// what it is about to do first; settle cleans up after a process that died in
// between.
type volumes struct{ n *Node }

var _ api.Volumes = volumes{}

// settle ends the changes of volumes that a process began and did not finish.
// In a cluster resizes and exports are the business of whoever opens the volume
// next, and what another gateway has begun is its own.
func (n *Node) settle(ctx context.Context) error {
	var names []string
	for _, c := range n.cfg.each() {
		names = append(names, c.Name)
	}
	if err := n.settleOf(ctx, names...); err != nil || n.cfg.clustered() {
		return err
	}
	return n.settleExports(ctx, san.UUID{})
}

// settleOf is settle for what was begun by the gateways named, none of which
// runs any more.
func (n *Node) settleOf(ctx context.Context, gateways ...string) error {
	var pending map[san.UUID]meta.Pending
	if err := n.meta.Update(ctx, func(tx *meta.Tx) (err error) {
		pending, err = tx.Pending()
		return err
	}); err != nil {
		return err
	}
	for id, p := range pending {
		what, by := p.By()
		if n.cfg.clustered() && (what == meta.PendingResize || by != "" && !slices.Contains(gateways, by)) {
			continue
		}
		n.cfg.Log.Info("cleaning up after a volume operation that was cut short", "id", id.String(), "operation", string(what))
		switch what {
		case meta.PendingResize:
			if err := n.adjusted(ctx, id); err != nil {
				n.cfg.Log.Error("a resize was cut short; repeat it", "id", id.String(), "error", err)
			}
		default:
			if err := n.removed(ctx, id); err != nil {
				n.cfg.Log.Error("what is left of a volume can't be removed; it takes space until the next start", "id", id.String(), "error", err)
			}
		}
	}
	return nil
}

// adjusted makes the record of a volume say how large it is.
func (n *Node) adjusted(ctx context.Context, id san.UUID) error {
	st, err := n.disks.store.Stat(id)
	if errors.Is(err, layered.ErrNotFound) { // in memory, and gone with the process
		return n.settled(ctx, id)
	}
	if err != nil {
		return err
	}
	return n.meta.Update(ctx, func(tx *meta.Tx) error { return tx.ResizeVolume(id, st.Size) })
}

// settled forgets that a change of a volume was under way.
func (n *Node) settled(ctx context.Context, id san.UUID) error {
	return n.meta.Update(ctx, func(tx *meta.Tx) error {
		tx.Settle(id)
		return nil
	})
}

// removed drops the bytes of a volume that has no record, and forgets it.
func (n *Node) removed(ctx context.Context, id san.UUID) error {
	if err := n.disks.drop(id); err != nil {
		return err
	}
	return n.settled(ctx, id)
}

// add makes a volume: make does the bytes, then the record is committed. When
// anything fails, nothing is left.
func (w volumes) add(ctx context.Context, v *san.Volume, make func() error) error {
	v.ID, v.Created = san.NewUUID(), time.Now().UTC()
	probe := *v
	if probe.Adopted != "" && probe.Size == 0 {
		probe.Size = int64(probe.BlockSize) // to be looked up
	}
	if err := probe.Check(); err != nil {
		return err
	}
	if err := w.n.meta.Update(ctx, func(tx *meta.Tx) error { return tx.Begin(v.ID, v.Name) }); err != nil {
		return err
	}
	err := make()
	if err == nil {
		err = w.n.meta.Update(ctx, func(tx *meta.Tx) error { return tx.CreateVolume(v) })
	}
	if err == nil {
		return w.n.Sync(ctx, api.Applied)
	}
	// The caller may be gone, the clean-up is needed all the same. The commit of
	// the record may have an unknown outcome, and be on its way still: the bytes
	// go only once it can't succeed any more. If that can't be told either, the
	// next start does it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanup)
	defer cancel()
	var created bool
	if uerr := w.n.meta.Update(ctx, func(tx *meta.Tx) (err error) {
		created, err = tx.Abandon(v.ID)
		return err
	}); uerr != nil {
		return err
	}
	if created {
		return w.n.Sync(ctx, api.Applied)
	}
	if rerr := w.n.removed(ctx, v.ID); rerr != nil {
		w.n.cfg.Log.Error("what is left of a volume can't be removed; it takes space until the next start", "volume", v.Name, "error", rerr)
	}
	return err
}

// cleanup bounds the clean-up behind a failed change.
const cleanup = 10 * time.Second

// Create implements api.Volumes.
func (w volumes) Create(ctx context.Context, v *san.Volume) error {
	if v.Adopted != "" {
		// One name for one file, wherever the command was run.
		if !filepath.IsAbs(v.Adopted) {
			return san.Errorf(san.ErrInvalid, "adopt %s: give the absolute path", v.Adopted)
		}
		path, err := filepath.EvalSymlinks(v.Adopted)
		if errors.Is(err, fs.ErrNotExist) {
			return san.Errorf(san.ErrNotFound, "adopt: there is no file or device %s", v.Adopted)
		}
		if err != nil {
			return fmt.Errorf("adopt: %w", err)
		}
		if rel, err := filepath.Rel(w.n.cfg.Dir, path); err == nil && filepath.IsLocal(rel) {
			return san.Errorf(san.ErrRefused, "adopt %s: it is in the node's own directory; move it elsewhere first", v.Adopted)
		}
		v.Adopted = path
	}
	return w.add(ctx, v, func() error { return w.n.disks.create(v) })
}

// named returns the record of a volume.
func (w volumes) named(ctx context.Context, name string) (v *san.Volume, err error) {
	err = w.n.meta.Update(ctx, func(tx *meta.Tx) error {
		v, err = tx.VolumeNamed(name)
		return err
	})
	return v, err
}

// Usage implements api.Volumes.
func (w volumes) Usage(v *san.Volume) (api.Usage, error) {
	u, err := w.n.disks.usage(v)
	if err != nil {
		return u, err
	}
	if j, ok := w.n.disks.merges()[v.ID]; ok {
		u.Jobs = append(u.Jobs, api.Job{Kind: j.Kind, Subject: w.n.subject(v.ID), Done: j.Done, Total: j.Total})
		if j.Error != "" {
			u.Problem = "a merge stopped: " + j.Error
		}
	}
	for _, g := range w.n.gateways() {
		if p := g.view.problem(v.ID); p != nil {
			u.Problem = p.Error()
		}
	}
	return u, nil
}

// Jobs implements api.Volumes.
func (w volumes) Jobs() map[san.UUID]api.Job {
	jobs := map[san.UUID]api.Job{}
	for id, j := range w.n.disks.merges() {
		jobs[id] = api.Job{Kind: j.Kind, Subject: w.n.subject(id), Done: j.Done, Total: j.Total}
	}
	return jobs
}

// Resize implements api.Volumes. The bytes come first: what hosts are told
// must be there.
func (w volumes) Resize(ctx context.Context, name string, size int64) error {
	v, err := w.named(ctx, name)
	if err != nil {
		return err
	}
	if err := w.n.meta.Update(ctx, func(tx *meta.Tx) error { return tx.BeginResize(v.ID, size) }); err != nil {
		return err
	}
	term, release, err := w.n.hold(v)
	if err != nil {
		return err
	}
	defer release()
	if err := w.n.disks.resize(v, size); err != nil {
		return err
	}
	ctx, cancel := during(ctx, term)
	defer cancel()
	// Where it is cut short by a move, the next owner adjusts the record.
	return unlessOver(term, w.n.meta.Update(ctx, func(tx *meta.Tx) error { return tx.ResizeVolume(v.ID, size) }))
}

// Delete implements api.Volumes. The record goes first, and with it every way
// to the bytes.
func (w volumes) Delete(ctx context.Context, name string) error {
	var id san.UUID
	if err := w.n.meta.Update(ctx, func(tx *meta.Tx) error {
		v, err := tx.VolumeNamed(name)
		if err != nil {
			return err
		}
		id = v.ID
		return tx.DeleteVolume(id)
	}); err != nil {
		return err
	}
	if err := w.n.Sync(ctx, api.Applied); err != nil {
		return err
	}
	if err := w.n.closed(ctx, id); err != nil {
		return err
	}
	if err := w.n.removed(ctx, id); err != nil {
		return san.Errorf(san.ErrUnavailable, "volume %s is deleted, but its space is not free yet (%v); the next start of the node tries again", name, err)
	}
	return nil
}

// closed returns when no gateway of this process has a volume open that was
// deleted, nor a command of a host to it under way.
func (n *Node) closed(ctx context.Context, id san.UUID) error {
	for _, g := range n.gateways() {
		over, err := g.view.rest(ctx, id)
		if err != nil {
			return san.Errorf(san.ErrUnavailable, "the volume %s is deleted, but %v; its space is freed at the next start of gateway %s", id, err, g.cfg.Name)
		}
		over()
		if g.member == nil {
			continue
		}
		if !g.member.gone(ctx, id) {
			return san.Errorf(san.ErrUnavailable, "the volume %s is deleted, but still open on gateway %s; its space is freed at the next start of that one", id, g.cfg.Name)
		}
	}
	return nil
}
