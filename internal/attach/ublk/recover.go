package ublk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sango/internal/attach/ublk/uapi"
)

// ErrServed says that a living process serves the disk.
var ErrServed = errors.New("another process serves the disk")

func served(id uint32, pid int32) error {
	return fmt.Errorf("ublk disk %d: %w: it has the process id %d; end that first", id, ErrServed, pid)
}

// dying is how long a process that has been killed may look alive.
const dying = 3 * time.Second

// mine are the disks that this process serves: that the driver names it as the server of another one only means that it
// has left that one a moment ago.
var mine sync.Map // uint32 → *Disk

// recover takes over the disk of a dead process.
func (d *Disk) recover(ctx context.Context) (err error) {
	id := uint32(d.opt.ID)
	if err := d.awaitOrphan(ctx, id); err != nil {
		return err
	}
	p, err := d.ctl.params(ctx, id)
	if err != nil {
		return fmt.Errorf("read the parameters of ublk disk %d: %w", id, err)
	}
	info := d.dev.Info()
	info.Caps.ReadOnly = info.Caps.ReadOnly || d.opt.ReadOnly
	if err := same(info, &p); err != nil {
		return fmt.Errorf("ublk disk %d: %w", id, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.giveUp())
		}
	}()
	// All that may be missing is got before: a recovery that ends half way leaves the disk in a state in which some
	// kernels must not begin another one.
	if err := d.prepare(); err != nil {
		return err
	}
	// Busy until the dead process' rings and files are gone.
	err = poll(ctx, d.opt.Patience, func() (bool, error) {
		err := d.ctl.call(ctx, uapi.CmdStartRecovery, id, 0, 0, nil, nil)
		return !errors.Is(err, unix.EBUSY), err
	})
	switch {
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("ublk disk %d can't be recovered: an attempt to do so was cut off: delete it and attach the volume anew", id)
	case err != nil:
		return fmt.Errorf("recover ublk disk %d: %w", id, err)
	}
	// From here on ctx does not matter: it is a matter of milliseconds.
	ctx = context.WithoutCancel(ctx)
	if err := d.fetch(ctx); err != nil {
		return err
	}
	if err := d.ctl.call(ctx, uapi.CmdEndRecovery, id, uint64(os.Getpid()), 0, nil, nil); err != nil {
		return fmt.Errorf("end the recovery of %s: %w", d.Path(), err)
	}
	return nil
}

// awaitOrphan waits until the kernel has seen that nobody serves the disk.
func (d *Disk) awaitOrphan(ctx context.Context, id uint32) error {
	begin := time.Now()
	err := poll(ctx, d.opt.Patience, func() (bool, error) {
		info, err := d.ctl.info(ctx, id)
		d.info = info
		switch {
		case err != nil:
			return true, fmt.Errorf("ublk disk %d: %w", id, err)
		case info.Flags&uapi.FeatureRecovery == 0:
			return true, fmt.Errorf("ublk disk %d was made without recovery, by another program", id)
		case info.State == uapi.StateQuiesced || info.State == uapi.StateFailIO:
			return true, nil
		case info.State == uapi.StateDead:
			return true, fmt.Errorf("ublk disk %d was stopped: delete it and attach the volume anew", id)
		case int(info.PID) == os.Getpid():
			if _, ok := mine.Load(id); ok {
				return true, served(id, info.PID)
			}
		case alive(int(info.PID)):
			return time.Since(begin) > dying, served(id, info.PID)
		}
		return false, fmt.Errorf("ublk disk %d: the kernel is not done with its dead process %d; try again", id, info.PID)
	})
	return err
}

// alive reports whether a process runs.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	// The state is behind the name, which may hold anything but ends with the last parenthesis.
	_, rest, _ := bytes.Cut(stat[max(0, bytes.LastIndexByte(stat, ')')):], []byte(" "))
	return len(rest) > 0 && rest[0] != 'Z' && rest[0] != 'X'
}
