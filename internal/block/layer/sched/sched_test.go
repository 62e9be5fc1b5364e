package sched_test

import (
	"testing"
	"time"

	"sango/internal/block"
	"sango/internal/block/blocktest"
	"sango/internal/block/layer/delay"
	"sango/internal/block/layer/sched"
	"sango/internal/block/mem"
)

func memory(t testing.TB, s blocktest.Spec) block.Device {
	t.Helper()
	d, err := mem.New(mem.Options{Size: s.Size, BlockSize: s.BlockSize})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// The scheduler keeps the contract, as a device and as the caller of the one
// below; with limits so low that all is split and queued, too.
func TestContract(t *testing.T) {
	for name, o := range map[string]sched.Options{
		"wide":   {},
		"narrow": {Depth: 1, MaxTransfer: 4096, MaxDiscard: 12288, MaxZeroes: 8192, MaxSegments: 2},
	} {
		t.Run(name, func(t *testing.T) {
			blocktest.Run(t, blocktest.Driver{
				New: func(t testing.TB, s blocktest.Spec) block.Device {
					return sched.New(block.Check(memory(t, s), t), o)
				},
				ReadOnly: func(t testing.TB, s blocktest.Spec) block.Device {
					d, err := mem.New(mem.Options{Size: s.Size, BlockSize: s.BlockSize, ReadOnly: true})
					if err != nil {
						t.Fatal(err)
					}
					return sched.New(block.Check(d, t), o)
				},
			})
		})
	}
}

// So it does over a device that ends requests later, in goroutines of its own.
func TestContractAsynchronous(t *testing.T) {
	slow := delay.Options{Latency: map[block.Op]time.Duration{
		block.OpWrite: time.Microsecond, block.OpRead: time.Microsecond, block.OpWriteZeroes: time.Microsecond,
	}}
	blocktest.Run(t, blocktest.Driver{
		New: func(t testing.TB, s blocktest.Spec) block.Device {
			return sched.New(block.Check(delay.New(memory(t, s), slow), t), sched.Options{Depth: 3, MaxTransfer: 16384})
		},
		BlockSizes: []int{512},
	})
}

// Below depth nothing is queued: the request is below when Submit returns.
func TestDirect(t *testing.T) {
	b := newBelow(t, memory(t, blocktest.Spec{Size: 1 << 20, BlockSize: 512}))
	d := sched.New(b, sched.Options{Depth: 4})
	for i := range int64(4) {
		submit(d, block.OpRead, 0, i<<16, 512, nil)
		if got := b.waiting(); got != int(i)+1 {
			t.Fatalf("%d requests below after %d", got, i+1)
		}
	}
	submit(d, block.OpRead, 0, 8<<16, 512, nil)
	if b.waiting() != 4 || d.Stats().Classes[sched.Read].Waiting != 1 {
		t.Fatalf("the fifth request is not queued: %+v", d.Stats())
	}
	b.drain()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestMerge(t *testing.T) {
	tests := []struct {
		name  string
		offs  []int64 // of writes of a block each, in blocks
		flags []block.Flags
		sent  int // requests below, without the first one that fills the depth
	}{
		{"behind", []int64{10, 11, 12}, nil, 1},
		{"in front", []int64{12, 11, 10}, nil, 1},
		{"both ways", []int64{11, 12, 10}, nil, 1},
		{"apart", []int64{10, 12, 14}, nil, 3},
		{"up to the limit", []int64{10, 11, 12, 13, 14, 15}, nil, 2},
		{"flags differ", []int64{10, 11}, []block.Flags{0, block.FUA}, 2},
		{"flags agree", []int64{10, 11}, []block.Flags{block.FUA, block.FUA}, 1},
		{"atomic", []int64{10, 11}, []block.Flags{block.Atomic, block.Atomic}, 2},
		{"overlapping", []int64{10, 10, 11}, nil, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBelow(t, memory(t, blocktest.Spec{Size: 1 << 20, BlockSize: 512}))
			d := sched.New(b, sched.Options{Depth: 1, MaxTransfer: 4 * 512})
			submit(d, block.OpRead, 0, 0, 512, nil)
			var done []*request
			for i, off := range tt.offs {
				var f block.Flags
				if tt.flags != nil {
					f = tt.flags[i]
				}
				done = append(done, submit(d, block.OpWrite, f, off*512, 512, fill(512, byte(i+1))))
			}
			b.drain()
			if got := b.total - 1; got != tt.sent {
				t.Errorf("%d requests went down, want %d", got, tt.sent)
			}
			for i, r := range done {
				if r.ends != 1 || r.Err != nil {
					t.Errorf("write %d ended %d times, last with %v", i, r.ends, r.Err)
				}
			}
			for i, off := range tt.offs {
				if tt.name == "overlapping" && i == 0 {
					continue
				}
				if r := submit(d, block.OpRead, 0, off*512, 512, nil); b.drain() && r.Bufs[0][511] != byte(i+1) {
					t.Errorf("block %d holds %d, want %d", off, r.Bufs[0][511], i+1)
				}
			}
		})
	}
}

func TestSplit(t *testing.T) {
	m, err := mem.New(mem.Options{Size: 1 << 20, BlockSize: 512, PhysicalBlock: 4096})
	if err != nil {
		t.Fatal(err)
	}
	b := newBelow(t, m)
	d := sched.New(b, sched.Options{MaxTransfer: 4096, MaxDiscard: 64 << 10})
	data := make([]byte, 20480)
	for i := range data {
		data[i] = byte(i / 512)
	}
	w := submit(d, block.OpWrite, block.FUA, 512, int64(len(data)), data)
	b.drain()
	// The first one ends at a physical block.
	if w.ends != 1 || w.Err != nil || b.total != 6 {
		t.Fatalf("ended %d times with %v in %d parts", w.ends, w.Err, b.total)
	}
	r := submit(d, block.OpRead, 0, 512, int64(len(data)), nil)
	b.drain()
	if string(r.Bufs[0]) != string(data) {
		t.Error("what was read in parts is not what was written in parts")
	}
	a := submit(d, block.OpWrite, block.Atomic, 0, 8192, fill(8192, 1))
	if b.waiting() != 1 {
		t.Error("an atomic write was split")
	}
	b.drain()
	if a.ends != 1 {
		t.Errorf("ended %d times", a.ends)
	}
	all := submit(d, block.OpDiscard, 0, 0, 1<<20, nil)
	b.drain()
	if all.ends != 1 || all.Err != nil {
		t.Errorf("discard ended %d times with %v", all.ends, all.Err)
	}
}

// After an error of one part the rest is not sent, and the request ends once
// with that error and its own range.
func TestSplitFails(t *testing.T) {
	b := newBelow(t, memory(t, blocktest.Spec{Size: 1 << 20, BlockSize: 512}))
	d := sched.New(b, sched.Options{Depth: 2, MaxTransfer: 4096})
	b.fail = func(r *block.Request) error {
		if r.Off == 4096 {
			return block.Fail(r, block.Medium, nil)
		}
		return nil
	}
	w := submit(d, block.OpRead, 0, 0, 64<<10, nil)
	b.drain()
	if w.ends != 1 || block.ClassOf(w.Err) != block.Medium || w.Err.Error() != "read at 0+65536: medium error" {
		t.Errorf("ended %d times, last with %v", w.ends, w.Err)
	}
	if b.total > 4 {
		t.Errorf("%d parts were sent", b.total)
	}
}

// A trim that is sent again while it is under way ends with the first one; one
// that comes after a write to its range does not.
func TestRepeatedTrim(t *testing.T) {
	b := newBelow(t, memory(t, blocktest.Spec{Size: 1 << 20, BlockSize: 512}))
	d := sched.New(b, sched.Options{Depth: 2, MaxDiscard: 65536})
	first := submit(d, block.OpDiscard, 0, 0, 1<<18, nil)
	again := submit(d, block.OpDiscard, 0, 0, 1<<18, nil)
	other := submit(d, block.OpDiscard, 0, 0, 512, nil)
	b.end(0)
	if first.ends+again.ends+other.ends != 0 {
		t.Error("one ended too early")
	}
	b.drain()
	if first.ends != 1 || again.ends != 1 || other.ends != 1 || b.total != 5 {
		t.Errorf("ended %d, %d and %d times, %d went down", first.ends, again.ends, other.ends, b.total)
	}
	submit(d, block.OpDiscard, 0, 0, 4096, nil)
	submit(d, block.OpWrite, 0, 0, 512, fill(512, 1))
	last := submit(d, block.OpDiscard, 0, 0, 4096, nil)
	b.drain()
	r := submit(d, block.OpRead, 0, 0, 512, nil)
	b.drain()
	if last.ends != 1 || r.Bufs[0][0] != 0 {
		t.Errorf("ended %d times, the block holds %d", last.ends, r.Bufs[0][0])
	}
}

// When a merged request fails, only the part that is to blame does.
func TestMergedFails(t *testing.T) {
	b := newBelow(t, memory(t, blocktest.Spec{Size: 1 << 20, BlockSize: 512}))
	d := sched.New(b, sched.Options{Depth: 1})
	b.fail = func(r *block.Request) error {
		if r.Op == block.OpWrite && r.Off <= 512 && r.Off+r.Len > 512 {
			return block.Fail(r, block.Medium, nil)
		}
		return nil
	}
	submit(d, block.OpRead, 0, 1<<16, 512, nil)
	var w [4]*request
	for i := range w {
		w[i] = submit(d, block.OpWrite, 0, int64(i)*512, 512, fill(512, byte(i+1)))
	}
	late := submit(d, block.OpWrite, 0, 2*512, 512, fill(512, 9))
	b.drain()
	for i := range w {
		if w[i].ends != 1 || (w[i].Err != nil) != (i == 1) {
			t.Errorf("write %d ended %d times, last with %v", i, w[i].ends, w[i].Err)
		}
	}
	r := submit(d, block.OpRead, 0, 1024, 512, nil)
	b.drain()
	if late.Err != nil || r.Bufs[0][0] != 9 {
		t.Errorf("the later write was overtaken by the repeated one: %d", r.Bufs[0][0])
	}
	if s := d.Stats().Classes[sched.Write]; s.Retried != 1 || s.Merged != 3 {
		t.Errorf("%+v", s)
	}
}

// A flush does not wait for writes that are queued, joins no flush that is
// below, and shares the next one.
func TestFlush(t *testing.T) {
	b := newBelow(t, memory(t, blocktest.Spec{Size: 1 << 20, BlockSize: 512}))
	d := sched.New(b, sched.Options{Depth: 2})
	first := submit(d, block.OpFlush, 0, 0, 0, nil)
	for i := range int64(4) {
		submit(d, block.OpWrite, 0, i*8192, 512, fill(512, 1))
	}
	second, third := submit(d, block.OpFlush, 0, 0, 0, nil), submit(d, block.OpFlush, 0, 0, 0, nil)
	if err := block.Do(d, block.OpFlush, block.NoWait, 0, 0); block.ClassOf(err) != block.WouldBlock {
		t.Errorf("a flush that has to wait: %v", err)
	}
	b.end(b.find(block.OpFlush))
	if first.ends != 1 || second.ends != 0 || third.ends != 0 {
		t.Errorf("ended %d, %d and %d times", first.ends, second.ends, third.ends)
	}
	b.drain()
	if second.ends != 1 || third.ends != 1 || b.flushes != 2 {
		t.Errorf("ended %d and %d times with %d flushes below", second.ends, third.ends, b.flushes)
	}
}

func TestNoWait(t *testing.T) {
	b := newBelow(t, memory(t, blocktest.Spec{Size: 1 << 20, BlockSize: 512}))
	d := sched.New(b, sched.Options{Depth: 2, MaxTransfer: 4096})
	var seen block.Flags
	b.fail = func(r *block.Request) error { seen = r.Flags; return nil }
	if r := submit(d, block.OpWrite, block.NoWait, 0, 512, fill(512, 1)); r.ends != 0 || b.waiting() != 1 {
		t.Errorf("an idle device did not get it: %v", r.Err)
	}
	refused := func(why string, op block.Op, off, n int64) {
		t.Helper()
		r := submit(d, op, block.NoWait, off, n, make([]byte, n))
		if r.ends != 1 || block.ClassOf(r.Err) != block.WouldBlock {
			t.Errorf("%s: ended %d times, last with %v", why, r.ends, r.Err)
		}
	}
	refused("overlaps", block.OpRead, 0, 512)
	refused("too long", block.OpRead, 4096, 8192)
	submit(d, block.OpRead, 0, 8192, 512, nil)
	refused("no room", block.OpRead, 16384, 512)
	b.drain()
	if seen != 0 {
		t.Errorf("the last request had flags %#x", seen)
	}
	submit(d, block.OpRead, block.NoWait, 0, 512, nil)
	b.drain()
	if seen != block.NoWait {
		t.Errorf("NoWait went down as %#x", seen)
	}
}

// A device that ends all within Submit does not make the stack deep: the queue
// is worked off in a loop.
func TestLongQueue(t *testing.T) {
	b := newBelow(t, memory(t, blocktest.Spec{Size: 64 << 20, BlockSize: 512}))
	d := sched.New(b, sched.Options{Depth: 1})
	const n = 20_000
	ended := 0
	done := func(*block.Request) { ended++ }
	for i := range int64(n) {
		d.Submit(&block.Request{Op: block.OpDiscard, Off: i % 65536 * 1024, Len: 512, Done: done})
		if i%1024 == 1023 { // looking through the queue takes time by its square
			b.sync = true
			b.end(0)
			b.sync = false
		}
	}
	b.sync = true
	for b.waiting() > 0 {
		b.end(0)
	}
	if ended != n {
		t.Errorf("%d of %d ended", ended, n)
	}
}
