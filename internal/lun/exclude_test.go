package lun

import (
	"bytes"
	"slices"
	"sync"
	"testing"

	"sango/internal/block"
	"sango/internal/block/mem"
	"sango/internal/scsi"
)

// halfway is a device that can stop in the middle of reads and writes, as any
// may.
type halfway struct {
	inner block.Device
	t     *testing.T

	mu   sync.Mutex // guards the fields below
	stop bool
	held []*block.Request
}

func (d *halfway) Info() block.Info { return d.inner.Info() }
func (d *halfway) Close() error     { return d.inner.Close() }

func (d *halfway) Status(off, n int64, limit int) ([]block.Extent, error) {
	return d.inner.Status(off, n, limit)
}

func (d *halfway) Submit(r *block.Request) {
	d.mu.Lock()
	stop := d.stop
	if stop {
		d.half(r, 0, r.Len/2)
		d.held = append(d.held, r)
	}
	d.mu.Unlock()
	if !stop {
		d.inner.Submit(r)
	}
}

// half does the bytes from a to b of r; of a discard, all of them at the end.
func (d *halfway) half(r *block.Request, a, b int64) {
	data, medium := bytes.Join(r.Bufs, nil), make([]byte, r.Len)
	var err error
	switch r.Op {
	case block.OpRead:
		if err = block.ReadAt(d.inner, medium, r.Off); err == nil {
			copy(data[a:b], medium[a:b])
			for _, p := range r.Bufs {
				data = data[copy(p, data):]
			}
		}
	case block.OpWrite:
		if err = block.ReadAt(d.inner, medium, r.Off); err == nil {
			copy(medium[a:b], data[a:b])
			err = block.WriteAt(d.inner, medium, r.Off, 0)
		}
	default:
		if b == r.Len {
			err = block.Do(d.inner, r.Op, 0, r.Off, r.Len)
		}
	}
	if err != nil {
		d.t.Error(err)
	}
}

// halt makes what comes stop midway, until let.
func (d *halfway) halt() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stop = true
}

// under returns what has been begun.
func (d *halfway) under() (ops []block.Op) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range d.held {
		ops = append(ops, r.Op)
	}
	return ops
}

// wantUnder waits for so many to have been begun, and checks which.
func (d *halfway) wantUnder(want ...block.Op) {
	d.t.Helper()
	for len(d.under()) < len(want) { // workers do some
	}
	if got := d.under(); !slices.Equal(got, want) {
		d.t.Errorf("under way: %v, want %v", got, want)
	}
}

func (d *halfway) let() {
	d.mu.Lock()
	held := d.held
	d.stop, d.held = false, nil
	for _, r := range held {
		d.half(r, r.Len/2, r.Len)
	}
	d.mu.Unlock()
	for _, r := range held {
		r.End(nil)
	}
}

func newHalfway(t *testing.T) (*halfway, *Unit) {
	v := testVolume()
	inner, err := mem.New(mem.Options{Size: v.Size, BlockSize: v.BlockSize, PhysicalBlock: v.PhysicalBlock})
	if err != nil {
		t.Fatal(err)
	}
	d := &halfway{inner: inner, t: t}
	return d, unitOver(t, v, d, nil, UnitOptions{})
}

// whole reports whether b is old or new from end to end.
func whole(b []byte) bool { return len(b) > 0 && bytes.Count(b, b[:1]) == len(b) }

// No read returns a block that is half old and half new.
func TestReadsSeeWholeBlocks(t *testing.T) {
	d, u := newHalfway(t)
	tg := oneUnit(u)
	w, other := attach(t, tg, nexusName(1), ""), attach(t, tg, nexusName(2), "")
	read := func(lba, blocks byte) *Task {
		task := other.in(512*int(blocks), 0x28, 0, 0, 0, 0, lba, 0, 0, blocks, 0)
		other.Admit(task)
		return task
	}

	// The write came first.
	d.halt()
	write := w.put(8, 1)
	one, more, beside := read(8, 1), read(0, 16), read(9, 8)
	d.wantUnder(block.OpWrite, block.OpRead)
	wantWaiting(t, w, write)
	wantWaiting(t, other, one, more, beside)
	d.let()
	for _, task := range []*Task{w.wait(write), other.wait(one), other.wait(more), other.wait(beside)} {
		wantGood(t, task)
	}
	if b := bytesIn(one); !whole(b) || b[0] != 1 {
		t.Errorf("a read after a write returned % x ... % x", b[:4], b[508:])
	}
	if b := bytesIn(more); !whole(b[8*512:9*512]) || b[8*512] != 1 {
		t.Error("a long read after a write returned something else")
	}

	// The read came first.
	d.halt()
	one = read(8, 1)
	write, far := w.put(8, 2), w.put(9, 2)
	d.wantUnder(block.OpRead, block.OpWrite)
	wantWaiting(t, w, write)
	d.let()
	wantGood(t, other.wait(one))
	wantGood(t, w.wait(write))
	wantGood(t, w.wait(far))
	if b := bytesIn(one); !whole(b) || b[0] != 1 {
		t.Errorf("a read before a write returned % x ... % x", b[:4], b[508:])
	}
	if w.get(8) != 2 {
		t.Error("the write is lost")
	}

	// What is read and told nobody keeps nobody waiting.
	d.halt()
	verify := other.newTask([]byte{0x2f, 0, 0, 0, 0, 0, 0, 0, 64, 0})
	other.Admit(verify)
	fetch := other.newTask([]byte{0x34, 0, 0, 0, 0, 0, 0, 0, 64, 0})
	other.Admit(fetch)
	d.wantUnder(block.OpRead, block.OpRead)
	write = w.put(8, 3)
	d.wantUnder(block.OpRead, block.OpRead, block.OpWrite)
	d.let()
	for _, task := range []*Task{other.wait(verify), other.wait(fetch), w.wait(write)} {
		wantGood(t, task)
	}
}

// Reads wait for the piece of a streamed write that they overlap, and a piece
// does not begin in a read.
func TestReadsAndPieces(t *testing.T) {
	if throughRelay {
		return // pieces are written where the nexus is, or not at all
	}
	d, u := newHalfway(t)
	tg := oneUnit(u)
	w, other := attach(t, tg, nexusName(1), ""), attach(t, tg, nexusName(2), "")
	read := func(lba byte) *Task {
		task := other.in(512, 0x28, 0, 0, 0, 0, lba, 0, 0, 1, 0)
		other.Admit(task)
		return task
	}
	data := bytes.Repeat([]byte{7}, streamLen)
	write := w.write(streamLen, 0, data)
	d.halt()
	write.Stream(4096)
	d.wantUnder(block.OpWrite)
	in, past := read(4), read(8)
	d.wantUnder(block.OpWrite, block.OpRead)
	wantWaiting(t, other, in, past)
	d.let()
	wantGood(t, other.wait(past))
	if b := bytesIn(other.wait(in)); !whole(b) || b[0] != 7 {
		t.Error("a read saw half of a piece")
	}
	d.halt()
	in = read(8)
	write.Stream(8192)
	d.wantUnder(block.OpRead)
	d.let()
	if b := bytesIn(other.wait(in)); !whole(b) || b[0] != 0 {
		t.Error("a read saw half of a piece")
	}
	write.Ready()
	wantGood(t, w.wait(write))
}

// UNMAP keeps away from what it names, and from nothing that lies between.
func TestUnmapLocksWhatItNames(t *testing.T) {
	d, u := newHalfway(t)
	tg := oneUnit(u)
	w, other := attach(t, tg, nexusName(1), ""), attach(t, tg, nexusName(2), "")
	for _, lba := range []byte{4, 100, 200} {
		wantGood(t, w.wait(w.put(lba, 1)))
	}
	list := scsi.AppendUnmapList(nil, []scsi.Range{{LBA: 200, Blocks: 8}, {LBA: 50}, {LBA: 0, Blocks: 8}})
	unmap := w.out(len(list), 0x42, 0, 0, 0, 0, 0, 0, 0, byte(len(list)), 0)
	d.halt()
	w.Admit(unmap)
	give(unmap, list)
	unmap.Ready()
	d.wantUnder(block.OpDiscard)
	waits := []*Task{other.in(512, 0x28, 0, 0, 0, 0, 200, 0, 0, 1, 0), other.in(4096, 0x28, 0, 0, 0, 0, 4, 0, 0, 8, 0)}
	for _, task := range waits {
		other.Admit(task)
	}
	between := other.in(4096, 0x28, 0, 0, 0, 0, 100, 0, 0, 8, 0)
	other.Admit(between)
	written := other.put(50, 1)
	d.wantUnder(block.OpDiscard, block.OpRead, block.OpWrite)
	wantWaiting(t, other, waits...)
	d.let()
	for _, task := range append(waits, between, written) {
		wantGood(t, other.wait(task))
	}
	wantGood(t, w.wait(unmap))
	for task, want := range map[*Task]byte{waits[0]: 0, waits[1]: 0, between: 1} {
		if b := bytesIn(task); b[0] != want {
			t.Errorf("a read beside UNMAP returned %d, want %d", b[0], want)
		}
	}
}
