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
			got, err := c.read(in.buf[in.w:], in.w > 0)
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

// read reads once, after replying to what has ended. In the middle of a
// request the client may not stall.
func (c *conn) read(p []byte, midway bool) (int, error) {
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
	n, err := c.nc.Read(p)
	if n == 0 && midway && isTimeout(err) && c.respite() {
		n, err = c.nc.Read(p)
	}
	c.left.doubt = true
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

// receive reads n bytes into fresh buffers of l. What is there already is
// copied, the rest lands in its place at once; memory is taken as the data
// comes.
func (c *conn) receive(l *bufpool.List, n int) error {
	in := &c.in
	for n > 0 {
		b := bufpool.Get(min(n, bufpool.MaxPooled))
		l.Append(b)
		n -= len(b.B)
		k := copy(b.B, in.buf[in.r:in.w])
		in.r += k
		for k < len(b.B) {
			got, err := c.read(b.B[k:], true)
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
		got, err := c.read(in.buf[:min(n, len(in.buf))], true)
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
