package layered

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"sango/internal/block"
	"sango/internal/block/layered/vfs"
	"sango/internal/san"
)

// entry is a volume that somebody uses, or is about to.
type entry struct {
	users   int        // guarded by Store.mu: goroutines that hold a reference or wait for mu
	mu      sync.Mutex // held while the volume is loaded or unloaded; guards what follows
	v       *volume
	shown   atomic.Pointer[volume] // v, for those that don't wait for mu
	refs    int
	device  *device              // the open one
	readers map[*device]struct{} // open snapshots
	leaving bool                 // the owner closes: no new references, until the volume is unloaded
	news    chan struct{}        // closed at the next change of these; nil: nobody waits for it
}

// next returns what is closed at the next change. mu is held.
func (e *entry) next() <-chan struct{} {
	if e.news == nil {
		e.news = make(chan struct{})
	}
	return e.news
}

// tell wakes those who wait for a change. mu is held.
func (e *entry) tell() {
	if e.news != nil {
		close(e.news)
		e.news = nil
	}
}

// OpenOptions say how a volume is opened.
type OpenOptions struct {
	// Epoch is the epoch of the owner; requests of another one end with Fenced.
	// The open shuts out all lower ones (DESIGN R2): a process of this machine
	// that holds the volume under one is killed; this very process, and those of
	// other machines, are waited for. A volume that a later owner has had, or
	// that somebody holds under this very epoch, does not open (ErrFenced). 0: no
	// ownership; a volume that somebody holds does not open (ErrInUse).
	Epoch san.Epoch
	// Member is who the owner is, for Fence: the incarnation of a gateway, unique
	// in the cluster. 0: nobody.
	Member uint64
	// Fence kills the process that holds the volume, if one does: without an
	// epoch too, and at once if it holds it as nobody's, which else has a moment
	// to come to its end.
	Fence bool
	// ReadOnly refuses changes.
	ReadOnly bool
}

// Open opens a volume. ErrNotFound, ErrInUse, ErrDamaged.
func (s *Store) Open(id san.UUID) (block.Device, error) { return s.OpenAs(id, OpenOptions{}) }

// OpenAs is OpenContext that waits no longer than 30 s.
func (s *Store) OpenAs(id san.UUID, o OpenOptions) (block.Device, error) {
	ctx, cancel := context.WithTimeout(context.Background(), fenceWait)
	defer cancel()
	return s.OpenContext(ctx, id, o)
}

// OpenContext is Open with options; ctx bounds the wait for the one that holds
// the volume. Merges that were cut short go on in the background.
//
// When the device of an owner is closed, what else this process does with the
// volume ends too: its merges and the readers of its snapshots. Then the lock
// is given up, and nothing of it touches the volume any more.
func (s *Store) OpenContext(ctx context.Context, id san.UUID, o OpenOptions) (block.Device, error) {
	d, err := s.open(ctx, id, o)
	if err != nil {
		return nil, fmt.Errorf("open volume %s: %w", id, err)
	}
	return d, nil
}

func (s *Store) open(ctx context.Context, id san.UUID, o OpenOptions) (*device, error) {
	e, err := s.enter(id)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	if err = e.free(ctx, o); err == nil {
		err = s.refer(ctx, id, e, o)
	}
	if err != nil {
		e.mu.Unlock()
		s.forget(id, e)
		return nil, err
	}
	// It may have been loaded before, for background work or a snapshot.
	if err := s.claim(e.v, o); err != nil {
		e.mu.Unlock()
		return nil, errors.Join(err, s.release(id, e))
	}
	d := &device{v: e.v, w: &e.v.live, epoch: o.Epoch, readOnly: o.ReadOnly}
	e.device = d
	e.mu.Unlock()
	s.kick(id, e)
	return d, nil
}

// free waits until no device of this store has the volume open, with mu held.
func (e *entry) free(ctx context.Context, o OpenOptions) error {
	for e.leaving || e.device != nil {
		switch held := e.device; {
		case o.Epoch == 0:
			return fmt.Errorf("%w: close it first", ErrInUse)
		case held != nil && held.epoch >= o.Epoch:
			return fencedBy(held.epoch, o.Epoch)
		}
		news := e.next()
		e.mu.Unlock()
		var err error
		select {
		case <-news:
		case <-ctx.Done():
			err = fmt.Errorf("%w by another gateway of this process: %w", ErrInUse, context.Cause(ctx))
		}
		e.mu.Lock()
		if err != nil {
			return err
		}
	}
	return nil
}

// acquire takes a reference on a volume, and loads it if it is the first.
func (s *Store) acquire(id san.UUID) (*entry, error) {
	e, err := s.enter(id)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	if e.leaving {
		err = errLeaving
	} else {
		err = s.refer(context.Background(), id, e, OpenOptions{})
	}
	e.mu.Unlock()
	if err != nil {
		s.forget(id, e)
		return nil, err
	}
	return e, nil
}

// enter returns the entry of a volume, for somebody who is going to use it.
func (s *Store) enter(id san.UUID) (*entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shut {
		return nil, ErrClosed
	}
	e := s.entries[id]
	if e == nil {
		e = &entry{readers: map[*device]struct{}{}}
		s.entries[id] = e
	}
	e.users++
	return e, nil
}

// refer takes a reference for one who has entered, with e.mu held.
func (s *Store) refer(ctx context.Context, id san.UUID, e *entry, o OpenOptions) error {
	if e.v == nil {
		s.mu.Lock()
		shut := s.shut
		s.mu.Unlock()
		if shut {
			return ErrClosed
		}
		v, err := s.load(ctx, id, o)
		if err != nil {
			return err
		}
		e.v = v
		e.shown.Store(v)
		s.mu.Lock()
		v.jobs.setRate(s.rate) // it may have changed meanwhile
		s.mu.Unlock()
	}
	e.refs++
	return nil
}

// release gives a reference up, and unloads the volume if it was the last.
func (s *Store) release(id san.UUID, e *entry) (err error) {
	e.mu.Lock()
	if e.refs--; e.refs == 0 {
		err = e.v.unload()
		if lerr := e.v.loss.note(e.v.lock); err == nil {
			err = lerr
		}
		if lerr := s.unlock(e.v.dir, e.v.lock); err == nil {
			err = lerr
		}
		e.v, e.leaving = nil, false
		e.shown.Store(nil)
	}
	e.tell()
	e.mu.Unlock()
	s.forget(id, e)
	return err
}

func (s *Store) forget(id san.UUID, e *entry) {
	s.mu.Lock()
	if e.users--; e.users == 0 {
		delete(s.entries, id)
	}
	s.mu.Unlock()
}

func (s *Store) load(ctx context.Context, id san.UUID, o OpenOptions) (*volume, error) {
	dir := s.volumeDir(id)
	if _, err := s.fs.Stat(dir + "/" + manifestName); err != nil {
		if errors.Is(err, vfs.ErrNotExist) {
			err = ErrNotFound
		}
		return nil, err
	}
	lock, signed, err := s.lockVolume(ctx, dir, o)
	if err != nil {
		return nil, err
	}
	v := &volume{s: s, fs: s.fs, id: id, dir: dir, lock: lock, epoch: signed.epoch, boot: s.boot}
	v.loss.sign(signed)
	s.mu.Lock()
	v.jobs.init(s.rate)
	s.mu.Unlock()
	if err := v.load(); err != nil {
		if errors.Is(err, vfs.ErrNotExist) {
			err = fmt.Errorf("%w: a file is missing: %w", errDamaged, err)
		}
		return nil, errors.Join(err, s.unlock(dir, lock))
	}
	return v, nil
}

// loadedEntry returns the entry of a volume that the caller has a reference of.
func (s *Store) loadedEntry(id san.UUID) *entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entries[id]
}

// leave ends what this process does with a volume beside d, which is being
// closed. Where gateways own volumes that is all of it, and nothing begins
// before the volume has been unloaded: the next owner may be another process.
func (s *Store) leave(d *device) {
	v := d.v
	e := s.loadedEntry(v.id)
	e.mu.Lock()
	if v.epoch == 0 {
		e.mu.Unlock()
		v.jobs.stop()
		return
	}
	e.leaving = true
	readers := slices.Collect(maps.Keys(e.readers))
	e.mu.Unlock()
	v.leaving.Store(true)
	v.jobs.pause() // for good: what loads the volume next has jobs of its own
	for _, r := range readers {
		if err := r.Close(); err != nil {
			s.log.Warn("snapshot not closed with its volume", "volume", v.id, "snapshot", r.snapshot, "error", err)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for e.refs > 1 {
		news := e.next()
		e.mu.Unlock()
		<-news
		e.mu.Lock()
	}
}

// closed is called by a device that was closed.
func (s *Store) closed(d *device) error {
	e := s.loadedEntry(d.v.id)
	e.mu.Lock()
	if e.device == d {
		e.device = nil
	}
	delete(e.readers, d)
	e.mu.Unlock()
	if d.snapshot != "" {
		v := d.v
		v.control.Lock()
		v.gate.Lock()
		if d.w.readers--; d.w.readers == 0 {
			delete(v.views, d.snapshot)
		}
		v.gate.Unlock()
		v.control.Unlock()
	}
	return s.release(d.v.id, e)
}
