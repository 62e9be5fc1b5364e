package lun

import (
	"bytes"
	"errors"
	"runtime"
	"sync"
	"testing"

	"sango/internal/block"
	"sango/internal/block/mem"
	"sango/internal/san"
	"sango/internal/scsi"
	"sango/internal/scsi/pr"
)

// streamDev is a device in memory that counts how often each 4 KiB were
// written, and can keep pieces of streamed writes under way, or fail them.
type streamDev struct {
	inner block.Device

	mu      sync.Mutex // guards the fields below
	hold    bool
	held    []*block.Request
	fail    error
	writes  map[int64]int
	flushes int
}

func (d *streamDev) Info() block.Info { i := d.inner.Info(); i.Caps.WriteBack = true; return i }
func (d *streamDev) Close() error     { return d.inner.Close() }

func (d *streamDev) Status(off, n int64, limit int) ([]block.Extent, error) {
	return d.inner.Status(off, n, limit)
}

func (d *streamDev) Submit(r *block.Request) {
	d.mu.Lock()
	switch r.Op {
	case block.OpFlush:
		d.flushes++
	case block.OpWrite:
		if d.fail != nil {
			d.mu.Unlock()
			r.End(block.Fail(r, block.Medium, d.fail))
			return
		}
		for at := r.Off; at < r.Off+r.Len; at += 4096 {
			d.writes[at/4096]++
		}
		if d.hold {
			d.held = append(d.held, r)
			d.mu.Unlock()
			return
		}
	}
	d.mu.Unlock()
	d.inner.Submit(r)
}

// keep makes the writes that come wait for let.
func (d *streamDev) keep() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hold = true
}

func (d *streamDev) let() {
	d.mu.Lock()
	held := d.held
	d.hold, d.held = false, nil
	d.mu.Unlock()
	for _, r := range held {
		d.inner.Submit(r)
	}
}

const streamLen = 256 << 10

// stream is a nexus with a write of streamLen bytes at block 0, none of whose
// data was sent, and another nexus.
type stream struct {
	*testing.T
	u        *Unit
	dev      *streamDev
	tg       *Target
	w, other *wire
	task     *Task
	data     []byte
}

func newStream(t *testing.T) *stream {
	v := testVolume()
	inner, err := mem.New(mem.Options{Size: v.Size, BlockSize: v.BlockSize, PhysicalBlock: v.PhysicalBlock})
	if err != nil {
		t.Fatal(err)
	}
	s := &stream{T: t, dev: &streamDev{inner: inner, writes: map[int64]int{}}}
	s.u = localUnit(t, v, s.dev, nil, UnitOptions{}) // pieces are written where the nexus is, or not at all
	s.tg = oneUnit(s.u)
	s.w, s.other = attach(t, s.tg, nexusName(1), ""), attach(t, s.tg, nexusName(2), "")
	s.w.settle()
	s.data = bytes.Repeat([]byte("sango + "), streamLen/8)
	s.task = s.w.write(streamLen, 0, s.data)
	return s
}

// write admits a WRITE(10) of n bytes at lba.
func (w *wire) write(n int, lba byte, data []byte) *Task {
	t := w.out(n, 0x2a, 0, 0, 0, 0, lba, 0, byte(n>>17), byte(n>>9), 0)
	w.Admit(t)
	if t.OutLen > 0 {
		give(t, data)
	}
	return t
}

// medium returns the first n bytes of the volume.
func (s *stream) medium(n int) []byte {
	s.Helper()
	b := make([]byte, n)
	if err := block.Do(s.dev.inner, block.OpRead, 0, 0, int64(n), b); err != nil {
		s.Fatal(err)
	}
	return b
}

// wrote checks that the first n bytes of the write are on the medium and the
// rest is not.
func (s *stream) wrote(n int) {
	s.Helper()
	want := append(append([]byte(nil), s.data[:n]...), make([]byte, streamLen-n)...)
	if !bytes.Equal(s.medium(streamLen), want) {
		s.Errorf("the medium has not just the first %d bytes of the write", n)
	}
}

// end completes the write and expects every block to have been written once.
func (s *stream) end() {
	s.Helper()
	s.task.Ready()
	wantGood(s, s.w.wait(s.task))
	for at := range int64(streamLen / 4096) {
		if n := s.dev.writes[at]; n != 1 {
			s.Fatalf("4 KiB number %d was written %d times", at, n)
		}
	}
}

// What is there of a large write is written while the rest still comes.
func TestStream(t *testing.T) {
	s := newStream(t)
	for _, n := range []struct{ have, written int }{
		{1000, 0}, {10 << 10, 8 << 10}, {100 << 10, 100 << 10}, {101<<10 - 1, 100 << 10}, {200 << 10, 200 << 10},
	} {
		s.task.Stream(n.have)
		s.wrote(n.written)
	}
	s.end()
	s.wrote(streamLen)
}

func TestStreamOfAll(t *testing.T) {
	s := newStream(t)
	s.task.Stream(streamLen)
	s.wrote(streamLen)
	s.end()
}

// A host that withholds data holds up nobody, and what others did to the
// blocks meanwhile stays.
func TestStreamKeepsWhatCameAfter(t *testing.T) {
	s := newStream(t)
	s.task.Stream(128 << 10)
	caw := append(append([]byte(nil), s.data[:512]...), bytes.Repeat([]byte{1}, 512)...)
	wantGood(t, s.other.run(s.other.out(1024, 0x89, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0), caw...))
	plain := s.other.write(4096, 128, bytes.Repeat([]byte{2}, 4096)) // of a piece that was written
	plain.Ready()
	wantGood(t, s.other.wait(plain))
	s.task.Ready()
	wantGood(t, s.w.wait(s.task))
	copy(s.data, caw[512:])
	copy(s.data[64<<10:], bytes.Repeat([]byte{2}, 4096))
	s.wrote(streamLen)
}

// What overlaps a piece waits for its end, and a piece does not begin while
// something that overlaps is there.
func TestStreamExcludes(t *testing.T) {
	s := newStream(t)
	s.dev.keep()
	s.task.Stream(4096)
	over := s.other.write(4096, 0, s.data)
	over.Ready()
	if s.other.isDone(over) || s.dev.writes[0] != 1 {
		t.Error("a write did not wait for the piece that it overlaps")
	}
	s.task.Stream(8192) // one at a time
	s.dev.let()
	wantGood(t, s.other.wait(over))

	s.dev.keep()
	over = s.other.write(4096, 8, s.data)
	over.Ready()
	s.task.Stream(8192)
	if n := s.dev.writes[1]; n != 1 {
		t.Errorf("a block was written %d times", n)
	}
	s.dev.let()
	wantGood(t, s.other.wait(over))
	s.task.Ready()
	wantGood(t, s.w.wait(s.task))
	s.wrote(streamLen)
}

// Commands that ask for more than their data on the medium some time are not
// streamed, nor any beside those that ask for an order.
func TestNoStream(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare func(*stream)
	}{
		{"ORDERED", func(s *stream) { s.task.Attr = scsi.Ordered; s.task.itl.barriers++ }},
		{"ORDERED of the nexus waits", func(s *stream) {
			o := s.w.out(512, 0x2a, 0, 0, 0, 1, 0, 0, 0, 1, 0)
			o.Attr = scsi.Ordered
			s.w.Admit(o)
		}},
		{"ORDERED of another executes", func(s *stream) {
			s.dev.keep()
			o := s.other.write(4096, 255, s.data)
			o.Attr = scsi.Ordered
			o.Ready()
			s.Cleanup(s.dev.let)
		}},
		{"FUA", func(s *stream) { s.task.arg = argFUA }},
		{"no write cache", func(s *stream) { owner(s.u).modes.wce.Store(false) }},
		{"small", func(s *stream) { s.task = s.w.write(64<<10, 0, s.data) }},
		{"part of a block at the end", func(s *stream) {
			s.task = s.w.out(128<<10+100, 0x2a, 0, 0, 0, 0, 0, 0, 2, 0, 0)
			s.w.Admit(s.task)
			give(s.task, s.data)
		}},
		{"unaligned", func(s *stream) { s.task = s.w.write(128<<10, 1, s.data) }},
		{"reserved", func(s *stream) { s.reserve() }},
		{"aborted", func(s *stream) { s.w.manage(TMF{Function: AbortTaskSet}) }},
		{"LUN gone", func(s *stream) { s.tg.SetMap(nil) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStream(t)
			c.prepare(s)
			s.task.Stream(128 << 10)
			s.wrote(0)
		})
	}
}

// reserve gives the other nexus a reservation of type Write Exclusive.
func (s *stream) reserve() {
	s.Helper()
	for _, o := range []struct {
		action scsi.ServiceAction
		out    pr.Out
	}{{pr.Register, pr.Out{ActionKey: 2}}, {pr.Reserve, pr.Out{Key: 2}}} {
		list := o.out.Append(nil, o.action)
		wantGood(s, s.other.run(s.other.out(len(list), 0x5f, byte(o.action), byte(pr.WriteExclusive), 0, 0, 0, 0, 0, byte(len(list)), 0), list...))
	}
}

// A reservation stops the pieces that follow, and the command.
func TestStreamMeetsReservation(t *testing.T) {
	s := newStream(t)
	s.task.Stream(64 << 10)
	s.reserve()
	s.task.Stream(128 << 10)
	s.wrote(64 << 10)
	s.task.Ready()
	if st := s.w.wait(s.task).Status; st != scsi.ReservationConflict {
		t.Errorf("status %v", st)
	}
	s.wrote(64 << 10)
}

// Whoever aborts the command waits for the piece that is being written, and
// nothing is written after it.
func TestStreamAborted(t *testing.T) {
	for _, c := range []struct {
		name  string
		abort func(*stream)
	}{
		{"abort task", func(s *stream) { s.w.manage(TMF{Function: AbortTask, RefTag: s.task.Tag}) }},
		{"logical unit reset", func(s *stream) { s.other.manage(TMF{Function: LogicalUnitReset}) }},
		{"nexus loss", func(s *stream) { s.w.Detach() }},
		{"unit closed", func(s *stream) { waitFence(func(f *fence) { s.u.abort(everyPeer, everyTask, noPeer, f) }) }},
		{"preempt and abort", func(s *stream) {
			list := pr.Out{Key: 2, ActionKey: 1}
			b := list.Append(nil, pr.PreemptAndAbort)
			s.other.run(s.other.out(len(b), 0x5f, byte(pr.PreemptAndAbort), byte(pr.WriteExclusive), 0, 0, 0, 0, 0, byte(len(b)), 0), b...)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStream(t)
			if c.name == "preempt and abort" {
				for n, w := range []*wire{s.w, s.other} {
					list := pr.Out{ActionKey: pr.Key(n + 1)}
					b := list.Append(nil, pr.Register)
					wantGood(t, w.run(w.out(len(b), 0x5f, byte(pr.Register), 0, 0, 0, 0, 0, 0, byte(len(b)), 0), b...))
				}
			}
			s.dev.keep()
			s.task.Stream(64 << 10)
			aborted := make(chan struct{})
			go func() { c.abort(s); close(aborted) }()
			for !s.task.killed.Load() {
				runtime.Gosched()
			}
			s.task.Ready()
			s.task.Fail(badLength())
			s.task.Stream(128 << 10)
			select {
			case <-aborted:
				t.Error("the abort did not wait")
			default:
			}
			if s.w.isDone(s.task) {
				t.Error("the task ended before the piece")
			}
			s.dev.let()
			<-aborted
			wantAborted(t, s.w.wait(s.task), c.name == "logical unit reset" || c.name == "preempt and abort")
			s.task.Stream(128 << 10)
			s.wrote(64 << 10)
		})
	}
}

// SetMap waits for the piece that is being written; the task ends when its
// data is there, with nothing more on the medium.
func TestStreamOfLUNThatGoes(t *testing.T) {
	s := newStream(t)
	s.dev.keep()
	s.task.Stream(64 << 10)
	gone := make(chan struct{})
	go func() { s.tg.SetMap(map[san.LUN]MapEntry{}); close(gone) }()
	for !s.task.itl.retired.Load() {
		runtime.Gosched()
	}
	select {
	case <-gone:
		t.Error("it did not wait")
	default:
	}
	s.dev.let()
	<-gone
	s.task.Stream(128 << 10)
	s.task.Ready()
	wantSense(t, s.w.wait(s.task), scsi.IllegalRequest, scsi.ASCLUNotSupported)
	s.wrote(64 << 10)
}

// What comes for a task while a piece is being written is done at its end.
func TestStreamEndsInAPiece(t *testing.T) {
	s := newStream(t)
	s.dev.keep()
	s.task.Stream(64 << 10)
	s.task.Ready()
	if s.w.isDone(s.task) || len(s.dev.held) != 1 {
		t.Error("the task went on beside its piece")
	}
	s.dev.let()
	wantGood(t, s.w.wait(s.task))
	s.wrote(streamLen)

	s = newStream(t)
	s.dev.keep()
	s.task.Stream(64 << 10)
	s.task.Fail(badLength())
	s.dev.let()
	wantSense(t, s.w.wait(s.task), scsi.IllegalRequest, scsi.ASCInvalidFieldInCommandInfoUnit)
	s.wrote(64 << 10)
}

// A piece that fails is the end of its command, whatever the device says later.
func TestStreamFails(t *testing.T) {
	s := newStream(t)
	s.dev.fail = errors.New("a bad block")
	s.task.Stream(64 << 10)
	s.dev.fail = nil
	s.task.Stream(128 << 10)
	s.task.Ready()
	wantSense(t, s.w.wait(s.task), scsi.MediumError, scsi.ASCWriteError)
	s.wrote(0)
}

// GOOD without a write cache covers what was streamed while there was one.
func TestStreamBeforeCacheIsOff(t *testing.T) {
	for _, n := range []int{64 << 10, streamLen} {
		s := newStream(t)
		s.task.Stream(n)
		owner(s.u).modes.wce.Store(false)
		s.end()
		if s.dev.flushes == 0 {
			t.Error("it was not flushed")
		}
	}
}

// What comes for a task while a piece is being written is done at its end
// before anybody can end the task, whose transport may use it again then.
func TestStreamEndsInAPieceOfATaskThatGoes(t *testing.T) {
	s := newStream(t)
	s.dev.keep()
	s.task.Stream(64 << 10)
	s.task.Ready()
	var next *Task
	f := newFence(func() {
		s.w.Detach() // aborts what is left
		s.w.wait(s.task)
		tag := s.task.Tag
		s.task.Reset()
		next = s.task
		again := s.other.out(4096, 0x2a, 0, 0, 0, 0, 0, 0, 0, 8, 0)
		next.CDB, next.Write, next.Expected, next.Attr, next.Tag = again.CDB, true, 4096, again.Attr, tag
		s.other.Admit(next)
	})
	s.task.itl.retire(f)
	f.end()
	s.dev.let()
	if next == nil {
		t.Fatal("nobody was told of the end of the piece")
	}
	if s.other.isDone(next) {
		t.Error("a command ran before its data was there")
	}
	give(next, s.data)
	next.Ready()
	wantGood(t, s.other.wait(next))
}
