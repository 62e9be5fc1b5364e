package nbdserver

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"sango/internal/block"
	"sango/internal/nbd"
)

// conn is one connection. Its reader, the goroutine of transmit, owns what is
// not guarded.
type conn struct {
	s    *Server
	gone chan struct{} // closed when the connection is over
	// stall is how long the client may stop in the middle of a request, or take
	// no replies; negative: for ever.
	stall time.Duration

	// What the handshake settled.
	export     *export
	name       string // of the export
	dev        block.Device
	async      bool         // Submit never blocks
	structured bool         // structured replies
	allocation bool         // base:allocation was chosen
	told       atomic.Int64 // the size that the client knows, in bytes

	sock socket
	turn turn // the reader's
	in   input
	out  output
	left hangup // the reader's

	free     []*request    // the reader's store of requests, see also freed
	blocking chan *request // to idle workers
	workers  sync.WaitGroup
	wake     chan struct{} // a token: there are replies to write

	mu       sync.Mutex // guards what follows
	room     *sync.Cond // on mu: inflight, memory or freed have changed
	nc       net.Conn   // written by the handshake alone
	running  bool       // the transmission phase has begun
	shutting bool       // refuse new requests, and end when none is under way
	severed  bool       // closed by cut
	broken   bool       // replies can't be written any more
	deaf     bool       // because that failed, nothing is read any more
	reading  bool       // the reader will call flush before it waits: no need to wake the writer
	inflight int        // requests from their header to the end of their reply
	memory   int64      // bytes of data they may hold
	done     []*request // replies to write, in the order in which they ended
	queued   int64      // bytes of data in done
	freed    []*request // requests whose replies were written
}

func newConn(s *Server, nc net.Conn) *conn {
	c := &conn{
		s: s, nc: nc, stall: s.opt.StallTimeout,
		gone: make(chan struct{}), wake: make(chan struct{}, 1), blocking: make(chan *request),
	}
	c.room = sync.NewCond(&c.mu)
	return c
}

// secure replaces the transport by TLS over it.
func (c *conn) secure(t *tls.Conn) {
	c.mu.Lock()
	c.nc = t
	c.mu.Unlock()
}

func (c *conn) isShut() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.shutting || c.severed
}

// shut lets no new request in and ends the connection when none is under way.
func (c *conn) shut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shutting = true
	if !c.running {
		c.hangUp()
		return
	}
	c.stopIdle()
}

// hangUp closes the socket, without the farewell of TLS, which could wait for
// the client. The caller holds c.mu.
func (c *conn) hangUp() {
	if t, ok := c.nc.(*tls.Conn); ok {
		_ = t.NetConn().Close()
		return
	}
	_ = c.nc.Close()
}

// stopIdle wakes the reader of a connection that is to end and has nothing
// under way. The caller holds c.mu.
func (c *conn) stopIdle() {
	if c.shutting && c.inflight == 0 {
		_ = c.nc.SetReadDeadline(time.Unix(1, 0))
	}
}

// cut closes the connection at once.
func (c *conn) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shutting, c.severed, c.broken = true, true, true
	c.hangUp()
	c.room.Broadcast()
}

// transmit serves requests until the client disconnects, the connection is shut
// (nil) or something fails.
func (c *conn) transmit() error {
	c.in.buf = make([]byte, inputSize)
	c.left = newHangup(c.nc)
	defer c.left.close()
	c.turn.Reader, c.turn.others = c.s.readers.Reader(), &c.s.serving
	c.sock = newSocket(c.nc, &c.turn)
	c.mu.Lock()
	c.running = true
	c.reading = true
	if c.shutting {
		c.stopIdle()
	}
	c.mu.Unlock()
	var writer sync.WaitGroup
	writer.Go(func() {
		for range c.wake {
			c.flush()
		}
	})
	c.s.serving.Add(1)
	c.turn.begin()
	err := c.serve()
	c.turn.Wait()
	c.s.serving.Add(-1)
	c.finish(err)
	close(c.blocking)
	c.workers.Wait()
	close(c.wake)
	writer.Wait()
	if c.isShut() && (err == nil || isTimeout(err) || errors.Is(err, net.ErrClosed)) {
		c.linger()
		return nil
	}
	if c.out.err != nil {
		return fmt.Errorf("sending replies: %w", c.out.err)
	}
	return err
}

// finish waits until everything under way has ended and was replied to, as far
// as the connection takes replies.
func (c *conn) finish(err error) {
	c.mu.Lock()
	if err != nil && !isTimeout(err) && !isProtocolError(err) {
		c.broken = true
	}
	c.reading = false
	c.mu.Unlock()
	c.flush()
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.inflight > 0 {
		c.room.Wait()
	}
}

// linger lets the client read the last replies: closing with unread requests in
// the socket would make the kernel throw them away.
func (c *conn) linger() {
	half, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	_ = c.nc.SetReadDeadline(time.Now().Add(time.Second))
	_, _ = io.CopyN(io.Discard, c.nc, c.s.opt.ConnMemory)
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

func isProtocolError(err error) bool {
	var pe *nbd.ProtocolError
	return errors.As(err, &pe)
}

// serve reads and submits requests. It returns nil after CmdDisc, at the end of
// the stream between two requests and when the connection was shut.
func (c *conn) serve() error {
	for {
		head, err := c.need(nbd.RequestLen)
		if err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		r, err := nbd.ParseRequest(head)
		if err != nil {
			return err
		}
		c.in.r += nbd.RequestLen
		if r.Cmd == nbd.CmdDisc {
			return nil
		}
		if err := c.request(r); err != nil {
			return err
		}
	}
}

// request takes one request and, for CmdWrite, its data, and starts it.
func (c *conn) request(r nbd.Request) error {
	errno, why := c.check(&r)
	var data int64
	if r.Cmd == nbd.CmdRead || r.Cmd == nbd.CmdWrite {
		data = int64(r.Length)
	}
	if errno != 0 {
		data = 0
	}
	c.turn.lull.Came()
	q := c.take(data)
	q.wire = r
	switch {
	case errno == 0 && r.Cmd == nbd.CmdWrite:
		if err := c.receive(&q.data, int(r.Length)); err != nil {
			q.drop()
			return err
		}
	case r.Cmd == nbd.CmdWrite:
		if err := c.discard(r); err != nil {
			q.drop()
			return err
		}
	}
	if errno != 0 {
		q.fail(errno, why)
		return nil
	}
	if changes(r.Cmd) && !c.left.settle() {
		q.drop()
		return errHungUp
	}
	c.start(q)
	if c.pending() > flushAt {
		c.flush()
	}
	return nil
}

// flushAt is how many bytes of read data wait at most for requests that came
// together with theirs.
const flushAt = 256 << 10

func (c *conn) pending() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.queued
}

// discard reads past the data of a write that is refused.
func (c *conn) discard(r nbd.Request) error {
	if int64(r.Length) > 2*int64(c.s.opt.MaxRequest) {
		return fmt.Errorf("the client writes %d bytes at a time; %d are allowed", r.Length, c.s.opt.MaxRequest)
	}
	return c.skip(int(r.Length))
}

// take returns a request when the limits of the connection allow one more with
// n bytes of data.
func (c *conn) take(n int64) *request {
	c.mu.Lock()
	for c.inflight >= c.s.opt.Depth || c.memory+n > c.s.opt.ConnMemory {
		if len(c.done) > 0 {
			c.mu.Unlock()
			c.flush()
			c.mu.Lock()
			c.left.doubt = true
			continue
		}
		c.reading = false
		c.room.Wait()
		c.reading = true
		c.left.doubt = true
	}
	c.inflight++
	c.memory += n
	if len(c.free) == 0 {
		c.free, c.freed = c.freed, c.free
	}
	c.mu.Unlock()
	if k := len(c.free); k > 0 {
		q := c.free[k-1]
		c.free = c.free[:k-1]
		q.memory = n
		return q
	}
	q := &request{c: c, memory: n}
	q.dev.User, q.dev.Done = q, ended
	return q
}

// complete queues the reply of q. It does not block.
func (c *conn) complete(q *request) {
	c.mu.Lock()
	c.done = append(c.done, q)
	c.queued += int64(q.data.Len())
	if !c.reading {
		// Under the lock: once it is free the request can be over, and the
		// connection, and the channel closed.
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
	c.mu.Unlock()
}

// flush writes all replies that are queued.
func (c *conn) flush() {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	for {
		c.mu.Lock()
		batch, broken := c.done, c.broken
		c.done, c.queued = c.out.spare[:0], 0
		c.mu.Unlock()
		if len(batch) == 0 {
			c.out.spare = batch
			return
		}
		if !broken {
			c.out.err = c.write(batch)
		}
		var memory int64
		for _, q := range batch {
			memory += q.memory
			q.reset()
		}
		c.mu.Lock()
		if c.out.err != nil && !c.broken {
			// Nothing can be said any more: the reader has to end too.
			c.broken, c.deaf = true, true
			_ = c.nc.SetReadDeadline(time.Unix(1, 0))
		}
		c.inflight -= len(batch)
		c.memory -= memory
		c.freed = append(c.freed, batch...)
		c.stopIdle()
		c.room.Broadcast()
		c.mu.Unlock()
		c.out.spare = batch
	}
}
