package gateway

import (
	"context"
	"errors"
	"io"

	"sango/internal/api"
	"sango/internal/block"
	"sango/internal/block/layered"
	"sango/internal/bufpool"
	"sango/internal/meta"
	"sango/internal/san"
)

// Import implements api.Volumes.
func (w volumes) Import(ctx context.Context, v *san.Volume, fill func(io.WriterAt) error) error {
	return w.add(ctx, v, func() error {
		if err := w.n.disks.create(v); err != nil {
			return err
		}
		dev := w.n.disks.device(v)
		to := &writerAt{dev: dev, block: int64(v.BlockSize), size: v.Size}
		err := fill(to)
		if err == nil {
			err = block.Flush(dev)
		}
		if cerr := dev.Close(); err == nil {
			err = cerr
		}
		return kindly(v.Name, err)
	})
}

// writerAt writes to a device at any offset and length. Writes come in
// ascending order and don't overlap, and what was never written holds zeros.
type writerAt struct {
	dev         block.Device
	block, size int64
}

// WriteAt implements io.WriterAt.
func (w *writerAt) WriteAt(p []byte, off int64) (int, error) {
	from := off / w.block * w.block
	to := (off + int64(len(p)) + w.block - 1) / w.block * w.block
	if from == off && to == off+int64(len(p)) {
		return len(p), block.WriteAt(w.dev, p, off, 0)
	}
	b := bufpool.Get(int(to - from))
	defer b.Release()
	if err := block.ReadAt(w.dev, b.B, from); err != nil {
		return 0, err
	}
	copy(b.B[off-from:], p)
	return len(p), block.WriteAt(w.dev, b.B, from, 0)
}

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
		return export(ctx, dev, begin, send)
	}
	store := w.n.disks.store
	if snapshot == "" {
		e := meta.Export{Volume: v.ID, Snapshot: temporary()}
		if err := w.n.meta.Update(ctx, func(tx *meta.Tx) error { return tx.BeginExport(e) }); err != nil {
			return err
		}
		defer func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanup)
			defer cancel()
			if derr := w.n.exported(ctx, e); derr != nil {
				w.n.cfg.Log.Error("the snapshot behind an export can't be removed; the next start of the node tries again", "volume", volume, "snapshot", e.Snapshot, "error", derr)
			}
		}()
		if err := store.Snapshot(v.ID, e.Snapshot); err != nil {
			return kindly(volume, err)
		}
		snapshot = e.Snapshot
	}
	dev, err := store.OpenSnapshot(v.ID, snapshot)
	if err != nil {
		return noSuchSnapshot(volume, snapshot, err)
	}
	defer func() {
		if cerr := dev.Close(); err == nil {
			err = cerr
		}
	}()
	return kindly(volume, export(ctx, dev, begin, send))
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
// not finish.
func (n *Node) settleExports(ctx context.Context) error {
	var cut []meta.Export
	if err := n.meta.Update(ctx, func(tx *meta.Tx) (err error) {
		cut, err = tx.Exports()
		return err
	}); err != nil {
		return err
	}
	for _, e := range cut {
		if err := n.exported(ctx, e); err != nil {
			n.cfg.Log.Error("the snapshot behind an export can't be removed; the next start tries again", "id", e.Volume.String(), "snapshot", e.Snapshot, "error", err)
		}
	}
	return nil
}

// export sends what is allocated on dev.
func export(ctx context.Context, dev block.Device, begin func(int64) error, send func(int64, []byte) error) error {
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
