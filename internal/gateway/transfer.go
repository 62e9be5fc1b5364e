package gateway

import (
	"context"
	"io"

	"sango/internal/block"
	"sango/internal/bufpool"
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
