package lun

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"sango/internal/block"
	"sango/internal/san"
	"sango/internal/scsi"
)

// Where a flush has failed, and the volume was opened anew since, its cache is
// clean: the next flush would be GOOD, and hosts would take for stable what may
// be lost (DESIGN R7). So the first SYNCHRONIZE CACHE of each I_T nexus, or STOP,
// ends with MEDIUM ERROR, WRITE ERROR. FUA promises nothing of other writes.
//
// The answer may be lost with its session, and the host ask again: a nexus is
// told until a second one follows the first under the same login. Then it is noted
// for good, so that it is not told again by the next owner.

const (
	// lostKept is how long nexuses are told that have not been, from when the first
	// one was: later ones wrote nothing before.
	lostKept = 7 * 24 * time.Hour
	// lostTold bounds the nexuses that are noted; others may be told twice.
	lostTold = 4096
)

// lostRecord is what is kept in the UnitStore.
type lostRecord struct {
	ID    san.UUID      `json:"id"` // block.Info.Lost
	Since time.Time     `json:"since"`
	Told  []san.NexusID `json:"told,omitempty"`
}

// lost is who has been told of block.Info.Lost.
type lost struct {
	mu     sync.Mutex // guards what follows
	loaded bool
	rec    lostRecord
	id     san.UUID               // of the event that told is about
	told   map[san.NexusID]uint64 // the login under which it was told last
}

// forget makes the record be read again: another owner may have changed it.
func (l *lost) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.loaded, l.rec = false, lostRecord{}
}

// synchronize is SYNCHRONIZE CACHE.
func synchronize(t *Task) error {
	switch {
	case t.unit.dev.Info().Lost.IsZero():
		return t.start(block.OpFlush, 0, 0, 0, nil)
	case !t.mayBlock:
		return block.ErrWouldBlock
	}
	return t.flushed(t.do(block.OpFlush, 0, 0, 0, nil))
}

// synchronized ends one that nothing was known to be lost for. A volume that is
// opened by its first command knows more now; who was told already, by the record
// that can't be read here, is told again.
func synchronized(t *Task, err error) error {
	if err != nil {
		return err
	}
	id := t.unit.dev.Info().Lost
	if id.IsZero() {
		return nil
	}
	if l := &t.unit.lost; l.mu.TryLock() { // it is held while the record is read and written
		l.note(t, id)
		l.mu.Unlock()
	}
	return scsi.Check(scsi.MediumError, scsi.ASCWriteError)
}

// flushed is how t ends, whose host asked for a flush that ended with err. It may
// block.
func (t *Task) flushed(err error) error {
	if err != nil {
		return err
	}
	if id := t.unit.dev.Info().Lost; !id.IsZero() {
		return t.unit.lost.tell(t, id)
	}
	return nil
}

// tell returns how t ends: with an error as long as its nexus does not know of id.
func (l *lost) tell(t *Task, id san.UUID) error {
	u, n, login := t.unit, t.itl.nexus.id, t.itl.login.Load()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.loaded {
		if err := l.load(u); err != nil {
			u.o.Logger.Warn("who was told already that a flush has failed can't be read: all hosts are told again", "volume", u.vol.Name, "err", err)
		} else {
			l.loaded = true
		}
	}
	if l.rec.ID != id {
		l.rec = lostRecord{ID: id}
	}
	if slices.Contains(l.rec.Told, n) || !l.rec.Since.IsZero() && time.Since(l.rec.Since) > lostKept {
		return nil
	}
	if last, told := l.told[n]; told && last == login && l.id == id {
		l.knows(u, n)
		return nil
	}
	l.note(t, id)
	u.o.Logger.Error("a flush of the volume failed before it was opened again, and writes may be lost: a host is told so",
		"volume", u.vol.Name, "initiator", n.Initiator.Name)
	return scsi.Check(scsi.MediumError, scsi.ASCWriteError)
}

// note notes that the nexus of t is told of id now. Call with the lock.
func (l *lost) note(t *Task, id san.UUID) {
	if l.id != id || len(l.told) >= lostTold {
		l.id, l.told = id, map[san.NexusID]uint64{}
	}
	l.told[t.itl.nexus.id] = t.itl.login.Load()
}

// knows notes that n has been told. That it can't be noted does no harm: n is told
// again. Call with the lock.
func (l *lost) knows(u *Unit, n san.NexusID) {
	delete(l.told, n)
	if l.rec.Since.IsZero() {
		l.rec.Since = time.Now()
	}
	if len(l.rec.Told) >= lostTold {
		l.rec.Told = slices.Delete(l.rec.Told, 0, 1)
	}
	l.rec.Told = append(l.rec.Told, n)
	b, err := json.Marshal(l.rec)
	if err == nil {
		err = u.store.Save(StateLost, b)
	}
	if err != nil {
		u.o.Logger.Warn("it can't be noted that a host was told of a flush that failed: it may be told again", "volume", u.vol.Name, "err", err)
	}
}

// load reads the record. Call with the lock.
func (l *lost) load(u *Unit) error {
	b, err := u.store.Load(StateLost)
	if err != nil || b == nil {
		return err
	}
	var r lostRecord
	if err := json.Unmarshal(b, &r); err != nil {
		return fmt.Errorf("the record of who was told: %w", err)
	}
	l.rec = r
	return nil
}
