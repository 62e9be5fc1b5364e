package ublk

import (
	"errors"
	"log/slog"
	"testing"

	"golang.org/x/sys/unix"

	"sango/internal/attach/ublk/uapi"
	"sango/internal/block"
)

// script is a device that ends requests as a test says.
type script struct {
	block.Device
	submit func(*block.Request)
}

func (s *script) Submit(r *block.Request) { s.submit(r) }

// bench makes a disk with one queue and no driver beneath it.
func bench(dev block.Device, async bool) (*Disk, *queue) {
	d := &Disk{dev: dev, async: async, log: slog.Default(), work: make(chan *slot, 4)}
	q := &queue{disk: d, slots: make([]slot, 4)}
	for i := range q.slots {
		s := &q.slots[i]
		s.q, s.tag, s.buf = q, uint16(i), make([]byte, 8192)
	}
	d.queues = []*queue{q}
	return d, q
}

func TestTranslate(t *testing.T) {
	for name, c := range map[string]struct {
		d     uapi.Desc
		op    block.Op
		flags block.Flags
		off   int64
		n     int64
		errno unix.Errno
	}{
		"read":               {uapi.Desc{OpFlags: 0, Sectors: 8, Start: 3}, block.OpRead, 0, 1536, 4096, 0},
		"read with FUA":      {uapi.Desc{OpFlags: uapi.FlagFUA, Sectors: 8}, block.OpRead, 0, 0, 4096, 0},
		"write":              {uapi.Desc{OpFlags: 1, Sectors: 16, Start: 1 << 40}, block.OpWrite, 0, 1 << 49, 8192, 0},
		"write with FUA":     {uapi.Desc{OpFlags: 1 | uapi.FlagFUA, Sectors: 1}, block.OpWrite, block.FUA, 0, 512, 0},
		"too long":           {uapi.Desc{OpFlags: 1, Sectors: 17}, 0, 0, 0, 8704, unix.EINVAL},
		"flush":              {uapi.Desc{OpFlags: 2 | uapi.FlagFUA, Start: 5}, block.OpFlush, 0, 0, 0, 0},
		"discard":            {uapi.Desc{OpFlags: 3, Sectors: 1 << 20}, block.OpDiscard, 0, 0, 1 << 29, 0},
		"zeroes":             {uapi.Desc{OpFlags: 5, Sectors: 1 << 20}, block.OpWriteZeroes, block.MayUnmap, 0, 1 << 29, 0},
		"zeroes, kept":       {uapi.Desc{OpFlags: 5 | uapi.FlagNoUnmap, Sectors: 8}, block.OpWriteZeroes, 0, 0, 4096, 0},
		"zeroes with FUA":    {uapi.Desc{OpFlags: 5 | uapi.FlagNoUnmap | uapi.FlagFUA}, block.OpWriteZeroes, block.FUA, 0, 0, 0},
		"write same":         {uapi.Desc{OpFlags: 4}, 0, 0, 0, 0, unix.EOPNOTSUPP},
		"unknown":            {uapi.Desc{OpFlags: 77}, 0, 0, 0, 0, unix.EOPNOTSUPP},
		"flags not for them": {uapi.Desc{OpFlags: 0xff000 &^ uapi.FlagFUA, Sectors: 1}, block.OpRead, 0, 0, 512, 0},
	} {
		_, q := bench(nil, true)
		s := &q.slots[1]
		if errno := s.translate(c.d); errno != c.errno {
			t.Errorf("%s: %v, want %v", name, errno, c.errno)
		}
		if s.Op != c.op || s.Flags != c.flags || s.Off != c.off || s.Len != c.n {
			t.Errorf("%s: %s at %d+%d flags %#x", name, s.Op, s.Off, s.Len, s.Flags)
		}
		if c.op == block.OpRead || c.op == block.OpWrite {
			if len(s.Bufs) != 1 || int64(len(s.Bufs[0])) != c.n {
				t.Errorf("%s: %d buffers", name, len(s.Bufs))
			}
		}
		info := block.Info{Size: 1 << 50, BlockSize: 512, PhysicalBlock: 512, Caps: block.Caps{
			Discard: block.Native, WriteZeroes: block.Native, FUA: block.Native,
		}}
		if err := block.Validate(&s.Request, &info); c.errno == 0 && err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestResults(t *testing.T) {
	fail := func(c block.Class) error { return &block.Error{Class: c} }
	for name, c := range map[string]struct {
		op   uint32
		err  error
		want int32
	}{
		"read":         {0, nil, 512},
		"write":        {1, nil, 512},
		"flush":        {2, nil, 0},
		"discard":      {3, nil, 0},
		"medium":       {0, fail(block.Medium), -int32(unix.EIO)},
		"bare":         {0, errors.New("x"), -int32(unix.EIO)},
		"no space":     {1, fail(block.NoSpace), -int32(unix.ENOSPC)},
		"read-only":    {1, fail(block.ReadOnly), -int32(unix.EROFS)},
		"busy":         {1, fail(block.Busy), -int32(unix.ETIMEDOUT)},
		"unsupported":  {3, fail(block.Unsupported), -int32(unix.EOPNOTSUPP)},
		"fenced":       {1, fail(block.Fenced), -int32(unix.EBADE)},
		"closed":       {1, fail(block.Closed), -int32(unix.EIO)},
		"failed":       {1, fail(block.Failed), -int32(unix.EIO)},
		"invalid":      {1, fail(block.Invalid), -int32(unix.EIO)},
		"never begun":  {4, nil, -int32(unix.EOPNOTSUPP)},
		"bogus length": {99, nil, -int32(unix.EOPNOTSUPP)},
	} {
		dev := &script{submit: func(r *block.Request) { r.End(c.err) }}
		_, q := bench(dev, true)
		q.slots[2].begin(uapi.Desc{OpFlags: c.op, Sectors: 1})
		q.inflight.Wait()
		if len(q.done) != 1 || q.done[0] != 2 || q.slots[2].res != c.want {
			t.Errorf("%s: %v ended with %d, want %d", name, q.done, q.slots[2].res, c.want)
		}
	}
}

func TestWhatWouldBlockGoesToWorkers(t *testing.T) {
	asked := 0
	dev := &script{submit: func(r *block.Request) {
		asked++
		if r.Flags&block.NoWait != 0 {
			r.End(block.ErrWouldBlock)
			return
		}
		r.End(nil)
	}}
	d, q := bench(dev, false)
	s := &q.slots[0]
	s.begin(uapi.Desc{OpFlags: 1, Sectors: 1})
	if asked != 1 || len(q.done) != 0 || len(d.work) != 1 {
		t.Fatalf("asked %d times, %d ended, %d wait", asked, len(q.done), len(d.work))
	}
	w := <-d.work
	d.dev.Submit(&w.Request)
	if asked != 2 || len(q.done) != 1 || s.res != 512 {
		t.Errorf("asked %d times, %d ended, result %d", asked, len(q.done), s.res)
	}
}

func TestAsyncDevicesMayBlockNobody(t *testing.T) {
	dev := &script{submit: func(r *block.Request) {
		if r.Flags&block.NoWait != 0 {
			t.Error("an asynchronous device was asked not to block")
		}
		r.End(nil)
	}}
	_, q := bench(dev, true)
	q.slots[0].begin(uapi.Desc{OpFlags: 0, Sectors: 1})
}

func TestRefused(t *testing.T) {
	d, q := bench(&script{submit: func(*block.Request) { t.Error("submitted") }}, true)
	d.refuse.Store(true)
	q.slots[0].begin(uapi.Desc{OpFlags: 0, Sectors: 1})
	if q.slots[0].res != -int32(unix.EIO) {
		t.Error(q.slots[0].res)
	}
}
