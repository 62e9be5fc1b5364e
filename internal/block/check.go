package block

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// Reporter takes what Check finds; *testing.T, *testing.B and *rapid.T are
// Reporters. Errorf is called from any goroutine.
type Reporter interface {
	Errorf(format string, args ...any)
}

// Check returns a device that passes everything on to d and reports each
// breach of the contract of Device to rep: by the device (a second Done, Done
// after Close, a touched field or buffer, success where the contract demands an
// error, a malformed error, an extent list with gaps …) and by the caller
// (write data changed while the request was in flight, a nil Done). All tests
// run their devices through it.
//
// The device gets copies of the request and its buffers; the copies are
// overwritten after Done and looked at again later, so that a device that
// holds on to them is caught.
func Check(d Device, rep Reporter) Device {
	c := &checked{dev: d, rep: rep, first: d.Info()}
	c.checkInfo(c.first)
	return c
}

// graveyard is how many ended requests Check keeps an eye on.
const graveyard = 32

// wipe is what buffers hold after Done.
const wipe = 0xa5

type checked struct {
	dev     Device
	rep     Reporter
	first   Info
	pending atomic.Int64 // requests that are under way after their Submit returned
	closed  atomic.Bool  // Close has returned

	mu   sync.Mutex // guards dead
	dead []*probe   // ended requests, oldest first
}

// probe is the device's own copy of one request.
type probe struct {
	Request
	c       *checked
	orig    *Request
	bufs    [][]byte // the slice headers as handed over
	flat    []byte   // what bufs are cut from
	started Info
	state   atomic.Int32
}

// The states of a probe.
const (
	submitting int32 = iota // in Submit
	underway                // Submit has returned
	ended                   // Done was called
)

func (c *checked) fail(format string, args ...any) {
	c.rep.Errorf("block contract: "+format, args...)
}

// Info implements Device.
func (c *checked) Info() Info {
	i := c.dev.Info()
	c.checkInfo(i)
	return i
}

func (c *checked) checkInfo(i Info) {
	switch {
	case i.BlockSize != 512 && i.BlockSize != 4096:
		c.fail("block size is %d bytes", i.BlockSize)
	case i.Size < 0 || i.Size%int64(i.BlockSize) != 0:
		c.fail("size of %d bytes is not a number of blocks", i.Size)
	case i.PhysicalBlock < i.BlockSize || i.PhysicalBlock&(i.PhysicalBlock-1) != 0:
		c.fail("physical block is %d bytes, the logical one %d", i.PhysicalBlock, i.BlockSize)
	case i.BlockSize != c.first.BlockSize || i.PhysicalBlock != c.first.PhysicalBlock:
		c.fail("the block size changed from %d/%d to %d/%d", c.first.BlockSize, c.first.PhysicalBlock, i.BlockSize, i.PhysicalBlock)
	case i.Caps.Discard != None && i.Caps.Granularity <= 0:
		c.fail("discard without a granularity")
	case i.Caps.Granularity%int64(i.BlockSize) != 0:
		c.fail("granularity of %d bytes is not a number of blocks", i.Caps.Granularity)
	case i.Caps.AtomicMax%int64(i.BlockSize) != 0:
		c.fail("atomic maximum of %d bytes is not a number of blocks", i.Caps.AtomicMax)
	}
}

// Submit implements Device.
func (c *checked) Submit(r *Request) {
	if r.Done == nil {
		c.fail("%s at %d+%d was submitted without Done", r.Op, r.Off, r.Len)
		r.Done = func(*Request) {}
	}
	p := &probe{c: c, orig: r, started: c.dev.Info(), Request: Request{
		Op: r.Op, Flags: r.Flags, Off: r.Off, Len: r.Len, Epoch: r.Epoch,
	}}
	n := 0
	for _, b := range r.Bufs {
		n += len(b)
	}
	p.flat = make([]byte, n)
	at := 0
	for _, b := range r.Bufs {
		if r.Op == OpWrite {
			copy(p.flat[at:], b)
		}
		p.bufs = append(p.bufs, p.flat[at:at+len(b):at+len(b)])
		at += len(b)
	}
	p.Bufs = append([][]byte(nil), p.bufs...)
	p.User, p.Done = p, func(*Request) { p.end() }
	afterClose := c.closed.Load()
	c.dev.Submit(&p.Request)
	if p.state.CompareAndSwap(submitting, underway) {
		c.pending.Add(1)
		if afterClose {
			c.fail("%s, submitted after Close, had not ended when Submit returned", p.describe())
		}
	}
}

// end is the device's Done.
func (p *probe) end() {
	c, r := p.c, p.orig
	was := p.state.Swap(ended)
	if was == ended {
		c.fail("Done was called again for %s", p.describe())
		return
	}
	if was == underway && ClassOf(p.Err) == WouldBlock {
		c.fail("%s ended with WouldBlock after Submit had returned", p.describe())
	}
	p.checkUntouched()
	p.checkOutcome()
	at := 0
	for _, b := range r.Bufs {
		switch {
		case r.Op == OpRead:
			copy(b, p.flat[at:])
		case r.Op == OpWrite && !bytes.Equal(b, p.flat[at:at+len(b)]):
			c.fail("the data of %s at %d+%d changed while it was in flight", r.Op, r.Off, r.Len)
		}
		at += len(b)
	}
	for i := range p.flat {
		p.flat[i] = wipe
	}
	err := p.Err
	c.bury(p)
	if was == underway {
		c.pending.Add(-1)
	}
	r.End(err)
}

// checkUntouched asserts that the device left the request as it was.
func (p *probe) checkUntouched() {
	r, c := p.orig, p.c
	if p.Op != r.Op || p.Flags != r.Flags || p.Off != r.Off || p.Len != r.Len || p.Epoch != r.Epoch || p.User != any(p) {
		c.fail("the device changed the fields of %s at %d+%d", r.Op, r.Off, r.Len)
	}
	same := len(p.Bufs) == len(p.bufs)
	for i := 0; same && i < len(p.bufs); i++ {
		same = len(p.Bufs[i]) == len(p.bufs[i]) && (len(p.bufs[i]) == 0 || &p.Bufs[i][0] == &p.bufs[i][0])
	}
	if !same {
		c.fail("the device changed the buffer list of %s at %d+%d", r.Op, r.Off, r.Len)
	}
}

// checkOutcome asserts that the error, or its absence, is one the contract
// allows.
func (p *probe) checkOutcome() {
	c := p.c
	if p.Err != nil {
		var e *Error
		switch {
		case !errors.As(p.Err, &e):
			c.fail("%s ended with %v, which is no *block.Error", p.describe(), p.Err)
		case e.Class < Medium || e.Class > WouldBlock:
			c.fail("%s ended with unknown class %d", p.describe(), e.Class)
		case e.Class == WouldBlock && p.Flags&NoWait == 0:
			c.fail("%s would block, but nobody asked it not to", p.describe())
		}
		return
	}
	// The device may be resized while the request is on its way: either size
	// will do.
	now := c.dev.Info()
	if err, err2 := Validate(&p.Request, &p.started), Validate(&p.Request, &now); err != nil && err2 != nil {
		c.fail("%s succeeded; it should have ended with: %v", p.describe(), err)
	}
	if c.closed.Load() {
		c.fail("%s succeeded after Close", p.describe())
	}
}

func (p *probe) describe() string {
	return fmt.Sprintf("%s at %d+%d flags %#x", p.Op, p.Off, p.Len, p.Flags)
}

// bury keeps p to see whether the device touches it again, and inspects the
// oldest one.
func (c *checked) bury(p *probe) {
	p.Bufs, p.Err = p.bufs, nil
	c.mu.Lock()
	c.dead = append(c.dead, p)
	var oldest *probe
	if len(c.dead) > graveyard {
		oldest = c.dead[0]
		c.dead = append(c.dead[:0], c.dead[1:]...)
	}
	c.mu.Unlock()
	c.inspect(oldest)
}

// inspect asserts that nobody touched p since its end.
func (c *checked) inspect(p *probe) {
	if p == nil {
		return
	}
	for _, b := range p.flat {
		if b != wipe {
			c.fail("the device wrote to the buffers of %s after Done", p.describe())
			return
		}
	}
	if p.Err != nil {
		c.fail("the device wrote to the request of %s after Done", p.describe())
	}
}

// Status implements Device.
func (c *checked) Status(off, n int64, limit int) ([]Extent, error) {
	ext, err := c.dev.Status(off, n, limit)
	if err != nil {
		var e *Error
		if !errors.As(err, &e) {
			c.fail("Status(%d, %d) failed with %v, which is no *block.Error", off, n, err)
		}
		return ext, err
	}
	if len(ext) == 0 {
		c.fail("Status(%d, %d) reported no extent", off, n)
	}
	if limit > 0 && len(ext) > limit {
		c.fail("Status(%d, %d) reported %d extents, the limit was %d", off, n, len(ext), limit)
	}
	at := off
	for i, e := range ext {
		switch {
		case e.Off != at:
			c.fail("Status(%d, %d): extent %d starts at %d, not at %d", off, n, i, e.Off, at)
		case e.Len <= 0 || e.Off+e.Len > off+n:
			c.fail("Status(%d, %d): extent %d of %d+%d is empty or too long", off, n, i, e.Off, e.Len)
		case e.Len%int64(c.first.BlockSize) != 0:
			c.fail("Status(%d, %d): extent %d of %d+%d is no number of blocks", off, n, i, e.Off, e.Len)
		case i > 0 && ext[i-1].Alloc == e.Alloc:
			c.fail("Status(%d, %d): extents %d and %d are in the same state", off, n, i-1, i)
		}
		at = e.Off + e.Len
	}
	return ext, nil
}

// Close implements Device.
func (c *checked) Close() error {
	again := c.closed.Load()
	err := c.dev.Close()
	if again && err != nil {
		c.fail("Close again returned %v", err)
	}
	c.closed.Store(true)
	if n := c.pending.Load(); n > 0 && !again {
		c.fail("Close returned with %d requests in flight", n)
	}
	c.mu.Lock()
	dead := c.dead
	c.dead = nil
	c.mu.Unlock()
	for _, p := range dead {
		c.inspect(p)
	}
	return err
}
