package layered

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"sango/internal/block/layered/vfs"
	"sango/internal/defect"
	"sango/internal/san"
)

const lockName = "lock"

// holder is what the lock file says about the process that holds it, and the
// last epoch under which the volume was open.
type holder struct {
	boot   [16]byte
	pid    uint32 // 0: nobody has signed
	start  uint64 // of the process, in clock ticks after boot: a pid alone may have been reused
	epoch  san.Epoch
	member uint64   // for whom the process holds it; 0: nobody
	lost   san.UUID // names the last sync that failed (loss); zero: none did
}

const (
	holderMagic = "SANGOLCK"
	holderSize  = 56                           // bytes
	holderLost  = holderSize + len(san.UUID{}) // where a sync has failed: others know what is shorter
)

func (h holder) encode() []byte {
	b := make([]byte, holderSize, holderLost)
	if !h.lost.IsZero() {
		b = append(b, h.lost[:]...)
	}
	copy(b, holderMagic)
	le.PutUint32(b[12:], h.pid)
	copy(b[16:], h.boot[:])
	le.PutUint64(b[32:], h.start)
	le.PutUint64(b[40:], uint64(h.epoch))
	le.PutUint64(b[48:], h.member)
	le.PutUint32(b[8:], crc32.Checksum(b, castagnoli))
	return b
}

// parseHolder returns false for anything that is not the whole of it: the file
// is written in place, and its reader does not hold the lock.
func parseHolder(b []byte) (h holder, ok bool) {
	if len(b) != holderSize && len(b) != holderLost || string(b[:8]) != holderMagic {
		return h, false
	}
	b = append([]byte(nil), b...)
	sum := le.Uint32(b[8:])
	le.PutUint32(b[8:], 0)
	if crc32.Checksum(b, castagnoli) != sum {
		return h, false
	}
	h.pid, h.start, h.epoch = le.Uint32(b[12:]), le.Uint64(b[32:]), san.Epoch(le.Uint64(b[40:]))
	h.member = le.Uint64(b[48:])
	copy(h.boot[:], b[16:])
	copy(h.lost[:], b[holderSize:])
	return h, true
}

const (
	// lockRetry and lockRetryMax are the pauses between two tries to take a lock.
	lockRetry    = 5 * time.Millisecond
	lockRetryMax = 50 * time.Millisecond
	// signWait is how long what a lock file says is doubted where it can't be
	// checked: who has taken the lock signs it at once.
	signWait = 250 * time.Millisecond
	// strayWait is how long a process that holds a volume as nobody's, for an
	// operation, may keep its owner waiting.
	strayWait = 3 * time.Second
)

// rival is somebody who holds a lock that this process wants.
type rival struct {
	holder
	place place
	since time.Time // that it was first seen to hold it
}

// place says where the process is that holds a lock.
type place int

const (
	unsigned  place = iota // unknown: it has not signed yet, or is letting go, and who signed before is dead
	inside                 // it is this process
	beside                 // another one of this machine, which lives
	elsewhere              // of another boot: another machine, or it died and is another one
)

// age is how long it has been seen to hold the lock.
func (r *rival) age() time.Duration { return time.Since(r.since) }

// doubtful reports whether somebody may have the lock who is about to sign.
func (r *rival) doubtful() bool {
	return (r.place == unsigned || r.place == elsewhere) && r.age() < signWait
}

func (r *rival) String() string {
	switch r.place {
	case inside:
		return "this very process"
	case beside:
		return fmt.Sprintf("process %d", r.pid)
	case elsewhere:
		return fmt.Sprintf("process %d of another machine", r.pid)
	}
	if r.pid == 0 {
		return "another process"
	}
	return fmt.Sprintf("another process: not %d, which is not to be seen from here any more", r.pid)
}

// unguarded is the lock of a program in which nobody keeps R2.
type unguarded struct{}

func (unguarded) Note([]byte) error { return nil }
func (unguarded) Close() error      { return nil }

// contend takes a volume's lock. Where somebody else has it, meet says what to
// do about that: kill it, wait (and be asked again), or give up with an error.
func (s *Store) contend(ctx context.Context, dir string, meet func(r *rival) (kill bool, err error)) (vfs.Lock, error) {
	if defect.R2 {
		return unguarded{}, nil
	}
	var last rival
	for pause := lockRetry; ; pause = min(2*pause, lockRetryMax) {
		l, err := s.fs.Lock(dir + "/" + lockName)
		if !errors.Is(err, vfs.ErrLocked) {
			return l, err
		}
		r := s.rival(dir)
		if r.since = last.since; r.holder != last.holder || r.place != last.place || r.since.IsZero() {
			r.since = time.Now()
		}
		last = r
		kill, err := meet(&r)
		if err == nil && kill {
			err = s.kill(ctx, dir, r.holder)
		}
		if err != nil {
			return nil, err
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, fmt.Errorf("%w by %s: %w", ErrInUse, &r, context.Cause(ctx))
		}
	}
}

// rival finds out who holds a lock.
func (s *Store) rival(dir string) rival {
	h, ok := s.readHolder(dir)
	r := rival{holder: h}
	switch {
	case !ok || h.pid == 0:
	case h.boot != s.boot:
		r.place = elsewhere
	case h.pid == s.self.pid && h.start == s.self.start:
		r.place = inside
	case h.lives():
		r.place = beside
	}
	return r
}

// lockVolume takes the volume's lock as o says, and returns what the lock file
// says now.
func (s *Store) lockVolume(ctx context.Context, dir string, o OpenOptions) (vfs.Lock, holder, error) {
	l, err := s.contend(ctx, dir, o.meet)
	if err != nil {
		return nil, holder{}, err
	}
	signed, err := s.sign(dir, l, o)
	if err != nil {
		l.Close()
		return nil, holder{}, err
	}
	return l, signed, nil
}

// lockGoing takes the lock of a volume that is to be removed. Where the store is
// so full that a lock file which a creation left behind can't be signed, it does
// without: that gives the space back.
func (s *Store) lockGoing(dir string) (vfs.Lock, error) {
	var o OpenOptions
	l, err := s.contend(context.Background(), dir, o.meet)
	if err != nil {
		return nil, err
	}
	if _, err := s.sign(dir, l, o); err != nil && !vfs.IsFull(err) {
		l.Close()
		return nil, err
	}
	return l, nil
}

// meet says what becomes of a holder of the volume.
func (o *OpenOptions) meet(r *rival) (kill bool, err error) {
	switch {
	case o.Epoch != 0 && r.epoch > o.Epoch:
		return false, fencedBy(r.epoch, o.Epoch)
	case r.doubtful() || r.place == unsigned && (o.Epoch != 0 || o.Fence):
		return false, nil
	case o.Epoch == 0 && (!o.Fence || r.place == inside):
		return false, fmt.Errorf("%w by %s: close it there first", ErrInUse, r)
	case o.Epoch == 0 && r.place == elsewhere:
		return false, fmt.Errorf("%w by %s: this store is shared between machines, which needs another fence", ErrInUse, r)
	case o.Epoch != 0 && r.epoch == o.Epoch:
		return false, fmt.Errorf("%w, and %s holds it", fencedBy(r.epoch, o.Epoch), r)
	case r.place != beside:
		return false, nil
	}
	return o.Fence || r.member != 0 || r.age() >= strayWait, nil
}

func fencedBy(had, asked san.Epoch) error {
	return fmt.Errorf("%w: epoch %d, asked for %d", ErrFenced, had, asked)
}

// sign enters this process and the owner in the lock file, whose lock it holds,
// and returns what it says then: with the highest epoch so far.
func (s *Store) sign(dir string, l vfs.Lock, o OpenOptions) (holder, error) {
	h, _ := s.readHolder(dir)
	if o.Epoch != 0 && h.epoch > o.Epoch {
		return holder{}, fencedBy(h.epoch, o.Epoch)
	}
	me := s.self
	me.epoch, me.member, me.lost = max(o.Epoch, h.epoch), o.Member, h.lost
	return me, l.Note(me.encode())
}

// signOff takes this process out of the lock file, before it lets go of the
// lock: until the next holder has signed, this one must not be taken for it.
// The epoch stays, and what was lost.
func (s *Store) signOff(dir string, l vfs.Lock) {
	h, ok := s.readHolder(dir)
	if !ok || h.pid == 0 { // the volume is gone, or it never signed
		return
	}
	if err := l.Note(holder{epoch: h.epoch, lost: h.lost}.encode()); err != nil {
		s.log.Warn("the lock of a volume still names this process, which lets go of it", "dir", dir, "error", err)
	}
}

// unlock gives a volume's lock up.
func (s *Store) unlock(dir string, l vfs.Lock) error {
	s.signOff(dir, l)
	return l.Close()
}

// claim puts a loaded volume under the given owner, with its entry's mu held.
func (s *Store) claim(v *volume, o OpenOptions) (err error) {
	if o.Epoch == 0 && o.Member == 0 {
		return nil
	}
	v.loss.mu.Lock()
	defer v.loss.mu.Unlock()
	signed, err := s.sign(v.dir, v.lock, o)
	if err == nil {
		v.epoch = signed.epoch
		v.loss.sign(signed)
	}
	return err
}

func (s *Store) readHolder(dir string) (holder, bool) {
	b, err := vfs.ReadFile(s.fs, dir+"/"+lockName, 4096)
	if err != nil {
		return holder{}, false
	}
	return parseHolder(b)
}
