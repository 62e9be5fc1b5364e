package lun

import (
	"bytes"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"sango/internal/block"
	"sango/internal/block/layer/delay"
	"sango/internal/block/layer/fault"
	"sango/internal/block/mem"
	"sango/internal/san"
	"sango/internal/scsi"
)

// sanitizee is a unit whose store can be held and made to fail.
type sanitizee struct {
	*disk
	delay *delay.Device
	st    *memStore
}

func newSanitizee(t *testing.T, size int64) *sanitizee {
	t.Helper()
	m, err := mem.New(mem.Options{Size: size, PhysicalBlock: 4096})
	if err != nil {
		t.Fatal(err)
	}
	return sanitizeeOver(t, m, newStore())
}

func sanitizeeOver(t *testing.T, m *mem.Device, st *memStore) *sanitizee {
	t.Helper()
	f := fault.New(m, 1)
	d := delay.New(f, delay.Options{})
	v := testVolume()
	v.Size = m.Info().Size
	u, err := newUnit(v, block.Check(keep{d}, t), st, UnitOptions{Background: 1 << 40})
	if err != nil {
		t.Fatal(err)
	}
	s := &sanitizee{disk: &disk{t: t, u: u, mem: m, fault: f, bs: 512, blocks: uint64(v.Size) / 512}, delay: d, st: st}
	s.wire = attach(t, oneUnit(u), nexusName(1), "")
	return s
}

// keep does not close what is below, so that the volume can be opened again.
type keep struct{ d *delay.Device }

func (k keep) Info() block.Info        { return k.d.Info() }
func (k keep) Submit(r *block.Request) { k.d.Submit(r) }
func (k keep) Close() error            { return nil }
func (k keep) Status(off, n int64, limit int) ([]block.Extent, error) {
	return k.d.Status(off, n, limit)
}

func (s *sanitizee) overwriteTask(flags byte, o scsi.Overwrite) (*Task, []byte) {
	list := o.Append(nil)
	n := len(list)
	return s.out(n, 0x48, flags|1, 0, 0, 0, 0, 0, byte(n>>8), byte(n), 0), list
}

const (
	immediate = 0x80
	ause      = 0x20
)

func (s *sanitizee) overwrite(flags byte, o scsi.Overwrite) *Task {
	s.t.Helper()
	task, list := s.overwriteTask(flags, o)
	return s.run(task, list...)
}

func TestSanitizeOverwrite(t *testing.T) {
	s := newSanitizee(t, 8<<20)
	defer s.u.Close()
	for _, c := range []struct {
		o    scsi.Overwrite
		want func() []byte
	}{
		{scsi.Overwrite{Count: 1, Pattern: bytes.Repeat([]byte{0xaa}, 512)}, func() []byte { return bytes.Repeat([]byte{0xaa}, 512) }},
		{scsi.Overwrite{Count: 2, Pattern: []byte{1, 2, 3}}, func() []byte { b := make([]byte, 512); tile(b, []byte{1, 2, 3}); return b }},
		{scsi.Overwrite{Count: 2, Invert: true, Pattern: []byte{0x0f}}, func() []byte { return bytes.Repeat([]byte{0xf0}, 512) }},
		{scsi.Overwrite{Count: 3, Invert: true, Pattern: []byte{0x0f}}, func() []byte { return bytes.Repeat([]byte{0x0f}, 512) }},
	} {
		wantGood(t, s.overwrite(0, c.o))
		s.holds(0, bytes.Repeat(c.want(), 100))
		s.holds(s.blocks-100, bytes.Repeat(c.want(), 100))
	}
	if b, _ := s.st.Load(StateSanitize); b != nil {
		t.Errorf("the finished operation is still noted: %s", b)
	}
}

func TestSanitizeBlockEraseDeallocates(t *testing.T) {
	s := newSanitizee(t, 8<<20)
	defer s.u.Close()
	s.write(0, s.fill(300, 1))
	s.write(s.blocks-300, s.fill(300, 1))
	wantGood(t, s.run(s.newTask([]byte{0x48, 2})))
	if s.mem.Used() != 0 {
		t.Errorf("%d bytes are left", s.mem.Used())
	}
	task := s.run(s.in(256, 0x9e, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0))
	wantGood(t, task)
	list, err := scsi.ParseLBAStatus(bytesIn(task))
	if err != nil || len(list) != 1 || uint64(list[0].Blocks) != s.blocks || list[0].State != scsi.StatusDeallocated {
		t.Errorf("%v, %v", list, err)
	}
}

func TestSanitizeRefusals(t *testing.T) {
	s := newSanitizee(t, 8<<20)
	defer s.u.Close()
	for n := range 5 {
		wantSense(t, s.run(s.out(n, 0x48, 1, 0, 0, 0, 0, 0, 0, byte(n), 0), make([]byte, n)...), scsi.IllegalRequest, scsi.ASCInvalidFieldInCDB)
	}
	wantSense(t, s.run(s.out(517, 0x48, 1, 0, 0, 0, 0, 0, 2, 5, 0), make([]byte, 517)...), scsi.IllegalRequest, scsi.ASCInvalidFieldInCDB)
	wantSense(t, s.overwrite(0, scsi.Overwrite{Count: 0, Pattern: []byte{1}}), scsi.IllegalRequest, scsi.ASCInvalidFieldInParameterList)
	for _, cdb := range [][]byte{
		{0x48, 3},                  // cryptographic erase
		{0x48, 0x1e},               // no such service action
		{0x48, 0x42}, {0x48, 0x41}, // reserved bit
		{0x48, 2, 1}, {0x48, 2, 0, 0, 0, 0, 6}, // reserved bytes
		{0x48, 2, 0, 0, 0, 0, 0, 0, 8},    // block erase takes no list
		{0x48, 0x1f, 0, 0, 0, 0, 0, 0, 8}, // nor does exit failure mode
	} {
		wantSense(t, s.run(s.newTask(cdb)), scsi.IllegalRequest, scsi.ASCInvalidFieldInCDB)
	}
	wantGood(t, s.run(s.newTask([]byte{0x48, 0x1f}))) // nothing has failed
}

// While the operation runs, whoever started it, everything that touches the
// medium is told how far it is.
func TestSanitizeInProgress(t *testing.T) {
	for _, immed := range []bool{false, true} {
		s := newSanitizee(t, 8<<20)
		s.delay.Hold(block.OpWrite)
		flags := byte(0)
		if immed {
			flags = immediate
		}
		task, list := s.overwriteTask(flags, scsi.Overwrite{Count: 1, Pattern: []byte{7}})
		s.Admit(task)
		give(task, list)
		task.Ready()
		if immed {
			wantGood(t, s.wait(task))
		}
		<-s.delay.Arrived()
		other := attach(t, s.target, nexusName(2), "")
		for _, w := range []*wire{s.wire, other} {
			w.t = t
			wantSense(t, w.tur(), scsi.NotReady, scsi.ASCSanitizeInProgress)
			wantSense(t, w.run(w.in(512, 0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0)), scsi.NotReady, scsi.ASCSanitizeInProgress)
			wantSense(t, w.run(w.newTask([]byte{0x48, 2})), scsi.NotReady, scsi.ASCSanitizeInProgress)
			wantGood(t, w.run(w.in(96, 0x12, 0, 0, 0, 96, 0)))
			task := w.run(w.in(18, 3, 0, 0, 0, 18, 0))
			wantGood(t, task)
			if d := bytesIn(task); d[2]&15 != byte(scsi.NotReady) || d[12] != 4 || d[13] != 0x1b || d[15]&0x80 == 0 {
				t.Errorf("REQUEST SENSE: % x", d)
			}
		}
		s.delay.Release()
		if !immed {
			wantGood(t, s.wait(task))
		}
		if err := s.u.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Neither an abort of the command nor a reset ends the operation.
func TestSanitizeGoesOnAfterAbort(t *testing.T) {
	s := newSanitizee(t, 8<<20)
	s.delay.Hold(block.OpWrite)
	task, list := s.overwriteTask(0, scsi.Overwrite{Count: 1, Pattern: []byte{7}})
	s.Admit(task)
	give(task, list)
	task.Ready()
	<-s.delay.Arrived()
	answer := make(chan TMFResponse, 1)
	s.Manage(TMF{Function: LogicalUnitReset}, func(r TMFResponse) { answer <- r })
	s.delay.Release()
	if r := <-answer; r != TMFComplete {
		t.Errorf("reset: %v", r)
	}
	if s.wait(task); !task.Aborted && task.Status != scsi.Good {
		t.Errorf("status %v", task.Status)
	}
	s.settle()
	owner(s.u).sanitizer.wg.Wait()
	s.holds(s.blocks-1, bytes.Repeat([]byte{7}, 512))
	if err := s.u.Close(); err != nil {
		t.Error(err)
	}
}

func TestSanitizeSurvivesRestart(t *testing.T) {
	s := newSanitizee(t, 8<<20)
	s.delay.Hold(block.OpWrite)
	wantGood(t, s.overwrite(immediate, scsi.Overwrite{Count: 2, Pattern: []byte{7}}))
	<-s.delay.Arrived()
	closed := make(chan error)
	go func() { closed <- s.u.Close() }()
	<-owner(s.u).sanitizer.stop
	s.delay.Release()
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	if b, _ := s.st.Load(StateSanitize); b == nil {
		t.Fatal("the operation was forgotten")
	}
	s = sanitizeeOver(t, s.mem, s.st)
	owner(s.u).sanitizer.wg.Wait()
	s.holds(0, bytes.Repeat([]byte{7}, 512))
	s.holds(s.blocks-1, bytes.Repeat([]byte{7}, 512))
	if err := s.u.Close(); err != nil {
		t.Error(err)
	}
}

func TestSanitizeFailureMode(t *testing.T) {
	for _, allow := range []bool{false, true} {
		s := newSanitizee(t, 8<<20)
		rule := s.fault.Arm(fault.Rule{Ops: fault.Write, Off: 4 << 20, Len: 512, Class: block.Medium})
		flags := byte(0)
		if allow {
			flags = ause
		}
		wantSense(t, s.overwrite(flags, scsi.Overwrite{Count: 1, Pattern: []byte{7}}), scsi.MediumError, scsi.ASCSanitizeFailed)
		wantSense(t, s.tur(), scsi.MediumError, scsi.ASCSanitizeFailed)
		if err := s.u.Close(); err != nil {
			t.Fatal(err)
		}
		s = sanitizeeOver(t, s.mem, s.st) // the mode outlives a restart
		_ = rule
		wantSense(t, s.cmd(scsi.OpRead10, at(0, 1), 512, nil), scsi.MediumError, scsi.ASCSanitizeFailed)
		if allow {
			wantGood(t, s.run(s.newTask([]byte{0x48, 0x1f})))
		} else {
			wantSense(t, s.run(s.newTask([]byte{0x48, 0x1f})), scsi.IllegalRequest, scsi.ASCInvalidFieldInCDB)
			wantSense(t, s.overwrite(ause, scsi.Overwrite{Count: 1, Pattern: []byte{7}}), scsi.IllegalRequest, scsi.ASCInvalidFieldInCDB)
			wantGood(t, s.overwrite(0, scsi.Overwrite{Count: 1, Pattern: []byte{9}}))
		}
		wantGood(t, s.tur())
		if err := s.u.Close(); err != nil {
			t.Error(err)
		}
	}
}

// shared is a device that has snapshots, and knows so from its first request
// on.
type shared struct {
	keep
	open *atomic.Bool
}

func (s shared) Info() block.Info {
	i := s.keep.Info()
	i.Caps.Shared = s.open.Load()
	return i
}

func (s shared) Submit(r *block.Request) {
	s.open.Store(true)
	s.keep.Submit(r)
}

func TestSanitizeOfVolumeWithSnapshotsIsRefused(t *testing.T) {
	m, err := mem.New(mem.Options{Size: 1 << 20, PhysicalBlock: 4096})
	if err != nil {
		t.Fatal(err)
	}
	v := testVolume()
	v.Size = 1 << 20
	u := unitOver(t, v, shared{keep{delay.New(m, delay.Options{})}, new(atomic.Bool)}, nil, UnitOptions{})
	w := attach(t, oneUnit(u), nexusName(1), "")
	wantSense(t, w.run(w.newTask([]byte{0x48, 2})), scsi.IllegalRequest, scsi.ASCCommandSequence)
	wantGood(t, w.tur())
}

// uncertain is a store that keeps what it is given, but says that it failed, as
// often as it is told.
type uncertain struct {
	*memStore
	fails atomic.Int32
}

func (s *uncertain) Save(name string, b []byte) error {
	if err := s.memStore.Save(name, b); err != nil {
		return err
	}
	if s.fails.Add(-1) >= 0 {
		return errors.New("connection lost")
	}
	return nil
}

// An operation that was refused because it could not be noted does not start by
// itself at the next restart.
func TestSanitizeThatWasNotNoted(t *testing.T) {
	for _, fails := range []int32{1, 2} {
		st := &uncertain{memStore: newStore()}
		m, err := mem.New(mem.Options{Size: 1 << 20, PhysicalBlock: 4096})
		if err != nil {
			t.Fatal(err)
		}
		v := testVolume()
		v.Size = 1 << 20
		u := unitOver(t, v, m, st, UnitOptions{})
		w := attach(t, oneUnit(u), nexusName(1), "")
		list := (&scsi.Overwrite{Count: 1, Pattern: []byte{7}}).Append(nil)
		overwrite := func(flags byte) *Task {
			return w.run(w.out(len(list), 0x48, flags|1, 0, 0, 0, 0, 0, 0, byte(len(list)), 0), list...)
		}
		st.fails.Store(fails)
		wantSense(t, overwrite(ause), scsi.HardwareError, scsi.ASCInternalTargetFailure)
		if fails == 1 {
			wantGood(t, w.tur())
		} else { // what is noted is not known: nothing may be written
			wantSense(t, w.tur(), scsi.MediumError, scsi.ASCSanitizeFailed)
			wantGood(t, w.run(w.newTask([]byte{0x48, 0x1f})))
			wantGood(t, w.tur())
		}
		if b, _ := st.Load(StateSanitize); b != nil {
			t.Errorf("%d failures: a restart would do %s", fails, b)
		}
	}
}

// unsure is a store that does not know, every other time, whether it has kept what
// it is given; in between it can't be asked.
type unsure struct {
	*memStore
	saves atomic.Int32
}

func (s *unsure) Save(name string, b []byte) error {
	switch n := s.saves.Add(1); {
	case n == 1 || n%3 == 0: // the start, and each third
		return s.memStore.Save(name, b)
	case n%3 == 1:
		return san.Errorf(san.ErrUnavailable, "no leader")
	}
	if err := s.memStore.Save(name, b); err != nil {
		return err
	}
	return san.Errorf(san.ErrUnknown, "connection lost")
}

// An operation does not fail because the store can't tell for a while how far it
// is: it asks again.
func TestSanitizeInsists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &unsure{memStore: newStore()}
		v := testVolume()
		v.Size = 1 << 20
		u := localUnit(t, v, memDevice(t, v), st, UnitOptions{Logger: silent})
		w := attach(t, oneUnit(u), nexusName(1), "")
		list := (&scsi.Overwrite{Count: 3, Pattern: []byte{7}}).Append(nil)
		wantGood(t, w.run(w.out(len(list), 0x48, 1, 0, 0, 0, 0, 0, 0, byte(len(list)), 0), list...))
		wantGood(t, w.tur())
		if b, _ := st.Load(StateSanitize); b != nil {
			t.Errorf("a restart would do %s", b)
		}
	})
}

// late is a store that makes a change after it has said that it does not know of
// it: with the next one, which is refused then.
type late struct {
	*memStore
	saves int
	first []byte
	now   bool
}

func (s *late) Save(name string, b []byte) error {
	switch s.saves++; s.saves {
	case 1:
		s.first = b
		return san.Errorf(san.ErrUnknown, "connection lost")
	case 2:
		s.now = true
		if err := s.memStore.Save(name, s.first); err != nil {
			return err
		}
		fallthrough
	default:
		if s.now {
			return san.Errorf(san.ErrRefused, "changed by somebody else: load it again")
		}
	}
	return s.memStore.Save(name, b)
}

func (s *late) Load(name string) ([]byte, error) {
	s.now = false
	return s.memStore.Load(name)
}

// The note of an operation that was refused is taken away, also where it is made
// only then.
func TestSanitizeNotedLate(t *testing.T) {
	st := &late{memStore: newStore()}
	v := testVolume()
	v.Size = 1 << 20
	u := localUnit(t, v, memDevice(t, v), st, UnitOptions{Logger: silent})
	w := attach(t, oneUnit(u), nexusName(1), "")
	list := (&scsi.Overwrite{Count: 1, Pattern: []byte{7}}).Append(nil)
	wantSense(t, w.run(w.out(len(list), 0x48, 1, 0, 0, 0, 0, 0, 0, byte(len(list)), 0), list...), scsi.HardwareError, scsi.ASCInternalTargetFailure)
	wantGood(t, w.tur())
	if b, _ := st.memStore.Load(StateSanitize); b != nil {
		t.Errorf("a restart would do %s", b)
	}
}
