package attach

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"sango/internal/attach/kernelnbd"
	"sango/internal/attach/ublk"
	"sango/internal/block"
	"sango/internal/san"
)

// frontend is what applications use of an attachment.
type frontend interface {
	// place returns the path of the disk and its number, or that of the socket.
	place() (device string, id int, socket string)
	// resize tells who can be told that the volume has another size.
	resize(ctx context.Context, size int64) error
	// wait returns when it serves no more: nil after stop, ErrLeft where the disk
	// is still there and its requests wait.
	wait() error
	// stop ends it and leaves nothing. It fails with san.ErrRefused, and serves
	// on, while the disk is in use, unless force is set.
	stop(ctx context.Context, force bool) error
}

// startFrontend makes the frontend of o over dev, or takes over the disk that
// st names.
func startFrontend(ctx context.Context, o *Options, st *State, dev block.Device, recover bool) (frontend, error) {
	if err := checkDriver(ctx, o.As); err != nil { // before warnings of what would go wrong with a disk
		return nil, err
	}
	switch o.As {
	case AsUblk:
		locked := prepareProcess(o.Logger)
		opt := ublk.Options{ID: ublk.Any, Queues: o.Queues, Depth: o.Depth, ReadOnly: o.ReadOnly, Lock: locked, Logger: o.Logger}
		if recover {
			opt.ID, opt.Recover = st.Device, true
			d, err := ublk.Start(ctx, dev, opt)
			if !errors.Is(err, ublk.ErrGone) {
				return ublkFrontend(d, err)
			}
			o.Logger.Warn("the disk that the last process left is gone; a new one is made", "id", st.Device)
			opt.ID, opt.Recover = ublk.Any, false
		}
		return ublkFrontend(ublk.Start(ctx, dev, opt))
	case AsNBD:
		prepareProcess(o.Logger)
		opt := kernelnbd.Options{Index: kernelnbd.Any, Connections: connections(o.Queues, st.Connections), Backend: backend(st), ReadOnly: o.ReadOnly, Logger: o.Logger}
		if recover {
			opt.Index, opt.Recover = st.Device, true
		}
		d, err := kernelnbd.Start(ctx, dev, opt)
		if err != nil {
			return nil, withoutDriver(err)
		}
		return &nbdDisk{d}, nil
	}
	return startSocket(ctx, o, dev)
}

func ublkFrontend(d *ublk.Disk, err error) (frontend, error) {
	if err != nil {
		return nil, withoutDriver(err)
	}
	return &ublkDisk{d}, nil
}

// checkDriver fails where the kernel's driver of a frontend is not there.
func checkDriver(ctx context.Context, as string) error {
	switch as {
	case AsUblk:
		return withoutDriver(ublk.Check())
	case AsNBD:
		if s, err := kernelnbd.Probe(ctx); err == nil && !s.Driver {
			return withoutDriver(kernelnbd.ErrNoDriver)
		}
	}
	return nil
}

// withoutDriver gives the errors of a driver that is not loaded their kind, and
// names the frontend that needs none.
func withoutDriver(err error) error {
	if errors.Is(err, ublk.ErrNoDriver) || errors.Is(err, kernelnbd.ErrNoDriver) {
		return san.Errorf(san.ErrUnavailable, "%v; or attach with --as socket, an NBD server for QEMU, nbdcopy and the like: it needs no driver", err)
	}
	return err
}

// backend tells the NBD disk of an attachment from others.
func backend(st *State) string { return fmt.Sprintf("sango-%016x", st.Group) }

// errDiskInUse says that a disk can't be taken away.
func errDiskInUse(path string) error {
	return san.Errorf(san.ErrRefused, "%s is in use: unmount it, or end what holds it; 'sango detach --force' takes it away nevertheless, and what was not written is lost", path)
}

// ublkDisk is a frontend.
type ublkDisk struct{ d *ublk.Disk }

func (u *ublkDisk) place() (string, int, string)              { return u.d.Path(), u.d.ID(), "" }
func (u *ublkDisk) resize(ctx context.Context, n int64) error { return u.d.Resize(ctx, n) }

func (u *ublkDisk) wait() error {
	err := u.d.Wait()
	if err != nil && !errors.Is(err, ublk.ErrStopped) {
		return fmt.Errorf("%w: %w", ErrLeft, err)
	}
	return err
}

func (u *ublkDisk) stop(ctx context.Context, force bool) error {
	err := u.d.Stop(ctx)
	if !errors.Is(err, ublk.ErrInUse) {
		return err
	}
	if !force {
		return errDiskInUse(u.d.Path())
	}
	if err := u.d.Abandon(); err != nil {
		return err
	}
	return ublk.Remove(ctx, u.d.ID())
}

// nbdDisk is a frontend.
type nbdDisk struct{ d *kernelnbd.Disk }

func (n *nbdDisk) place() (string, int, string)               { return n.d.Path(), n.d.ID(), "" }
func (n *nbdDisk) resize(_ context.Context, size int64) error { return n.d.Resize(size) }
func (n *nbdDisk) wait() error                                { return n.d.Wait() }

func (n *nbdDisk) stop(ctx context.Context, force bool) error {
	if !force && held(n.d.Path()) {
		return errDiskInUse(n.d.Path())
	}
	return n.d.Stop(ctx)
}

// connections returns how many connections the disk was made with: a recovery
// needs the same number.
func connections(asked, before int) int {
	switch {
	case before > 0:
		return before
	case asked > 0:
		return asked
	}
	return min(4, runtime.NumCPU())
}

// held reports whether something holds a block device exclusively: a mounted
// filesystem, another driver, a program that asked for that.
func held(path string) bool {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_EXCL, 0)
	if err == nil {
		f.Close()
	}
	return errors.Is(err, syscall.EBUSY)
}
