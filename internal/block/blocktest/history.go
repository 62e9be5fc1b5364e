package blocktest

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"sango/internal/block"
)

const historySize = 512 << 10 // bytes

// history runs random sequences of operations against a model in memory.
func history(e *env) {
	rapid.Check(e.T, func(t *rapid.T) { e.runHistory(t) })
}

// machine is one history: a device and what it should hold.
type machine struct {
	e     *env
	t     *rapid.T
	dev   block.Device
	bare  block.Device
	model []byte
	seed  byte
}

// quiet lets a driver's constructor register no clean-up beyond the history:
// rapid runs many of them in one test.
type quiet struct {
	testing.TB
}

func (e *env) runHistory(t *rapid.T) {
	m := &machine{e: e, t: t, model: make([]byte, historySize)}
	m.bare = e.drv.New(quiet{e.T}, Spec{Size: historySize, BlockSize: e.bs})
	m.dev = block.Check(m.bare, t)
	defer func() {
		if err := m.dev.Close(); err != nil {
			t.Fatal(err)
		}
	}()
	actions := map[string]func(*rapid.T){
		"read": m.read, "write": m.write, "flush": m.flush,
		"discard": m.discard, "zeroes": m.zeroes, "": m.invariant,
	}
	if e.drv.Resize != nil {
		actions["resize"] = m.resize
	}
	if e.drv.Reopen != nil {
		actions["reopen"] = m.reopen
	}
	t.Repeat(actions)
	m.compare(t, 0, int64(len(m.model)))
}

// area draws a range, with a liking for 64 KiB boundaries.
func (m *machine) area(t *rapid.T) (off, n int64) {
	bs := int64(m.e.bs)
	blocks := int64(len(m.model)) / bs
	lo := rapid.Int64Range(0, blocks-1).Draw(t, "lba")
	if rapid.Bool().Draw(t, "aligned") {
		lo = lo / ((64 << 10) / bs) * ((64 << 10) / bs)
	}
	count := rapid.Int64Range(1, min(blocks-lo, (192<<10)/bs)).Draw(t, "blocks")
	return lo * bs, count * bs
}

func (m *machine) compare(t *rapid.T, off, n int64) {
	got := make([]byte, n)
	if err := block.ReadAt(m.dev, got, off); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, m.model[off:off+n]) {
		t.Fatalf("[%d, %d) differs from the model", off, off+n)
	}
}

func (m *machine) read(t *rapid.T) {
	off, n := m.area(t)
	m.compare(t, off, n)
}

func (m *machine) write(t *rapid.T) {
	off, n := m.area(t)
	m.seed++
	p := pattern(int(n), m.seed)
	caps := m.dev.Info().Caps
	flags := block.Flags(0)
	if caps.FUA != block.None && rapid.IntRange(0, 9).Draw(t, "fua") == 0 {
		flags |= block.FUA
	}
	if n <= caps.AtomicMax && rapid.IntRange(0, 9).Draw(t, "atomic") == 0 {
		flags |= block.Atomic
	}
	err := block.WriteAt(m.dev, p, off, flags|block.NoWait)
	if block.ClassOf(err) == block.WouldBlock {
		m.compare(t, off, n)
		err = block.WriteAt(m.dev, p, off, flags)
	}
	if err != nil {
		t.Fatal(err)
	}
	copy(m.model[off:], p)
}

func (m *machine) flush(t *rapid.T) {
	if err := block.Flush(m.dev); err != nil {
		t.Fatal(err)
	}
}

func (m *machine) empty(t *rapid.T, op block.Op, flags block.Flags) {
	off, n := m.area(t)
	switch err := block.Do(m.dev, op, flags, off, n); block.ClassOf(err) {
	case 0:
		clear(m.model[off : off+n])
	case block.Unsupported:
	default:
		t.Fatal(err)
	}
}

func (m *machine) discard(t *rapid.T) { m.empty(t, block.OpDiscard, 0) }

func (m *machine) zeroes(t *rapid.T) {
	flags := block.Flags(0)
	if rapid.Bool().Draw(t, "unmap") {
		flags = block.MayUnmap
	}
	m.empty(t, block.OpWriteZeroes, flags)
}

func (m *machine) resize(t *rapid.T) {
	if len(m.model) >= 4*historySize {
		return
	}
	n := rapid.IntRange(1, 64).Draw(t, "more") * 4096
	if err := m.e.drv.Resize(m.bare, int64(len(m.model)+n)); err != nil {
		t.Fatal(err)
	}
	m.model = append(m.model, make([]byte, n)...)
}

func (m *machine) reopen(t *rapid.T) {
	if err := m.dev.Close(); err != nil {
		t.Fatal(err)
	}
	m.bare = m.e.drv.Reopen(quiet{m.e.T}, m.bare)
	m.dev = block.Check(m.bare, t)
}

// invariant: no block that holds data is reported as deallocated.
func (m *machine) invariant(t *rapid.T) {
	size := int64(len(m.model))
	for off := int64(0); off < size; {
		ext, err := m.dev.Status(off, size-off, 8)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range ext {
			if x.Alloc == block.Deallocated && len(bytes.Trim(m.model[x.Off:x.Off+x.Len], "\x00")) > 0 {
				t.Fatalf("extent %v holds data and is reported as deallocated", x)
			}
			off = x.Off + x.Len
		}
	}
}
