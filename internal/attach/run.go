package attach

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"sango/internal/san"
)

// ErrLeft means that an attachment ended and left its disk, whose requests wait
// for the next Run of the same name. Requests may still be under way in this
// process: it has to exit, so that none of them is answered.
var ErrLeft = errors.New("the disk is left in place")

// attachment is one that this process serves.
type attachment struct {
	o         Options
	st        State
	initiator string
	started   time.Time
	recovered bool
	stack     atomic.Pointer[stack]
	front     atomic.Pointer[frontend]
	detach    chan detaching
	resized   chan struct{} // a token when the volume has another size

	mu    sync.Mutex // guards phase and info
	phase Phase
	info  Info
}

// detaching is a request to end.
type detaching struct {
	force bool
	done  chan error
}

// Run attaches and serves until ctx is done or the attachment is told to
// detach; then it leaves nothing behind and returns nil. ready is called when
// it serves. Where the disk that the last process of this name left is there, it
// is taken over.
//
// ErrLeft wraps the errors of an end that leaves the disk. All others leave
// none, or the one that was there.
func Run(ctx context.Context, o Options, ready func(Info)) (err error) {
	if err := o.complete(); err != nil {
		return err
	}
	if err := o.loadTLS(); err != nil {
		return err
	}
	if err := o.Dir.make(); err != nil {
		return err
	}
	l, err := o.Dir.take(o.Name)
	if err != nil {
		return err
	}
	a := &attachment{o: o, started: time.Now(), phase: PhaseOpening, detach: make(chan detaching), resized: make(chan struct{}, 1)}
	gone := false
	defer func() { l.release(gone) }()
	if o.ReadyFile != "" {
		if err := clearReady(o.ReadyFile); err != nil {
			return san.Errorf(san.ErrRefused, "the ready file can't be written: %v; name another with --ready-file", err)
		}
		defer func() { _ = os.Remove(o.ReadyFile) }()
	}
	takeOver, recover, err := a.prepare(ctx)
	if err != nil {
		return err
	}
	srv, err := a.serveStatus()
	if err != nil {
		return err
	}
	defer srv.close()
	d, err := a.start(ctx, takeOver, recover, ready)
	if err != nil && d != nil { // told to detach meanwhile
		derr := a.afterFailure(takeOver, d.force)
		if derr == nil {
			derr = o.Dir.forget(o.Name)
		}
		gone = derr == nil
		d.done <- derr
		if gone {
			return nil
		}
	}
	if err != nil {
		if !takeOver && !errors.Is(err, ErrLeft) {
			gone = o.Dir.forget(o.Name) == nil // nothing was left before, and nothing is now
		}
		if ctx.Err() != nil && !errors.Is(err, ErrLeft) {
			return nil // told to end before it served
		}
		return err
	}
	err = a.serve(ctx, d)
	gone = !errors.Is(err, ErrLeft)
	return err
}

// clearReady takes the ready file of an earlier process away, which would lie,
// and finds out whether the next one can be written: who waits for it would
// wait for ever.
func clearReady(path string) error {
	i, err := os.Lstat(path)
	switch {
	case err == nil && i.IsDir():
		return fmt.Errorf("%s is a directory", path)
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return err
	}
	try := path + ".tmp" // as replaceFile has it
	if err := writeSynced(try, nil); err != nil {
		return err
	}
	if err := os.Remove(try); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// prepare loads the state, or makes it, and raises the run. takeOver tells that
// there were earlier runs, recover that one of them left a disk.
func (a *attachment) prepare(ctx context.Context) (takeOver, recover bool, err error) {
	o := &a.o
	if a.initiator = o.Initiator; a.initiator == "" && len(o.Source.URLs) > 0 {
		if a.initiator, err = o.Dir.initiator(); err != nil {
			return false, false, err
		}
	}
	boot, err := bootID()
	if err != nil {
		return false, false, err
	}
	st, takeOver, err := o.Dir.load(o.Name)
	if err != nil {
		return false, false, err
	}
	if !takeOver {
		st = State{Name: o.Name, Group: newGroup(), Device: noDevice}
	}
	left := st.Device >= 0 && st.Boot == boot
	switch {
	case takeOver && !o.Source.same(st.Source):
		return false, false, san.Errorf(san.ErrRefused, "attachment %s is of %s: requests that wait for that must not reach %v; use another name, or give it up with 'sango detach --force %s'", o.Name, st.Source, o.Source, o.Name)
	case left && st.As != o.As:
		return false, false, san.Errorf(san.ErrRefused, "attachment %s left a disk as %s: attach it so, or give it up with 'sango detach --force %s'", o.Name, st.As, o.Name)
	case left && o.Source.Size > 0:
		// What was in memory is gone: the disk's users must not go on with zeros.
		if err := st.removeLeft(ctx); err != nil {
			return false, false, fmt.Errorf("the disk of the last process, whose volume was in memory, can't be removed: %w", err)
		}
		left = false
	}
	if !left {
		st.Device, st.Connections = noDevice, 0
	}
	st.Source, st.As, st.Boot, st.Socket = o.Source.String(), o.As, boot, o.SocketPath
	st.Run++
	a.st = st
	return takeOver, left, o.Dir.save(&a.st) // before anything is sent under the new run
}

// start brings the attachment up. A detaching that came before is returned, also
// with an error.
func (a *attachment) start(ctx context.Context, takeOver, recover bool, ready func(Info)) (*detaching, error) {
	o := &a.o
	openCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	if !recover {
		openCtx, cancel = context.WithTimeoutCause(ctx, o.StartTime, errStartTime)
		defer cancel()
	}
	// Being told to detach ends a start as the end of ctx does.
	var early *detaching
	watched, watching := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case d := <-a.detach:
			early = &d
			cancel()
		case <-watching:
		}
	}()
	err := a.open(openCtx, takeOver, recover)
	close(watching)
	<-watched
	if err != nil {
		return early, err
	}
	info := a.describe()
	a.mu.Lock()
	a.phase, a.info = PhaseServing, info
	a.mu.Unlock()
	if o.ReadyFile != "" {
		b, err := json.MarshalIndent(info, "", "  ")
		if err == nil {
			err = replaceFile(o.ReadyFile, append(b, '\n'))
		}
		if err != nil {
			o.Logger.Error("the ready file can't be written", "err", err)
		}
	}
	ready(info)
	return early, nil
}

// afterFailure is what a detach during a start comes to.
func (a *attachment) afterFailure(takeOver, force bool) error {
	switch {
	case !takeOver:
		return nil
	case !force: // there may be no disk, but requests of the last process that are not fenced yet
		return san.Errorf(san.ErrRefused, "attachment %s did not get at its volume; what its last process left stays in place: 'sango detach --force %s' gives it up", a.o.Name, a.o.Name)
	}
	return a.st.removeLeft(context.Background())
}

var errStartTime = errors.New("no path served in time")

// open opens the source and starts the frontend.
func (a *attachment) open(ctx context.Context, takeOver, recover bool) error {
	o := &a.o
	s, err := openStack(ctx, o, &a.st, a.initiator, takeOver, func(int64) {
		select {
		case a.resized <- struct{}{}:
		default:
		}
	})
	if err != nil {
		if cause := context.Cause(ctx); errors.Is(cause, errStartTime) {
			err = san.Errorf(san.ErrUnavailable, "%v within %v: %v", cause, o.StartTime, err)
		}
		return err
	}
	a.stack.Store(s)
	fail := func(err error) error {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
		defer cancel()
		return errors.Join(err, s.close(closing))
	}
	if recover {
		if err := a.st.sameVolume(s); err != nil {
			return fail(err)
		}
	}
	f, err := o.start(ctx, o, &a.st, s.top, recover)
	if err != nil {
		return fail(err)
	}
	a.recovered = recover
	a.front.Store(&f)
	was := a.st.Device
	_, a.st.Device, _ = f.place()
	in := s.top.Info()
	a.st.Size, a.st.BlockSize, a.st.Volume = in.Size, in.BlockSize, s.identity()
	if o.As == AsNBD {
		a.st.Connections = connections(o.Queues, a.st.Connections)
	}
	switch err := o.Dir.save(&a.st); {
	case err == nil:
	case recover && was == a.st.Device: // what is noted leads to it, and applications use it
		o.Logger.Warn("the state can't be brought up to date", "err", err)
	default:
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
		defer cancel()
		return fail(errors.Join(err, f.stop(stopping, true)))
	}
	return nil
}

// describe returns what is told of the attachment.
func (a *attachment) describe() Info {
	f, in := *a.front.Load(), a.stack.Load().top.Info()
	i := Info{Name: a.o.Name, Size: in.Size, BlockSize: in.BlockSize, PID: os.Getpid()}
	i.Device, _, i.Socket = f.place()
	if s, ok := f.(*socketServer); ok {
		i.Listen = s.tcp
	}
	return i
}

// serve waits for the end of the attachment, and ends it. pending is a detach
// that came during the start.
func (a *attachment) serve(ctx context.Context, pending *detaching) error {
	f := *a.front.Load()
	over := make(chan error, 1)
	go func() { over <- f.wait() }() // ends with the frontend
	for {
		if pending != nil {
			err := a.stop(ctx, pending.force)
			pending.done <- err
			if !errors.Is(err, san.ErrRefused) {
				return err
			}
			pending = nil
		}
		select {
		case <-ctx.Done():
			err := a.stop(ctx, false)
			if errors.Is(err, san.ErrRefused) {
				err = fmt.Errorf("%w: %w; the next 'sango attach' of %s takes it over", ErrLeft, err, a.o.Name)
			}
			return err
		case d := <-a.detach:
			pending = &d
		case <-a.resized:
			a.follow(ctx, f)
		case err := <-over:
			if errors.Is(err, ErrLeft) { // the state says to the next process how to take it over
				return fmt.Errorf("attachment %s ended: %w; the next 'sango attach' of %s takes it over", a.o.Name, err, a.o.Name)
			}
			if err == nil {
				err = errors.New("the disk was taken away by somebody else")
			}
			return errors.Join(fmt.Errorf("attachment %s ended: %w", a.o.Name, err), a.end(ctx))
		}
	}
}

// follow passes a new size on.
func (a *attachment) follow(ctx context.Context, f frontend) {
	size := a.stack.Load().top.Info().Size
	if err := f.resize(ctx, size); err != nil {
		a.o.Logger.Warn("the volume has another size; the disk stays as it was", "size", size, "err", err)
		return
	}
	a.mu.Lock()
	a.info.Size = size
	a.mu.Unlock()
	a.st.Size = size
	if err := a.o.Dir.save(&a.st); err != nil {
		a.o.Logger.Warn("the new size is not noted", "err", err)
	}
	a.o.Logger.Info("the volume has another size", "size", size)
}

func (a *attachment) setPhase(p Phase) {
	a.mu.Lock()
	a.phase = p
	a.mu.Unlock()
}

// status returns what the attachment is and does.
func (a *attachment) status() Status {
	a.mu.Lock()
	s := Status{
		Info: a.info, Source: a.o.Source.String(), As: a.o.As, Phase: a.phase, Version: a.o.Version, Started: a.started,
		ReadOnly: a.o.ReadOnly, Initiator: a.initiator, Settings: a.o.Settings,
	}
	a.mu.Unlock()
	s.Name, s.PID = a.o.Name, os.Getpid()
	if k := a.stack.Load(); k != nil {
		s.IO = k.counts()
		in := k.top.Info()
		s.Size, s.BlockSize = in.Size, in.BlockSize
		s.ReadOnly = s.ReadOnly || in.Caps.ReadOnly
		if k.paths != nil {
			v := k.paths.View()
			s.Multipath = &v
		}
	}
	s.Recovered = a.front.Load() != nil && a.recovered
	return s
}
