package relay

import (
	"time"

	"sango/internal/relay/wire"
)

// inputSize is the size of the read buffer, in bytes.
const inputSize = 64 << 10

// directTail is how much a read takes beyond the rest of a frame's data, in
// bytes: the next header, and little of the data that probably follows, which is
// better read straight into its task's buffers.
const directTail = 2 << 10

// bulkMax bounds what the reader takes before it sends what that has caused, in
// bytes. Where much comes at a time, more probably does: each answer by itself
// would wake the peer for it.
const bulkMax = 256 << 10

// input is the read half of a connection. It belongs to the reader.
type input struct {
	buf    []byte
	r, w   int // buf[r:w] was read and not yet consumed
	vec    [][]byte
	sink   [][]byte // scratch of who reads data
	unread int      // bytes of the frame's data that were not taken yet
	now    time.Time
	bulk   int // bytes that came, much at a time, since the output was flushed
}

// serve takes frames until the connection ends, or handle does not like one.
// handle gets header and body, which is valid until it reads data.
func (c *conn) serve(handle func(h wire.Header, body []byte) error) error {
	for {
		if err := c.next(handle); err != nil {
			return err
		}
	}
}

// next takes one frame.
func (c *conn) next(handle func(h wire.Header, body []byte) error) error {
	in := &c.in
	if err := c.need(wire.HeaderLen); err != nil {
		return err
	}
	h, err := wire.ParseHeader(in.buf[in.r:in.w])
	if err != nil {
		return err
	}
	if err := c.need(wire.HeaderLen + h.Body); err != nil {
		return err
	}
	body := in.buf[in.r+wire.HeaderLen:][:h.Body]
	in.r += wire.HeaderLen + h.Body
	in.unread = h.Data
	if c.over.Load() { // what was read and not decoded is dropped (DESIGN R4 a)
		return errEnded
	}
	if err := handle(h, body); err != nil {
		return err
	}
	if err := c.skip(); err != nil {
		return err
	}
	// A peer that sends a frame byte by byte is not heard.
	if at := int64(in.now.Sub(c.began)); at > c.heard.Load() {
		c.heard.Store(at)
	}
	return nil
}

// receive waits until at least one byte came, which goes to sink first, that
// holds want bytes, and to the buffer after that. The output is flushed before
// it waits. It returns the number of bytes that went to sink.
func (c *conn) receive(sink [][]byte, want int) (int, error) {
	in := &c.in
	if in.r > 0 {
		in.w = copy(in.buf, in.buf[in.r:in.w])
		in.r = 0
	}
	tail := in.buf[in.w:]
	if want > 0 && len(tail) > directTail {
		tail = tail[:directTail]
	}
	in.vec = append(append(in.vec[:0], sink...), tail)
	c.took.Store(0)
	n, err := 0, error(nil)
	if in.bulk > 0 && in.bulk < bulkMax {
		n, err = c.pipe.poll(in.vec)
	}
	if n == 0 && err == nil {
		c.rest()
		n, err = c.pipe.read(in.vec)
	}
	clear(in.vec)
	if err != nil {
		return 0, err
	}
	in.now = time.Now()
	c.took.Store(max(1, int64(in.now.Sub(c.began))))
	c.cork()
	if in.bulk > 0 || n >= bulkSize {
		in.bulk += max(n, bulkSize)
	}
	direct := min(n, want)
	in.w += n - direct
	return direct, nil
}

// rest sends what waits for the reader, which has nothing to do for now.
func (c *conn) rest() {
	c.in.bulk = 0
	if c.before != nil {
		c.before()
	}
	c.flush()
}

// cork makes the reader the one who sends.
func (c *conn) cork() {
	c.mu.Lock()
	c.corked = true
	c.mu.Unlock()
}

// flush sends what is queued, from the reader. It does not wait.
func (c *conn) flush() {
	c.mu.Lock()
	c.corked = false
	c.kick()
}

// need waits until n bytes are buffered.
func (c *conn) need(n int) error {
	for c.in.w-c.in.r < n {
		if _, err := c.receive(nil, 0); err != nil {
			return err
		}
	}
	return nil
}

// readData takes the next n bytes of the frame's data into sink, which holds
// as many and whose slice headers it changes.
func (c *conn) readData(sink [][]byte, n int) error {
	in := &c.in
	in.unread -= n
	for n > 0 {
		var got int
		if in.w > in.r {
			got = copy(sink[0], in.buf[in.r:in.w])
			in.r += got
		} else {
			var err error
			if got, err = c.receive(sink, n); err != nil {
				return err
			}
		}
		n -= got
		for got > 0 {
			m := min(got, len(sink[0]))
			got -= m
			if sink[0] = sink[0][m:]; len(sink[0]) == 0 {
				sink = sink[1:]
			}
		}
	}
	return nil
}

// skip throws away what is left of the frame's data.
func (c *conn) skip() error {
	in := &c.in
	for in.unread > 0 {
		if err := c.need(1); err != nil {
			return err
		}
		n := min(in.unread, in.w-in.r)
		in.r += n
		in.unread -= n
	}
	return nil
}
