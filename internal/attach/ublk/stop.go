package ublk

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"sango/internal/attach/ublk/uapi"
)

// ErrInUse says that a disk is mounted, or held by another driver.
var ErrInUse = errors.New("the disk is in use: unmount it, or end what holds it")

// ErrResize says that the kernel can't change the size of a disk that is there.
var ErrResize = errors.New("the ublk driver of this kernel can't resize a disk (that came with Linux 6.16): " +
	"the new size is seen once the volume is detached and attached anew")

// stopping is one attempt to stop.
type stopping struct {
	done chan struct{}
	err  error
}

// Stop writes back what the kernel holds for the disk, ends it and deletes it: afterwards there is no such file any
// more, and dev has no request in flight. It fails with ErrInUse, and the disk is served on, while something holds the
// disk exclusively. When ctx ends first, Stop returns and goes on in the background: it may wait for dev to answer, or
// for programs that have the disk open; call it again to wait longer.
func (d *Disk) Stop(ctx context.Context) error {
	d.mu.Lock()
	s := d.stop
	if s == nil {
		s = &stopping{done: make(chan struct{})}
		d.stop = s
		go func() {
			defer close(s.done)
			s.err = d.end(context.WithoutCancel(ctx))
			if errors.Is(s.err, ErrInUse) {
				d.mu.Lock()
				d.stop = nil
				d.mu.Unlock()
			}
		}()
	}
	d.mu.Unlock()
	select {
	case <-s.done:
		return s.err
	case <-ctx.Done():
		return fmt.Errorf("%s is still being stopped: its requests have not ended, or a program has it open: %w", d.Path(), ctx.Err())
	}
}

func (d *Disk) end(ctx context.Context) error {
	fd, err := d.claim()
	if errors.Is(err, ErrInUse) {
		return err
	}
	d.mu.Lock()
	d.left = true
	d.mu.Unlock()
	var errs []error
	select {
	case <-d.ended: // it serves no more: what the kernel holds can't be written
	default:
		errs = append(errs, err)
		if fd >= 0 {
			if err := unix.Fsync(fd); err != nil {
				errs = append(errs, fmt.Errorf("write back what the kernel holds for %s: %w", d.Path(), err))
			}
		}
	}
	// It waits for requests under way, which are served on, and takes back all tags at the end.
	errs = append(errs, d.ctl.stop(ctx, d.info.DevID))
	d.leave() // for queues that have failed, or whose disk was stopped by another process
	<-d.ended // descriptors are unmapped and rings closed: deleting waits for that
	if fd >= 0 {
		errs = append(errs, unix.Close(fd)) // and for this
	}
	return errors.Join(append(errs, d.remove(ctx), d.ctl.close())...)
}

// claim opens the disk so that nothing can mount it any more.
func (d *Disk) claim() (int, error) {
	// Read-only, so that udev doesn't look for new filesystems when it is closed.
	fd, err := unix.Open(d.Path(), unix.O_RDONLY|unix.O_EXCL|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, unix.EBUSY):
		return -1, fmt.Errorf("%s: %w", d.Path(), ErrInUse)
	case err != nil:
		return -1, fmt.Errorf("open %s: %w", d.Path(), err)
	}
	return fd, nil
}

// Abandon ends serving and leaves the disk in place for Start with Recover: its requests wait. It returns when all
// requests that are with the device have ended; what they did is done again by whoever recovers the disk.
func (d *Disk) Abandon() error {
	d.mu.Lock()
	d.left = true
	d.mu.Unlock()
	d.leave()
	<-d.ended
	return d.ctl.close()
}

// Resize makes the disk as large as the device is now said to be, in bytes. It fails with ErrResize where the kernel
// can't do that.
func (d *Disk) Resize(ctx context.Context, size int64) error {
	if bs := int64(d.dev.Info().BlockSize); size <= 0 || size%bs != 0 {
		return fmt.Errorf("resize %s: %d bytes are not a number of blocks of %d bytes", d.Path(), size, bs)
	}
	if d.info.Flags&uapi.FeatureUpdateSize == 0 {
		return fmt.Errorf("resize %s: %w", d.Path(), ErrResize)
	}
	if err := d.ctl.call(ctx, uapi.CmdUpdateSize, d.info.DevID, uint64(size)>>uapi.SectorShift, 0, nil, nil); err != nil {
		return fmt.Errorf("resize %s to %d bytes: %w", d.Path(), size, err)
	}
	return nil
}

// Remove deletes a disk that no process serves, with all requests that wait for one: they fail. It returns ErrGone where
// there is none.
func Remove(ctx context.Context, id int) error {
	if id < 0 {
		return fmt.Errorf("there is no ublk disk %d", id)
	}
	ctl, err := openControl(uapi.ControlPath)
	if err != nil {
		return err
	}
	info, err := ctl.info(ctx, uint32(id))
	switch {
	case err != nil:
		err = fmt.Errorf("ublk disk %d: %w", id, err)
	case info.State == uapi.StateLive && alive(int(info.PID)):
		err = served(uint32(id), info.PID)
	default:
		err = errors.Join(ctl.stop(ctx, info.DevID), ctl.remove(ctx, info.DevID))
	}
	return errors.Join(err, ctl.close())
}

func (c *control) stop(ctx context.Context, id uint32) error {
	if err := c.call(ctx, uapi.CmdStopDev, id, 0, 0, nil, nil); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("stop ublk disk %d: %w", id, err)
	}
	return nil
}

func (c *control) remove(ctx context.Context, id uint32) error {
	if err := c.call(ctx, uapi.CmdDelDev, id, 0, 0, nil, nil); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("delete ublk disk %d: %w", id, err)
	}
	return nil
}
