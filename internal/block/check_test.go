package block

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// notes is a Reporter that keeps what it is told.
type notes []string

func (n *notes) Errorf(format string, args ...any) { *n = append(*n, fmt.Sprintf(format, args...)) }

// rogue is a device that does what a test says.
type rogue struct {
	info   Info
	submit func(*Request)
	status func(off, n int64) ([]Extent, error)
	closes int
}

func (r *rogue) Info() Info        { return r.info }
func (r *rogue) Submit(q *Request) { r.submit(q) }
func (r *rogue) Close() error      { r.closes++; return nil }
func (r *rogue) Status(off, n int64, _ int) ([]Extent, error) {
	return r.status(off, n)
}

func newRogue() *rogue {
	return &rogue{
		info: Info{Size: 1 << 20, BlockSize: 512, PhysicalBlock: 512, Caps: Caps{
			Discard: Native, WriteZeroes: Native, FUA: Native, Granularity: 512,
		}},
		submit: func(q *Request) { q.End(nil) },
	}
}

// told asserts that what was reported is one line with want in it, or nothing
// where want is empty.
func told(t *testing.T, n notes, want string) {
	t.Helper()
	switch {
	case want == "" && len(n) > 0:
		t.Errorf("reported %q", n)
	case want != "" && (len(n) == 0 || !strings.Contains(strings.Join(n, "\n"), want)):
		t.Errorf("reported %q, want %q", n, want)
	}
}

func TestCheckReportsBreaches(t *testing.T) {
	for name, c := range map[string]struct {
		submit func(*Request)
		op     Op
		flags  Flags
		want   string
	}{
		"good":             {func(q *Request) { q.End(nil) }, OpWrite, 0, ""},
		"good error":       {func(q *Request) { q.End(Fail(q, Medium, nil)) }, OpWrite, 0, ""},
		"wrapped error":    {func(q *Request) { q.End(fmt.Errorf("x: %w", Fail(q, Medium, nil))) }, OpWrite, 0, ""},
		"would block":      {func(q *Request) { q.End(ErrWouldBlock) }, OpWrite, NoWait, ""},
		"done twice":       {func(q *Request) { q.End(nil); q.End(nil) }, OpWrite, 0, "called again"},
		"bare error":       {func(q *Request) { q.End(errors.New("x")) }, OpWrite, 0, "no *block.Error"},
		"unknown class":    {func(q *Request) { q.End(&Error{Class: 99}) }, OpWrite, 0, "unknown class"},
		"blocks unasked":   {func(q *Request) { q.End(ErrWouldBlock) }, OpWrite, 0, "nobody asked"},
		"changes Off":      {func(q *Request) { q.Off += 512; q.End(nil) }, OpRead, 0, "changed the fields"},
		"changes User":     {func(q *Request) { q.User = nil; q.End(nil) }, OpRead, 0, "changed the fields"},
		"changes the list": {func(q *Request) { q.Bufs[0] = q.Bufs[0][:1]; q.End(nil) }, OpRead, 0, "buffer list"},
	} {
		t.Run(name, func(t *testing.T) {
			var n notes
			r := newRogue()
			r.submit = c.submit
			d := Check(r, &n)
			_ = Do(d, c.op, c.flags, 0, 512, make([]byte, 512))
			told(t, n, c.want)
		})
	}
}

func TestCheckDemandsErrors(t *testing.T) {
	var n notes
	d := Check(newRogue(), &n)
	_ = Do(d, OpRead, 0, 1<<20, 512, make([]byte, 512))
	told(t, n, "should have ended with")
}

func TestCheckSeesLateTouches(t *testing.T) {
	var n notes
	r := newRogue()
	var kept []byte
	r.submit = func(q *Request) {
		if kept == nil {
			kept = q.Bufs[0]
		}
		q.End(nil)
	}
	d := Check(r, &n)
	if err := ReadAt(d, make([]byte, 512), 0); err != nil {
		t.Fatal(err)
	}
	kept[7] = 1
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	told(t, n, "after Done")
}

func TestCheckSeesChangedWriteData(t *testing.T) {
	var n notes
	r := newRogue()
	p := make([]byte, 512)
	r.submit = func(q *Request) { p[3] = 9; q.End(nil) } // stands for a caller that goes on writing
	_ = WriteAt(Check(r, &n), p, 0, 0)
	told(t, n, "changed while it was in flight")
}

func TestCheckSeesRequestsThatOutliveClose(t *testing.T) {
	var n notes
	r := newRogue()
	var held *Request
	r.submit = func(q *Request) { held = q }
	d := Check(r, &n)
	ended := make(chan struct{})
	d.Submit(&Request{Op: OpFlush, Done: func(*Request) { close(ended) }})
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	told(t, n, "in flight")
	n = nil
	held.End(nil)
	<-ended
	told(t, n, "succeeded after Close")
}

func TestCheckMissesNoDone(t *testing.T) {
	var n notes
	Check(newRogue(), &n).Submit(&Request{Op: OpFlush})
	told(t, n, "without Done")
}

func TestCheckOfExtents(t *testing.T) {
	for name, c := range map[string]struct {
		ext  []Extent
		err  error
		want string
	}{
		"good":       {[]Extent{{0, 512, Mapped}, {512, 512, Deallocated}}, nil, ""},
		"partial":    {[]Extent{{0, 512, Mapped}}, nil, ""},
		"none":       {nil, nil, "no extent"},
		"gap":        {[]Extent{{0, 512, Mapped}, {1024, 512, Deallocated}}, nil, "not at 512"},
		"late start": {[]Extent{{512, 512, Mapped}}, nil, "not at 0"},
		"too long":   {[]Extent{{0, 2048, Mapped}}, nil, "too long"},
		"empty":      {[]Extent{{0, 0, Mapped}}, nil, "empty"},
		"equal":      {[]Extent{{0, 512, Mapped}, {512, 512, Mapped}}, nil, "same state"},
		"odd":        {[]Extent{{0, 100, Mapped}}, nil, "no number of blocks"},
		"bare error": {nil, errors.New("x"), "no *block.Error"},
	} {
		t.Run(name, func(t *testing.T) {
			var n notes
			r := newRogue()
			r.status = func(int64, int64) ([]Extent, error) { return c.ext, c.err }
			_, _ = Check(r, &n).Status(0, 1024, 8)
			told(t, n, c.want)
		})
	}
}

func TestCheckOfInfo(t *testing.T) {
	for want, change := range map[string]func(*Info){
		"":                          func(*Info) {},
		"block size is":             func(i *Info) { i.BlockSize = 1000 },
		"is not a number of blocks": func(i *Info) { i.Size = 1000 },
		"physical block":            func(i *Info) { i.PhysicalBlock = 256 },
		"without a granularity":     func(i *Info) { i.Caps.Granularity = 0 },
		"atomic maximum":            func(i *Info) { i.Caps.AtomicMax = 5 },
	} {
		var n notes
		r := newRogue()
		change(&r.info)
		Check(r, &n)
		told(t, n, want)
	}
	var n notes
	r := newRogue()
	d := Check(r, &n)
	r.info.BlockSize, r.info.PhysicalBlock = 4096, 4096
	d.Info()
	told(t, n, "block size changed")
}
