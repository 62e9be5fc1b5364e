package attach

import (
	"context"
	"errors"
	"os"
	"time"

	"sango/internal/attach/kernelnbd"
	"sango/internal/attach/ublk"
	"sango/internal/block"
)

// leftTime bounds the removal of a disk that a dead process left.
const leftTime = 8 * time.Second

// removeLeft removes the disk and the socket that a dead process left. Requests
// that wait in the disk fail. The caller holds the lock of the attachment.
func (st *State) removeLeft(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, leftTime)
	defer cancel()
	if st.Socket != "" {
		_ = os.Remove(st.Socket)
	}
	boot, err := bootID()
	if err != nil {
		return err
	}
	if st.Device < 0 || st.Boot != boot { // the number may be another disk's
		return nil
	}
	switch st.As {
	case AsUblk:
		if err := ublk.Remove(ctx, st.Device); !errors.Is(err, ublk.ErrGone) {
			return err
		}
	case AsNBD:
		// The driver disconnects only a disk that is served.
		d, err := kernelnbd.Start(ctx, dead{st}, kernelnbd.Options{
			Index: st.Device, Connections: st.Connections, Backend: backend(st), Recover: true,
		})
		if err != nil {
			return err
		}
		return d.Stop(ctx)
	}
	return nil
}

// dead is a device that fails every request.
type dead struct{ st *State }

var _ block.Device = dead{}

// Info implements block.Device.
func (d dead) Info() block.Info {
	return block.Info{Size: d.st.Size, BlockSize: d.st.BlockSize, PhysicalBlock: d.st.BlockSize}
}

// Submit implements block.Device.
func (d dead) Submit(r *block.Request) {
	r.End(&block.Error{Class: block.Closed, Op: r.Op, Off: r.Off, Len: r.Len})
}

// Status implements block.Device.
func (d dead) Status(off, n int64, _ int) ([]block.Extent, error) {
	return []block.Extent{{Off: off, Len: n}}, nil
}

// Close implements block.Device.
func (d dead) Close() error { return nil }
