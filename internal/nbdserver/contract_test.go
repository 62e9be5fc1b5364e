package nbdserver

import (
	"io"
	"net"
	"sync"
	"testing"

	"sango/internal/block"
	"sango/internal/block/blocktest"
	"sango/internal/block/mem"
	"sango/internal/nbd"
)

// remote is a device at the other end of an NBD connection, so that the
// contract suite of devices can be run through the server.
type remote struct {
	t     testing.TB
	s     *Server
	below *mem.Device
	nc    net.Conn
	gauge block.Gauge
	ended chan struct{}

	send sync.Mutex // one request at a time on the wire

	mu      sync.Mutex // guards what follows
	cookie  uint64
	pending map[uint64]*pending
}

// pending is a request that waits for its reply.
type pending struct {
	r      *block.Request // nil: block status
	status chan answer
	data   []byte
	off    uint64
}

func newRemote(t testing.TB, below *mem.Device) *remote {
	w := serve(t, Options{Depth: 8})
	w.add("", block.Check(below, t), ExportOptions{})
	c := w.connect("")
	d := &remote{t: t, s: w.s, below: below, nc: c.nc, ended: make(chan struct{}), pending: map[uint64]*pending{}}
	go func() {
		defer close(d.ended)
		d.replies(c)
	}()
	t.Cleanup(func() {
		_ = d.nc.Close()
		<-d.ended
	})
	return d
}

// replies ends requests as their replies come.
func (d *remote) replies(c *client) {
	for {
		var head [4]byte
		if _, err := io.ReadFull(d.nc, head[:]); err != nil {
			return
		}
		if head[0] == 0x67 {
			r, err := nbd.ParseSimpleReply(append(head[:], c.read(nbd.SimpleReplyLen-4)...))
			if err != nil {
				d.t.Error(err)
				return
			}
			d.end(r.Cookie, answer{errno: r.Err})
			continue
		}
		h, err := nbd.ParseChunk(append(head[:], c.read(nbd.ChunkLen-4)...))
		if err != nil {
			d.t.Error(err)
			return
		}
		p := c.read(int(h.Length))
		d.mu.Lock()
		wait := d.pending[h.Cookie]
		d.mu.Unlock()
		a := answer{data: wait.data}
		if err := a.add(h.Type, p, wait.off); err != nil {
			d.t.Error(err)
			return
		}
		if h.Flags&nbd.ChunkDone != 0 {
			d.end(h.Cookie, a)
		}
	}
}

func (d *remote) end(cookie uint64, a answer) {
	d.mu.Lock()
	p := d.pending[cookie]
	delete(d.pending, cookie)
	d.mu.Unlock()
	if p.r == nil {
		p.status <- a
		return
	}
	at := 0
	for _, b := range p.r.Bufs {
		if p.r.Op == block.OpRead {
			copy(b, p.data[at:])
		}
		at += len(b)
	}
	if a.errno != 0 {
		p.r.End(block.Fail(p.r, block.Medium, a.errno))
	} else {
		p.r.End(nil)
	}
	d.gauge.Leave()
}

func (d *remote) Info() block.Info {
	i := d.below.Info()
	i.Caps.AtomicMax = 0
	return i
}

func (d *remote) Submit(r *block.Request) {
	if !d.gauge.Enter() {
		r.End(block.Fail(r, block.Closed, nil))
		return
	}
	info := d.Info()
	if err := block.Validate(r, &info); err != nil {
		r.End(err)
		d.gauge.Leave()
		return
	}
	q := nbd.Request{Offset: uint64(r.Off), Length: uint32(r.Len)}
	p := &pending{r: r, off: q.Offset}
	var data []byte
	switch r.Op {
	case block.OpRead:
		q.Cmd, p.data = nbd.CmdRead, make([]byte, r.Len)
	case block.OpWrite:
		q.Cmd = nbd.CmdWrite
		for _, b := range r.Bufs {
			data = append(data, b...)
		}
	case block.OpFlush:
		q.Cmd = nbd.CmdFlush
	case block.OpDiscard:
		q.Cmd = nbd.CmdTrim
	case block.OpWriteZeroes:
		if q.Cmd = nbd.CmdWriteZeroes; r.Flags&block.MayUnmap == 0 {
			q.Flags = nbd.CmdFlagNoHole
		}
	}
	if r.Flags&block.FUA != 0 {
		q.Flags |= nbd.CmdFlagFUA
	}
	d.submit(q, data, p)
}

func (d *remote) submit(q nbd.Request, data []byte, p *pending) {
	d.mu.Lock()
	d.cookie++
	q.Cookie = d.cookie
	d.pending[q.Cookie] = p
	d.mu.Unlock()
	d.send.Lock()
	defer d.send.Unlock()
	if _, err := d.nc.Write(append(q.Append(nil), data...)); err != nil {
		d.t.Error(err)
	}
}

func (d *remote) Status(off, n int64, limit int) ([]block.Extent, error) {
	if !d.gauge.Enter() {
		return nil, &block.Error{Class: block.Closed}
	}
	defer d.gauge.Leave()
	if n <= 0 || off < 0 {
		return nil, &block.Error{Class: block.Invalid}
	}
	p := &pending{status: make(chan answer, 1), off: uint64(off)}
	d.submit(nbd.Request{Cmd: nbd.CmdBlockStatus, Offset: uint64(off), Length: uint32(n)}, nil, p)
	a := <-p.status
	if a.errno != 0 {
		return nil, &block.Error{Class: block.Invalid, Err: a.errno}
	}
	var all []block.Extent
	for _, e := range a.status.Extents {
		if limit > 0 && len(all) == limit {
			break
		}
		x := block.Extent{Off: off, Len: int64(e.Length)}
		if e.Flags&nbd.StateHole != 0 {
			x.Alloc = block.Deallocated
		}
		all = append(all, x)
		off += x.Len
	}
	return all, nil
}

func (d *remote) Close() error {
	if !d.gauge.Shut() {
		return nil
	}
	_, err := d.nc.Write(nbd.Request{Cmd: nbd.CmdDisc}.Append(nil))
	<-d.ended // the server hangs up
	return err
}

func TestContract(t *testing.T) {
	blocktest.Run(t, blocktest.Driver{
		New: func(t testing.TB, s blocktest.Spec) block.Device {
			return newRemote(t, memory(t, mem.Options{Size: s.Size, BlockSize: s.BlockSize}))
		},
		ReadOnly: func(t testing.TB, s blocktest.Spec) block.Device {
			return newRemote(t, memory(t, mem.Options{Size: s.Size, BlockSize: s.BlockSize, ReadOnly: true}))
		},
		Resize: func(d block.Device, size int64) error { return d.(*remote).below.Resize(size) },
	})
}
