package sched_test

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"sango/internal/block"
	"sango/internal/block/blocktest"
	"sango/internal/block/layer/sched"
)

// world is one random history: a scheduler over a device that ends requests in
// any order, and a model that executes them in the order of submission.
type world struct {
	t     *rapid.T
	b     *below
	d     *sched.Device
	model []byte
	seed  byte
	clock int // of events
	begun int // when the flush that is below was begun
	open  []*expected
}

// expected is a request that has not been looked at since it ended.
type expected struct {
	*block.Request
	since int // when it was submitted
	want  []byte
	ends  int
	ended int // when
	cause int // of a flush: when that began which ended it
}

const modelSize = 64 << 10

// Whatever is submitted, in whatever order the device below ends it: each read
// returns what was written before it was submitted, each request ends once, the
// device below sees no more than its depth, nothing over its limits, no two
// requests that overlap (one a change), no two flushes; and a flush covers each
// write that had ended before.
func TestHistories(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { newWorld(t).run() })
}

func newWorld(t *rapid.T) *world {
	w := &world{t: t, model: make([]byte, modelSize)}
	w.b = newBelow(t, memory(quiet{}, blocktest.Spec{Size: modelSize, BlockSize: 512}))
	w.b.depth = rapid.IntRange(1, 6).Draw(t, "depth")
	w.b.maxData = rapid.SampledFrom([]int64{512, 1024, 4096, 16384}).Draw(t, "max transfer")
	w.b.maxDiscard = rapid.SampledFrom([]int64{0, 512, 8192}).Draw(t, "max discard")
	w.b.maxZeroes = rapid.SampledFrom([]int64{0, 1024, 8192}).Draw(t, "max zeroes")
	w.b.onSubmit = func(r *block.Request) {
		w.clock++
		if r.Op == block.OpFlush {
			w.begun = w.clock
		}
	}
	// A merged request fails now and then; what is sent by itself does not, and
	// has two buffers at most.
	if rapid.Bool().Draw(t, "fails") {
		n := 0
		w.b.fail = func(r *block.Request) error {
			if n++; n%3 == 0 && len(r.Bufs) > 2 {
				return block.Fail(r, block.Medium, nil)
			}
			return nil
		}
	}
	w.d = sched.New(w.b, sched.Options{
		Depth: w.b.depth, MaxTransfer: w.b.maxData, MaxDiscard: w.b.maxDiscard, MaxZeroes: w.b.maxZeroes,
		MaxSegments: rapid.IntRange(1, 8).Draw(t, "segments"),
	})
	return w
}

// quiet is a testing.TB for constructors that cannot fail.
type quiet struct{ testing.TB }

func (quiet) Helper() {}

func (w *world) run() {
	steps := rapid.IntRange(1, 60).Draw(w.t, "steps")
	for range steps {
		if n := w.b.waiting(); n > 0 && rapid.IntRange(0, 2).Draw(w.t, "end") == 0 {
			w.b.end(rapid.IntRange(0, n-1).Draw(w.t, "which"))
			continue
		}
		w.submit()
	}
	for n := w.b.waiting(); n > 0; n = w.b.waiting() {
		w.b.end(rapid.IntRange(0, n-1).Draw(w.t, "which"))
	}
	for _, x := range w.open {
		switch {
		case x.ends != 1:
			w.t.Errorf("%s at %d+%d ended %d times", x.Op, x.Off, x.Len, x.ends)
		case block.ClassOf(x.Err) == block.WouldBlock:
		case x.Err != nil:
			w.t.Error(x.Err)
		case x.Op == block.OpRead && !bytes.Equal(bytes.Join(x.Bufs, nil), x.want):
			w.t.Errorf("the read at %d+%d differs from the model", x.Off, x.Len)
		case x.Op == block.OpFlush && x.cause < x.since:
			w.t.Errorf("a flush submitted at %d was ended by one that began at %d", x.since, x.cause)
		}
	}
	if s := w.d.Stats(); s.InFlight != 0 || s.Blocked != 0 {
		w.t.Errorf("left over: %+v", s)
	}
	if err := w.d.Close(); err != nil {
		w.t.Error(err)
	}
}

func (w *world) submit() {
	op := rapid.SampledFrom([]block.Op{
		block.OpRead, block.OpRead, block.OpWrite, block.OpWrite, block.OpWrite, block.OpFlush, block.OpDiscard, block.OpWriteZeroes,
	}).Draw(w.t, "op")
	x := &expected{Request: &block.Request{Op: op}}
	if rapid.IntRange(0, 9).Draw(w.t, "nowait") == 0 {
		x.Flags |= block.NoWait
	}
	if op != block.OpFlush {
		x.Off = rapid.Int64Range(0, modelSize/512-1).Draw(w.t, "lba") * 512
		x.Len = min(rapid.Int64Range(0, 24).Draw(w.t, "blocks")*512, modelSize-x.Off)
		if last := len(w.open) - 1; last >= 0 && rapid.IntRange(0, 3).Draw(w.t, "again") == 0 {
			x.Off, x.Len = w.open[last].Off, w.open[last].Len
		}
		if op != block.OpRead && rapid.IntRange(0, 4).Draw(w.t, "fua") == 0 {
			x.Flags |= block.FUA
		}
	}
	var data []byte
	if op == block.OpRead || op == block.OpWrite {
		data = make([]byte, x.Len)
		w.seed++
		for i := range data {
			data[i] = w.seed
		}
		cut := rapid.IntRange(0, len(data)).Draw(w.t, "cut")
		if op == block.OpRead {
			x.want = bytes.Clone(w.model[x.Off : x.Off+x.Len])
		}
		x.Bufs = [][]byte{data[:cut], data[cut:]}
	}
	w.clock++
	x.since = w.clock
	x.Done = func(r *block.Request) {
		w.clock++
		x.ends++
		x.ended, x.cause = w.clock, w.begun
	}
	w.open = append(w.open, x)
	w.d.Submit(x.Request)
	if x.ends > 0 && block.ClassOf(x.Err) == block.WouldBlock {
		return // without effect, as the reads to come will show
	}
	switch op {
	case block.OpWrite:
		copy(w.model[x.Off:], data)
	case block.OpDiscard, block.OpWriteZeroes:
		clear(w.model[x.Off : x.Off+x.Len])
	}
}
