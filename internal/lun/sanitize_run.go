package lun

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"sango/internal/block"
	"sango/internal/bufpool"
	"sango/internal/san"
	"sango/internal/scsi"
)

// The operations of a sanitizeRecord.
const (
	sanitizeOverwrite = "overwrite"
	sanitizeErase     = "block-erase"
)

// sanitizeRecord is a sanitize operation as it is kept in the UnitStore from
// before its first write until it has ended well.
type sanitizeRecord struct {
	Op      string `json:"op"`
	Pattern []byte `json:"pattern,omitempty"`
	Invert  bool   `json:"invert,omitempty"`
	Passes  int    `json:"passes"`
	AUSE    bool   `json:"ause,omitempty"`
	Failed  bool   `json:"failed,omitempty"`
	Pass    int    `json:"pass"` // passes that are complete
	Off     int64  `json:"off"`  // bytes of the next one that are stable
}

// checkpoint is how many bytes are written between two notes of how far the
// operation has got.
const checkpoint = 8 << 30

// sanitizer runs the sanitize operation of a unit: one goroutine, which it
// waits for when it is closed.
type sanitizer struct {
	u  *Unit
	wg sync.WaitGroup

	mu     sync.Mutex // guards the fields below
	stop   chan struct{}
	epoch  san.Epoch
	rec    *sanitizeRecord
	waiter *Task // the command that waits for the end
	open   bool
	halted error // how the waiting command ends when the operation was stopped
}

// resume takes up an operation that was interrupted: by a restart, or by a
// change of the owner to epoch e.
func (s *sanitizer) resume(e san.Epoch) error {
	u := s.u
	b, err := u.store.Load(StateSanitize)
	if err != nil {
		return err
	}
	var r *sanitizeRecord
	if b != nil {
		r = &sanitizeRecord{}
		if err := json.Unmarshal(b, r); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop, s.epoch, s.rec, s.open = make(chan struct{}), e, r, true
	u.setCondition(condSanitizing, r != nil && !r.Failed)
	u.setCondition(condSanitizeFailed, r != nil && r.Failed)
	if r != nil && !r.Failed {
		s.wg.Go(s.work)
	}
	return nil
}

// halt stops the operation; the next one to serve takes it up. The command that
// waits for it ends with err.
func (s *sanitizer) halt(err error) {
	s.mu.Lock()
	if s.open {
		s.open, s.halted = false, err
		close(s.stop)
	}
	s.mu.Unlock()
	s.wg.Wait()
}

func (s *sanitizer) save(r *sanitizeRecord) error {
	var b []byte
	if r != nil {
		var err error
		if b, err = json.Marshal(r); err != nil {
			return err
		}
	}
	return s.u.store.Save(StateSanitize, b)
}

// insist is save for what has to be known: where the store can't tell whether it
// was made, or can't be asked, it is saved again until it is there, or stop is
// closed.
func (s *sanitizer) insist(r *sanitizeRecord, stop <-chan struct{}) error {
	wait, told := pacer{rate: 1000}, false
	for {
		err := s.saveOver(r)
		if err == nil || s.u.moved(err) || !errors.Is(err, san.ErrUnknown) && !errors.Is(err, san.ErrUnavailable) {
			return err
		}
		if !told {
			told = true
			s.u.o.Logger.Warn("a sanitize operation waits until it can be noted how far it is", "volume", s.u.vol.Name, "err", err)
		}
		s.reap()
		if !wait.pace(200, stop) { // again every 200 ms
			return &block.Error{Class: block.Closed}
		}
	}
}

// saveOver is save, also where a former one of unknown outcome is made only now.
func (s *sanitizer) saveOver(r *sanitizeRecord) error {
	err := s.save(r)
	if !errors.Is(err, san.ErrRefused) {
		return err
	}
	if _, lerr := s.u.store.Load(StateSanitize); lerr != nil {
		return err
	}
	return s.save(r)
}

// begin starts operation r for waiter, unless that is nil. It is called by a
// command that locks the whole medium; the lock is given up here, when the
// condition of the unit keeps others away instead.
func (s *sanitizer) begin(r sanitizeRecord, waiter *Task) error {
	u := s.u
	s.mu.Lock()
	defer s.mu.Unlock()
	c := u.cond.Load()
	switch {
	case !s.open:
		return s.halted
	case c&condSanitizing != 0:
		return u.unsanitized(c)
	case s.rec != nil && !s.rec.AUSE && r.AUSE:
		return scsi.InvalidField(1, 5) // restricted once, restricted until it is done (SBC-3 §4.11.3)
	}
	if err := s.saveOver(&r); err != nil {
		if u.moved(err) {
			return err
		}
		s.undo(r)
		return fmt.Errorf("noting the sanitize operation: %w", err)
	}
	s.rec, s.waiter = &r, waiter
	u.progress.Store(0)
	u.setCondition(condSanitizing, true)
	u.setCondition(condSanitizeFailed, false)
	u.o.Logger.Info("sanitize started", "volume", u.vol.Name, "operation", r.Op)
	if waiter != nil {
		u.workers.push(u.set.unlock(waiter))
	}
	s.wg.Go(s.work)
	return nil
}

// undo takes back the note of r, of which nobody knows whether it was kept: the
// host is told that nothing happens, and a restart must not destroy then what
// it wrote since. If that fails too the unit is as after an operation that
// failed, so that nothing is written. Call with the lock.
func (s *sanitizer) undo(r sanitizeRecord) {
	u := s.u
	err := s.saveOver(s.rec)
	if err == nil {
		return
	}
	r.Failed = true
	s.rec = &r
	u.setCondition(condSanitizeFailed, true)
	u.o.Logger.Error("a sanitize operation may be noted that was not started: the volume is stopped until it is sanitized, or leaves the failure mode",
		"volume", u.vol.Name, "err", err)
}

// exit leaves the failure mode.
func (s *sanitizer) exit() error {
	u := s.u
	s.mu.Lock()
	defer s.mu.Unlock()
	c := u.cond.Load()
	switch {
	case c&condSanitizing != 0:
		return u.unsanitized(c)
	case c&condSanitizeFailed == 0:
		return nil
	case !s.rec.AUSE:
		return scsi.InvalidField(1, 4)
	}
	if err := s.save(nil); err != nil {
		return fmt.Errorf("leaving the sanitize failure mode: %w", err)
	}
	s.rec = nil
	u.setCondition(condSanitizeFailed, false)
	return nil
}

// work is the operation, from its goroutine.
func (s *sanitizer) work() {
	u := s.u
	s.mu.Lock()
	o := operation{s: s, rec: *s.rec, epoch: s.epoch, stop: s.stop}
	s.mu.Unlock()
	r := &o.rec
	done, err := o.passes()
	if err == nil && done {
		// Until this is kept a restart would sanitize again, so nothing may be
		// written before.
		err = s.insist(nil, o.stop)
	}
	if err != nil && !stopped(err) && !u.moved(err) {
		r.Failed = true
		if serr := s.insist(r, o.stop); serr != nil {
			u.o.Logger.Error("the failure of a sanitize operation could not be noted", "volume", u.vol.Name, "err", serr)
		}
	}
	if err == nil && !done || err != nil && !r.Failed {
		s.mu.Lock()
		how := s.halted
		s.mu.Unlock()
		switch {
		case how != nil:
		case u.moved(err):
			how = moving()
		default: // the device was taken away
			how = scsi.Check(scsi.NotReady, scsi.ASCNotReady)
		}
		s.release(how)
		return // goes on where the volume is served next
	}
	s.mu.Lock()
	if err == nil {
		s.rec = nil
		u.setCondition(condSanitizing, false)
		u.o.Logger.Info("sanitize complete", "volume", u.vol.Name)
	} else {
		s.rec = r
		u.setCondition(condSanitizeFailed, true)
		u.setCondition(condSanitizing, false)
		u.o.Logger.Error("sanitize failed", "volume", u.vol.Name, "err", err)
	}
	s.mu.Unlock()
	if err != nil {
		s.release(sanitizeFailed())
		return
	}
	s.release(nil)
}

// release ends the command that waits.
func (s *sanitizer) release(err error) {
	s.mu.Lock()
	w := s.waiter
	s.waiter = nil
	s.mu.Unlock()
	if w != nil {
		w.finish(err)
	}
}

// operation is a sanitize operation under way.
type operation struct {
	s     *sanitizer
	rec   sanitizeRecord
	epoch san.Epoch
	stop  <-chan struct{}
}

// passes does what is left of it. It reports whether all is done and stable;
// without an error it was stopped.
func (o *operation) passes() (done bool, err error) {
	r := &o.rec
	for r.Pass < r.Passes {
		if done, err = o.pass(); !done || err != nil {
			return false, err
		}
		r.Pass, r.Off = r.Pass+1, 0
		if err := o.note(); err != nil {
			return false, err
		}
	}
	return true, nil
}

// note makes what was written stable, then notes how far the operation has got.
func (o *operation) note() error {
	if err := o.do(block.OpFlush, 0, 0, nil); err != nil {
		return err
	}
	return o.s.insist(&o.rec, o.stop)
}

func (o *operation) do(op block.Op, off, n int64, bufs [][]byte) error {
	u := o.s.u
	for wait := (pacer{rate: 1000}); !u.mayServe(); {
		if !wait.pace(100, o.stop) { // look again every 100 ms
			return &block.Error{Class: block.Fenced}
		}
	}
	return block.DoAt(u.dev, o.epoch, op, 0, off, n, bufs...)
}

func (o *operation) pass() (done bool, err error) {
	r, u := &o.rec, o.s.u
	bs, _ := u.geometry()
	p := pacer{rate: u.o.Background}
	op, step := block.OpDiscard, int64(stretch)
	var bufs [][]byte
	if r.Op == sanitizeOverwrite {
		op, step = block.OpWrite, p.portion(chunk, bs)
		b := bufpool.Get(int(step))
		defer b.Release()
		r.paint(b.B, int(bs))
		bufs = [][]byte{b.B}
	}
	kept := r.Off
	for {
		size := u.dev.Info().Size // it may grow meanwhile
		if r.Off >= size {
			return true, nil
		}
		o.s.reap()
		n := min(step, size-r.Off)
		if bufs != nil {
			bufs[0] = bufs[0][:n]
			if !p.pace(n, o.stop) {
				return false, nil
			}
		} else if !p.pace(0, o.stop) {
			return false, nil
		}
		if err := o.do(op, r.Off, n, bufs); err != nil {
			return false, err
		}
		r.Off += n
		u.progress.Store(r.progress(size))
		if r.Off-kept >= checkpoint {
			if err := o.note(); err != nil {
				return false, err
			}
			kept = r.Off
		}
	}
}

// reap ends the command that waits if it was aborted or its LUN is gone; the
// operation goes on.
func (s *sanitizer) reap() {
	s.mu.Lock()
	w, stop, err := s.waiter, false, error(nil)
	if w != nil {
		if stop, err = w.halted(); stop {
			s.waiter = nil
		}
	}
	s.mu.Unlock()
	if stop {
		w.finish(err)
	}
}

// paint fills b with what this pass writes: each block starts with the
// pattern.
func (r *sanitizeRecord) paint(b []byte, bs int) {
	tile(b[:bs], r.Pattern)
	if r.Invert && r.Pass%2 == 1 {
		for i := range b[:bs] {
			b[i] = ^b[i]
		}
	}
	tile(b[bs:], b[:bs])
}

// progress returns how much of r is done, in 65536ths, never all of it.
func (r *sanitizeRecord) progress(size int64) uint32 {
	done := (float64(r.Pass) + float64(r.Off)/float64(max(size, 1))) / float64(max(r.Passes, 1))
	return uint32(min(done*65536, 65535))
}
