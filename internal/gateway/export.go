package gateway

import (
	"context"
	"errors"

	"sango/internal/api"
	"sango/internal/block"
	"sango/internal/block/layered"
	"sango/internal/bufpool"
	"sango/internal/meta"
	"sango/internal/san"
)

// Export implements api.Volumes. A live volume is read through a snapshot of
// its own, so that the copy is of one moment.
func (w volumes) Export(ctx context.Context, volume, snapshot string, begin func(int64) error, send func(int64, []byte) error) (err error) {
	v, err := w.named(ctx, volume)
	if err != nil {
		return err
	}
	if v.Driver == san.DriverMem {
		if snapshot != "" {
			return noSnapshots(v)
		}
		dev := w.n.disks.device(v)
		defer dev.Close()
		return export(ctx, context.Background(), dev, begin, send)
	}
	x, err := w.beginExport(ctx, v, snapshot)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := x.end(); err == nil {
			err = cerr
		}
	}()
	if err := export(ctx, x.term, x.dev, begin, send); x.term.Err() == nil {
		return kindly(volume, err)
	} else if err != nil {
		return san.Errorf(san.ErrUnavailable, "volume %s has moved to another gateway in the middle of the export; try again", volume)
	}
	return nil
}

// outgoing is an export under way. It holds the volume only while it begins and
// ends: a client reads as fast as it likes, or not at all, and hosts must not
// wait for that when the volume moves. What it reads is closed with the volume
// then.
type outgoing struct {
	n    *Node
	vol  *san.Volume
	dev  block.Device
	made *meta.Export    // the snapshot that is its own; nil: it has none
	term context.Context // of the volume here
}

// beginExport opens a snapshot of a volume, or one that it makes for itself.
func (w volumes) beginExport(ctx context.Context, v *san.Volume, snapshot string) (*outgoing, error) {
	term, release, err := w.n.hold(v)
	if err != nil {
		return nil, err
	}
	defer release()
	x := &outgoing{n: w.n, vol: v, term: term}
	store := w.n.disks.store
	if snapshot == "" {
		e := meta.Export{Volume: v.ID, Snapshot: temporary()}
		ctx, cancel := during(ctx, term)
		defer cancel()
		if err := w.n.meta.Update(ctx, func(tx *meta.Tx) error { return tx.BeginExport(e) }); err != nil {
			return nil, unlessOver(term, err)
		}
		if x.made = &e; term.Err() != nil {
			return nil, context.Cause(term) // the next owner forgets it
		}
		if err := store.Snapshot(v.ID, e.Snapshot); err != nil {
			x.remove()
			return nil, kindly(v.Name, err)
		}
		snapshot = e.Snapshot
	}
	if x.dev, err = store.OpenSnapshot(v.ID, snapshot); err != nil {
		x.remove()
		return nil, noSuchSnapshot(v.Name, snapshot, err)
	}
	return x, nil
}

// end closes what was read.
func (x *outgoing) end() error {
	err := x.dev.Close()
	x.remove()
	return err
}

// remove removes the snapshot that was made for x. Where the volume has gone
// elsewhere, whoever opened it has done so.
func (x *outgoing) remove() {
	if x.made == nil {
		return
	}
	term, release, err := x.n.hold(x.vol)
	if err != nil {
		return
	}
	defer release()
	ctx, cancel := context.WithTimeout(context.Background(), cleanup)
	defer cancel()
	ctx, cancel = during(ctx, term)
	defer cancel()
	if err := x.n.exported(ctx, *x.made); err != nil && term.Err() == nil {
		x.n.cfg.Log.Error("the snapshot behind an export can't be removed; the next start of the node tries again", "volume", x.vol.Name, "snapshot", x.made.Snapshot, "error", err)
	}
}

// exported removes the snapshot that an export read.
func (n *Node) exported(ctx context.Context, e meta.Export) error {
	if err := n.disks.store.DeleteSnapshot(e.Volume, e.Snapshot); err != nil && !errors.Is(err, layered.ErrNotFound) {
		return err
	}
	return n.meta.Update(ctx, func(tx *meta.Tx) error {
		tx.EndExport(e)
		return nil
	})
}

// settleExports removes the snapshots of exports that a process began and did
// not finish: those of a volume, or of all.
func (n *Node) settleExports(ctx context.Context, of san.UUID) error {
	var cut []meta.Export
	if err := n.meta.Update(ctx, func(tx *meta.Tx) (err error) {
		cut, err = tx.Exports()
		return err
	}); err != nil {
		return err
	}
	for _, e := range cut {
		if !of.IsZero() && e.Volume != of {
			continue
		}
		if err := n.exported(ctx, e); err != nil {
			n.cfg.Log.Error("the snapshot behind an export can't be removed; the next start tries again", "id", e.Volume.String(), "snapshot", e.Snapshot, "error", err)
		}
	}
	return nil
}

// export sends what is allocated on dev, until the term ends.
func export(ctx, term context.Context, dev block.Device, begin func(int64) error, send func(int64, []byte) error) error {
	size := dev.Info().Size
	if err := begin(size); err != nil {
		return err
	}
	buf := bufpool.Get(api.MaxChunk)
	defer buf.Release()
	for off := int64(0); off < size; {
		extents, err := dev.Status(off, size-off, 64)
		if err != nil {
			return err
		}
		for _, e := range extents {
			end := e.Off + e.Len
			off = end
			if e.Alloc == block.Deallocated {
				continue
			}
			for at := e.Off; at < end; {
				if err := ctx.Err(); err != nil {
					return err
				}
				if term.Err() != nil {
					return context.Cause(term)
				}
				p := buf.B[:min(int64(len(buf.B)), end-at)]
				if err := block.ReadAt(dev, p, at); err != nil {
					return err
				}
				if err := send(at, p); err != nil {
					return err
				}
				at += int64(len(p))
			}
		}
	}
	return nil
}
