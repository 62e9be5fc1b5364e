package nbdserver

import (
	"io"
	"time"

	"sango/internal/bufpool"
)

// inputSize is how many bytes of requests are read at a time.
const inputSize = 64 << 10

// input is what was read and not yet used: buf[r:w].
type input struct {
	buf  []byte
	r, w int
	vec  [][]byte // for read
	// direct: large writes come.
	direct bool
	// deadline is set on the connection, or zero.
	deadline time.Time
}

// need returns the next n bytes, at most inputSize, without using them up. It
// returns io.EOF when the stream ends before the first.
func (c *conn) need(n int) ([]byte, error) {
	in := &c.in
	if in.w-in.r < n {
		if in.r > 0 {
			in.w = copy(in.buf, in.buf[in.r:in.w])
			in.r = 0
		}
		for in.w < n {
			got, err := c.read(in.rest(nil), in.w > 0)
			in.w += got
			if err != nil && in.w < n {
				if in.w > 0 && err == io.EOF { //nolint:errorlint // io.Reader: EOF comes bare
					err = io.ErrUnexpectedEOF
				}
				return nil, err
			}
		}
		c.unhurried()
	}
	return in.buf[in.r : in.r+n], nil
}

// tryReplies is up to how many replies wait for requests that may be there
// already: it saves system calls to send several, but a client that waits for
// them sends nothing.
const tryReplies = 8

// read reads once. Before it waits it replies to what has ended. In the middle
// of a request the client may not stall.
func (c *conn) read(dst [][]byte, midway bool) (int, error) {
	c.turn.mayWait()
	var n int
	var err error
	if midway || c.replies() < tryReplies {
		n, err = c.sock.read(dst, false)
	}
	if n == 0 && (err == nil || isTimeout(err)) {
		n, err = c.await(dst, midway)
	}
	c.left.doubt = true
	return n, err
}

// replies returns how many are queued.
func (c *conn) replies() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.done)
}

// await is read when nothing is there.
func (c *conn) await(dst [][]byte, midway bool) (int, error) {
	c.mu.Lock()
	c.reading = false
	replies := len(c.done) > 0
	c.mu.Unlock()
	if replies {
		c.flush()
	}
	if midway {
		c.hurry()
	}
	c.turn.lull.Wait()
	c.turn.eager = midway
	c.turn.Wait()
	n, err := c.sock.read(dst, true)
	if n == 0 && midway && isTimeout(err) && c.respite() {
		n, err = c.sock.read(dst, true)
	}
	c.turn.begin()
	c.mu.Lock()
	c.reading = true
	c.mu.Unlock()
	return n, err
}

// hurry sets the deadline for the rest of a request, anew as the client makes
// headway.
func (c *conn) hurry() {
	stall := c.stall
	if stall < 0 {
		return
	}
	now := time.Now()
	if !c.in.deadline.IsZero() && c.in.deadline.Sub(now) > stall/2 {
		return
	}
	c.in.deadline = now.Add(stall)
	c.setReadDeadline(c.in.deadline)
}

// respite sets a short deadline after one has passed, and returns whether it
// may be used: when this process stood still, the deadline has passed although
// the data is there.
func (c *conn) respite() bool {
	c.in.deadline = time.Now().Add(time.Second)
	return c.setReadDeadline(c.in.deadline)
}

// unhurried takes the deadline away: between requests a client may be idle.
func (c *conn) unhurried() {
	if !c.in.deadline.IsZero() {
		c.in.deadline = time.Time{}
		c.setReadDeadline(time.Time{})
	}
}

// setReadDeadline leaves the one alone that ends the connection, and reports
// whether there was none.
func (c *conn) setReadDeadline(t time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.severed || c.deaf || c.shutting && c.inflight == 0 {
		return false
	}
	return c.nc.SetReadDeadline(t) == nil
}

// directSize is from how many bytes on the data of a write is read right into
// its buffers; what is shorter comes together with the requests around it.
const directSize = 16 << 10

// directTail is how much is read with the end of such data: the next requests,
// and little of the data that probably follows.
const directTail = 2 << 10

// rest returns where to read: to sink, if there is one, and to the free end of
// buf after that.
func (in *input) rest(sink []byte) [][]byte {
	tail := in.buf[in.w:]
	if in.direct {
		tail = tail[:min(len(tail), directTail)]
	}
	in.vec = in.vec[:0]
	if len(sink) > 0 {
		in.vec = append(in.vec, sink)
	}
	in.vec = append(in.vec, tail)
	return in.vec
}

// receive reads n bytes into fresh buffers of l. What is there already is
// copied, the rest lands in its place at once; memory is taken as the data
// comes.
func (c *conn) receive(l *bufpool.List, n int) error {
	in := &c.in
	in.direct = n >= directSize
	for n > 0 {
		b := bufpool.Get(min(n, bufpool.MaxPooled))
		l.Append(b)
		n -= len(b.B)
		k := copy(b.B, in.buf[in.r:in.w])
		in.r += k
		for k < len(b.B) {
			in.r, in.w = 0, 0
			dst := in.rest(b.B[k:])
			if n > 0 {
				dst = dst[:1]
			}
			got, err := c.read(dst, true)
			clear(in.vec)
			if spare := got - (len(b.B) - k); spare > 0 {
				in.w = spare
			}
			k += got
			if err != nil && k < len(b.B) {
				return unexpected(err)
			}
		}
	}
	c.unhurried()
	return nil
}

// skip reads past n bytes.
func (c *conn) skip(n int) error {
	in := &c.in
	k := min(n, in.w-in.r)
	in.r += k
	for n -= k; n > 0; {
		in.r, in.w = 0, 0
		in.vec = append(in.vec[:0], in.buf[:min(n, len(in.buf))])
		got, err := c.read(in.vec, true)
		n -= got
		if err != nil && n > 0 {
			return unexpected(err)
		}
	}
	c.unhurried()
	return nil
}

// unexpected returns err, as what it is in the middle of a request.
func unexpected(err error) error {
	if err == io.EOF { //nolint:errorlint // io.Reader: EOF comes bare
		return io.ErrUnexpectedEOF
	}
	return err
}
