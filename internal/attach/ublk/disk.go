package ublk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"sango/internal/attach/ublk/uapi"
	"sango/internal/block"
)

// Disk is a kernel disk that this process serves.
type Disk struct {
	dev   block.Device
	opt   Options
	log   *slog.Logger
	info  uapi.DevInfo
	async bool // Submit never blocks
	ctl   *control

	queues  []*queue
	serving sync.WaitGroup // goroutines of queues
	ready   chan error     // queues tell how far they are
	begin   chan struct{}  // closed when they may use char
	started bool           // begin is closed
	char    int            // /dev/ublkcN
	work    chan *slot     // what would block a queue
	workers sync.WaitGroup
	refuse  atomic.Bool   // requests fail at once
	ended   chan struct{} // closed when nothing is served any more

	mu   sync.Mutex // guards the rest
	err  error      // why serving ended, nil after Stop and Abandon
	left bool       // Stop or Abandon: the end is no failure
	stop *stopping
}

// Start makes a disk of dev, or takes over the one of a dead process (Options.Recover), and serves it until Stop or
// Abandon. dev stays the caller's and is closed after one of them has returned.
//
// With Recover nothing is issued to dev before the disk is taken over, but then everything that was under way in the
// dead process is issued again. The caller must have made sure before the call that nothing which earlier processes
// sent can still reach the medium: it has fenced their instances.
//
// If the kernel reads the partition table of the new disk and dev does not answer, Start waits for dev even after the
// end of ctx; requests that come after it are refused.
func Start(ctx context.Context, dev block.Device, opt Options) (*Disk, error) {
	return start(ctx, dev, opt, ^uint64(0))
}

// start is Start with the features in mask only.
func start(ctx context.Context, dev block.Device, opt Options, mask uint64) (_ *Disk, err error) {
	opt.fill()
	if err := opt.check(); err != nil {
		return nil, err
	}
	ctl, err := openControl(uapi.ControlPath)
	if err != nil {
		return nil, err
	}
	d := &Disk{dev: dev, opt: opt, log: opt.Logger, ctl: ctl, char: -1, begin: make(chan struct{}), ended: make(chan struct{}), async: dev.Info().Caps.Async}
	if opt.Recover {
		err = d.recover(ctx)
	} else {
		err = d.create(ctx, mask)
	}
	if err != nil {
		return nil, errors.Join(err, ctl.close())
	}
	mine.Store(d.info.DevID, d)
	go func() {
		defer close(d.ended)
		defer mine.Delete(d.info.DevID)
		if err := d.release(); err != nil {
			d.log.Error("give up a disk", "err", err)
		}
	}()
	return d, nil
}

// create adds a new disk.
func (d *Disk) create(ctx context.Context, mask uint64) (err error) {
	has, err := d.ctl.features(ctx)
	if err != nil {
		return err
	}
	flags, err := choose(has&mask, !d.opt.PlainCopy)
	if err != nil {
		return err
	}
	id := uapi.AnyID
	if d.opt.ID != Any {
		id = uint32(d.opt.ID)
	}
	d.info, err = d.ctl.add(ctx, uapi.DevInfo{
		DevID: id, Queues: uint16(d.opt.Queues), Depth: uint16(d.opt.Depth), MaxIOBytes: uint32(d.opt.MaxIO), Flags: flags,
	})
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.giveUp(), d.remove(context.WithoutCancel(ctx)))
		}
	}()
	if err := d.ctl.setParams(ctx, d.info.DevID, params(d.dev.Info(), &d.opt)); err != nil {
		return fmt.Errorf("set the parameters of %s: %w", d.Path(), err)
	}
	if err := d.prepare(); err != nil {
		return err
	}
	if err := d.fetch(ctx); err != nil {
		return err
	}
	// The kernel reads the partition table before the command ends: when nobody waits any more, such reads fail.
	stop := context.AfterFunc(ctx, func() { d.refuse.Store(true) })
	err = d.ctl.call(ctx, uapi.CmdStartDev, d.info.DevID, uint64(os.Getpid()), 0, nil, nil)
	if err == nil && !stop() {
		err = ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("start %s: %w", d.Path(), err)
	}
	d.hurry()
	return nil
}

// hurry lets the kernel look at requests every second. It fails none while they are served; but some kernels see only
// then that a process is dead whose every tag was in use (30 s by default), and with it the next process waits.
func (d *Disk) hurry() {
	name := fmt.Sprintf("/sys/block/ublkb%d/queue/io_timeout", d.info.DevID)
	if err := os.WriteFile(name, []byte("1000"), 0); err != nil {
		d.log.Debug("recovery may take longer", "err", err)
	}
}

// prepare gets all that serving takes, but for the disk's file.
func (d *Disk) prepare() (err error) {
	d.log = d.log.With("disk", d.Path())
	for i := range d.info.Queues {
		q := &queue{disk: d, id: i, userCopy: d.info.Flags&uapi.FeatureUserCopy != 0}
		if q.event, err = uapi.NewEvent(); err != nil {
			return err
		}
		d.queues = append(d.queues, q)
	}
	if !d.async {
		d.work = make(chan *slot, int(d.info.Queues)*int(d.info.Depth))
		for range min(d.opt.Workers, cap(d.work)) {
			d.workers.Go(func() {
				for s := range d.work {
					d.dev.Submit(&s.Request)
				}
			})
		}
	}
	d.ready = make(chan error, 2*len(d.queues))
	for _, q := range d.queues {
		d.serving.Add(1)
		go onOwnThread(func() {
			defer d.serving.Done()
			if err := q.run(d.ready); err != nil {
				d.fail(err)
			}
		})
	}
	return d.awaitQueues()
}

func (d *Disk) awaitQueues() (err error) {
	for range d.queues {
		err = errors.Join(err, <-d.ready)
	}
	return err
}

// fetch opens the file of the disk and has requests fetched on all queues.
func (d *Disk) fetch(ctx context.Context) error {
	name := fmt.Sprintf(uapi.CharPath, d.info.DevID)
	fd := -1
	err := poll(ctx, 10*time.Second, func() (_ bool, err error) {
		fd, err = unix.Open(name, unix.O_RDWR|unix.O_CLOEXEC, 0)
		return !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EBUSY), err // it takes devtmpfs or udev a moment
	})
	if err != nil {
		return fmt.Errorf("open %s: %w", name, err)
	}
	d.char = fd
	d.started = true
	close(d.begin)
	return d.awaitQueues()
}

// fail ends serving because of err; the disk stays for recovery. Where it is to end anyway that is no failure: when one
// queue has left, the driver takes the others down, and may refuse what they commit meanwhile.
func (d *Disk) fail(err error) {
	d.mu.Lock()
	left := d.left
	if !left {
		d.err = errors.Join(d.err, err)
	}
	d.mu.Unlock()
	if left {
		d.log.Info("a queue ended with an error while the disk was given up", "err", err)
	}
	d.leave()
}

func (d *Disk) leave() {
	for _, q := range d.queues {
		if err := q.leave(); err != nil {
			d.log.Error("wake a queue", "err", err)
		}
	}
}

// giveUp ends what a Start that failed has begun.
func (d *Disk) giveUp() error {
	d.leave()
	if !d.started {
		close(d.begin)
	}
	return d.release()
}

// release waits for the end of all queues and gives up what they shared.
func (d *Disk) release() error {
	d.serving.Wait()
	var errs []error
	if d.work != nil {
		close(d.work)
		d.workers.Wait()
	}
	for _, q := range d.queues {
		errs = append(errs, q.release())
	}
	if d.char >= 0 {
		errs = append(errs, unix.Close(d.char))
	}
	return errors.Join(errs...)
}

// remove deletes a disk that nobody serves.
func (d *Disk) remove(ctx context.Context) error { return d.ctl.remove(ctx, d.info.DevID) }

// ID returns the N of /dev/ublkbN.
func (d *Disk) ID() int { return int(d.info.DevID) }

// Path returns the name of the disk's file.
func (d *Disk) Path() string { return fmt.Sprintf(uapi.BlockPath, d.info.DevID) }

// View says how a disk is served.
type View struct {
	Path     string `json:"path"`
	Queues   int    `json:"queues"`
	Depth    int    `json:"depth"`
	MaxIO    int    `json:"max_io"`
	Memory   int64  `json:"memory"` // bytes of buffers at most
	UserCopy bool   `json:"user_copy"`
	Resizes  bool   `json:"resizes"` // Resize works
}

// View returns how the disk is served.
func (d *Disk) View() View {
	i := &d.info
	return View{
		Path: d.Path(), Queues: int(i.Queues), Depth: int(i.Depth), MaxIO: int(i.MaxIOBytes),
		Memory:   int64(i.Queues) * int64(i.Depth) * int64(i.MaxIOBytes),
		UserCopy: i.Flags&uapi.FeatureUserCopy != 0, Resizes: i.Flags&uapi.FeatureUpdateSize != 0,
	}
}

// ErrStopped says that a disk was ended by somebody else.
var ErrStopped = errors.New("another process stopped the disk")

// Wait returns when the disk is served no more: nil after Stop or Abandon, which have to be called in any case, or why
// else.
func (d *Disk) Wait() error {
	<-d.ended
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err == nil && !d.left {
		return fmt.Errorf("%s: %w", d.Path(), ErrStopped)
	}
	return d.err
}

// poll calls f until it says that it is done, every few milliseconds for at most limit. It then returns f's last error.
func poll(ctx context.Context, limit time.Duration, f func() (bool, error)) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	end := time.NewTimer(limit)
	defer end.Stop()
	for {
		done, err := f()
		if done {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-end.C:
			return err
		case <-tick.C:
		}
	}
}
