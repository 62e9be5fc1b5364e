package layered

import (
	"sync"
	"sync/atomic"

	"sango/internal/block/layered/vfs"
	"sango/internal/san"
)

// loss is what is known of syncs that failed: what was written before one may be
// lost, and a later one that succeeds says nothing about it (DESIGN R7). It is
// noted in the lock file, which is there and is open, and is written in place: so
// it is known whenever the volume is opened, until a power cut at least, whatever
// happens to this process, and needs no room on the disk.
type loss struct {
	lost atomic.Pointer[san.UUID] // names the last one; nil: none has failed

	mu     sync.Mutex // guards what follows, and changes of lost
	signed holder     // what the lock file says, or is to say
	owed   bool       // it does not say so yet
}

// sign notes what the lock file says.
func (l *loss) sign(h holder) {
	l.signed = h
	if !h.lost.IsZero() {
		l.lost.Store(&h.lost)
	}
}

// happened: a sync failed.
func (l *loss) happened() {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.signed
	h.lost = san.NewUUID()
	l.sign(h)
	l.owed = true
}

// note makes the lock file say so, where it doesn't.
func (l *loss) note(lock vfs.Lock) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.owed {
		return nil
	}
	err := lock.Note(l.signed.encode())
	l.owed = err != nil
	return err
}

// last names the last one, zero if none has failed.
func (l *loss) last() san.UUID {
	if id := l.lost.Load(); id != nil {
		return *id
	}
	return san.UUID{}
}

// Noted returns nil when the next open knows of all syncs that failed. Where it
// can't, the volume must not be closed.
func (d *device) Noted() error { return d.v.loss.note(d.v.lock) }
