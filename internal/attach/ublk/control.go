package ublk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"sango/internal/attach/ublk/uapi"
)

// control sends control commands to the driver, one at a time.
type control struct {
	mu   sync.Mutex // guards all fields
	fd   int
	ring *uapi.Ring
	wake *uapi.Event // a context has ended; a read of it is always in the ring
	pay  *uapi.Payload
}

// User data in the control ring.
const (
	userCommand uint64 = iota + 1
	userWake
	userCancel
)

// ErrNoDriver says that the kernel has no ublk driver, or has not loaded it.
var ErrNoDriver = errors.New("load the driver with \"modprobe ublk_drv\" (Linux 6.4 or later, CONFIG_BLK_DEV_UBLK)")

// Check says what is missing where a disk can't be made for lack of the driver.
func Check() error { return checkDriver(uapi.ControlPath) }

func checkDriver(path string) error {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is not there: %w", path, ErrNoDriver)
	}
	return nil // whatever else is wrong, Start tells
}

func openControl(path string) (_ *control, err error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s is not there: %w", path, ErrNoDriver)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("open %s: %w: ublk disks are made by root (CAP_SYS_ADMIN)", path, err)
	case err != nil:
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	c := &control{fd: fd}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	if c.ring, err = uapi.Setup(4, uapi.SetupSQE128); err != nil {
		return nil, err
	}
	switch ok, err := c.ring.HasCommands(); {
	case err != nil:
		return nil, err
	case !ok:
		return nil, errors.New("the io_uring of this kernel carries no commands: ublk disks need Linux 6.4")
	}
	if c.wake, err = uapi.NewEvent(); err != nil {
		return nil, err
	}
	if c.pay, err = uapi.NewPayload(); err != nil {
		return nil, err
	}
	return c, c.wake.Put(c.ring, userWake)
}

func (c *control) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	if c.ring != nil {
		errs = append(errs, c.ring.Close())
	}
	if c.wake != nil {
		errs = append(errs, c.wake.Close())
	}
	if c.pay != nil {
		errs = append(errs, c.pay.Close())
	}
	if c.fd >= 0 {
		errs = append(errs, unix.Close(c.fd))
	}
	c.ring, c.wake, c.pay, c.fd = nil, nil, nil, -1
	return errors.Join(errs...)
}

// run sends what put puts and waits for its end. When ctx ends first it is cancelled; what the kernel can't cancel is
// waited for all the same. c.mu is held.
func (c *control) run(ctx context.Context, put func(*uapi.Ring) error) (int32, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if err := put(c.ring); err != nil {
		return 0, err
	}
	wake := c.wake
	fired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = wake.Wake() // an eventfd takes it
		close(fired)
	})
	defer func() {
		if !stop() {
			<-fired // it uses the event
		}
	}()
	for {
		if err := c.ring.Enter(1); err != nil {
			return 0, err
		}
		result, done := int32(0), false
		for {
			user, res, ok := c.ring.Next()
			if !ok {
				break
			}
			switch user {
			case userCommand:
				result, done = res, true
			case userWake:
				if err := c.wake.Put(c.ring, userWake); err != nil {
					return 0, err
				}
				if ctx.Err() != nil {
					if err := c.ring.PutCancel(userCommand, userCancel); err != nil {
						return 0, err
					}
				}
			}
		}
		if !done {
			continue
		}
		if errno := unix.Errno(-result); result < 0 && ctx.Err() != nil && (errno == unix.EINTR || errno == unix.ECANCELED) {
			return 0, ctx.Err()
		}
		return result, nil
	}
}

// call sends a command about the device id. fill writes what the command points to (n bytes), take reads what came
// back; either may be nil.
func (c *control) call(ctx context.Context, op uapi.Command, id uint32, data uint64, n uint16, fill, take func(*uapi.Payload)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ring == nil {
		return errors.New("the disk has ended")
	}
	h := uapi.Ctrl{DevID: id, QueueID: uapi.NoQueue, Data: data, Len: n}
	if n > 0 {
		h.Addr = c.pay.Address()
	}
	if fill != nil {
		fill(c.pay)
	}
	res, err := c.run(ctx, func(r *uapi.Ring) error { return r.PutCtrl(c.fd, op, h, userCommand) })
	if err != nil {
		return err
	}
	if res < 0 {
		return unix.Errno(-res)
	}
	if take != nil {
		take(c.pay)
	}
	return nil
}

// features asks what the driver can do.
func (c *control) features(ctx context.Context) (f uint64, err error) {
	err = c.call(ctx, uapi.CmdGetFeatures, uapi.AnyID, 0, uapi.FeaturesLen,
		func(p *uapi.Payload) { *p.Features() = 0 }, func(p *uapi.Payload) { f = *p.Features() })
	switch {
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENODEV):
		return oldest, nil
	case err != nil:
		return 0, fmt.Errorf("ask the ublk driver for its features: %w", err)
	}
	return f | uapi.FeatureIoctlEncode, nil // it understood an encoded command
}

// ErrGone says that there is no ublk disk of this number.
var ErrGone = errors.New("there is no ublk disk of this number")

// info returns what the driver knows of a disk.
func (c *control) info(ctx context.Context, id uint32) (i uapi.DevInfo, err error) {
	err = c.call(ctx, uapi.CmdGetDevInfo, id, 0, uapi.DevInfoLen,
		func(p *uapi.Payload) { *p.DevInfo() = uapi.DevInfo{} }, func(p *uapi.Payload) { i = *p.DevInfo() })
	if errors.Is(err, unix.ENODEV) {
		return i, ErrGone
	}
	return i, err
}

func (c *control) add(ctx context.Context, want uapi.DevInfo) (got uapi.DevInfo, err error) {
	err = c.call(ctx, uapi.CmdAddDev, want.DevID, 0, uapi.DevInfoLen,
		func(p *uapi.Payload) { *p.DevInfo() = want }, func(p *uapi.Payload) { got = *p.DevInfo() })
	switch {
	case errors.Is(err, unix.EEXIST):
		return got, fmt.Errorf("/dev/ublkb%d is there already: choose another number, or recover it", want.DevID)
	case errors.Is(err, unix.EACCES):
		return got, fmt.Errorf("the ublk driver adds no more disks (%w): see its parameter ublks_max", err)
	case err != nil:
		return got, fmt.Errorf("add a ublk disk: %w", err)
	}
	return got, nil
}

func (c *control) setParams(ctx context.Context, id uint32, want uapi.Params) error {
	return c.call(ctx, uapi.CmdSetParams, id, 0, uapi.ParamsLen, func(p *uapi.Payload) { *p.Params() = want }, nil)
}

func (c *control) params(ctx context.Context, id uint32) (got uapi.Params, err error) {
	err = c.call(ctx, uapi.CmdGetParams, id, 0, uapi.ParamsLen,
		func(p *uapi.Payload) { *p.Params() = uapi.Params{Len: uint32(uapi.ParamsLen)} },
		func(p *uapi.Payload) { got = *p.Params() })
	return got, err
}
