package relay

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"sango/internal/bufpool"
	"sango/internal/relay/wire"
)

// Errors that end a link.
var (
	errStalled    = errors.New("the peer reads nothing")
	errNotReading = errors.New("the peer lets more answers wait than it may")
	errSilent     = errors.New("the peer is silent")
	errEnded      = errors.New("the gateway ends")
	errPeerGone   = errors.New("the peer is over")
	errNoRight    = errors.New("this gateway's right to serve has run out")
	errReplaced   = errors.New("the peer has opened it anew")
)

// conn is one connection between gateways: frames in, frames out. What is
// guarded by mu, is so together with the state of its user, whose lock it is.
type conn struct {
	pipe pipe
	mu   *sync.Mutex
	// unlock unlocks mu, and does what has to be done then.
	unlock func()
	began  time.Time
	sendFn func() // send, made once: to start it allocates nothing
	// feed, unless nil, moves to queue what may be sent now. With mu held.
	feed func()
	// before, unless nil, is called by the reader when it has taken what there is.
	before func()

	// Guarded by mu.
	controls []*bufpool.Buf // frames, which go first
	queue    []carrier
	corked   bool // the reader will flush: leave it to the reader
	sending  bool // the sending token is taken
	err      error
	over     atomic.Bool  // err is set
	version  wire.Version // that the link speaks, from Welcome on
	idle     sync.Cond    // the token was given up
	quit     chan struct{}

	batch batch        // the holder of the sending token's
	in    input        // the reader's
	heard atomic.Int64 // when the last frame was complete, in nanoseconds since began
	took  atomic.Int64 // when the reader took what it is at, the same way; 0: it waits for more
}

// carrier is something with data that is sent frame by frame, in turn with
// others.
type carrier interface {
	// take tells that its next frame is encoded soon; false: it has no more
	// business in the queue. With the lock held.
	take() bool
	// put encodes one frame and reports whether there is more to come. The lock
	// is not held.
	put(b *batch) (more bool)
	// sent tells that what was put is on its way, and reports whether it wants to
	// be queued again. With the lock held.
	sent(more bool) bool
}

func newConn(p pipe, mu *sync.Mutex) *conn {
	c := &conn{pipe: p, mu: mu, unlock: mu.Unlock, began: time.Now(), quit: make(chan struct{})}
	c.idle.L = mu
	c.sendFn = c.send
	c.in.buf = make([]byte, inputSize)
	return c
}

// maxControls bounds the control frames that wait for a peer which does not
// read: all nexuses of a link may be opened, closed and told at a time.
const maxControls = 3*defaultNexuses + 2*maxManages

// post queues a frame, with mu held. The caller kicks.
func (c *conn) post(f interface{ Append([]byte) []byte }) {
	if c.err != nil {
		return
	}
	if len(c.controls) >= maxControls {
		c.endLocked(errNotReading)
		return
	}
	b := bufpool.Get(512)
	b.B = f.Append(b.B[:0])
	c.controls = append(c.controls, b)
}

// end ends the connection, if nobody has done so.
func (c *conn) end(err error) {
	c.mu.Lock()
	c.endLocked(err)
	c.unlock()
}

func (c *conn) endLocked(err error) {
	if c.err != nil {
		return
	}
	c.err = err
	c.over.Store(true)
	close(c.quit)
	c.pipe.kill()
}

// kick unlocks mu and sends what there is to send, unless somebody else will.
// It does not wait.
func (c *conn) kick() {
	if c.corked || c.sending || c.err != nil || !c.ready() {
		c.unlock()
		return
	}
	c.sending = true
	c.unlock()
	c.send()
}

// kickLater is kick by another goroutine: whoever has several things to send, one
// after the other, has them go together so.
func (c *conn) kickLater() {
	if !c.corked && !c.sending && c.err == nil && c.ready() {
		c.sending = true
		go c.sendFn()
	}
	c.unlock()
}

// kickTimely is kick by the clock. The reader may be at a command for long, which
// it executes in place over a slow device: no heartbeat, and nobody's answer, waits
// for that (DESIGN R8).
func (c *conn) kickTimely() {
	c.corked = false
	c.kick()
}

// bulkSize is the data from which on a command is sent at once, and a read
// taken for one of several, in bytes.
const bulkSize = 16 << 10

// ready reports whether there is something to send, with mu held.
func (c *conn) ready() bool {
	if c.feed != nil {
		c.feed()
	}
	return len(c.controls) > 0 || len(c.queue) > 0
}

// sendRounds bounds the batches that a goroutine sends for others before it
// hands the token on: whoever ends a task must not be held for long.
const sendRounds = 8

// send sends until nothing is left. The caller holds the sending token and
// loses it. What would block goes on in a goroutine, which drain waits for by
// the token.
func (c *conn) send() {
	for range sendRounds {
		more, blocked := c.sendBatch(false)
		if !more {
			return
		}
		if blocked {
			break
		}
	}
	go func() {
		for more := true; more; {
			more, _ = c.sendBatch(true)
		}
	}()
}

// sendBatch writes the batch, or makes the next one and writes that. more is
// false when the token was given up: nothing was left, or the connection has
// ended.
func (c *conn) sendBatch(wait bool) (more, blocked bool) {
	b := &c.batch
	if !b.encoded {
		c.mu.Lock()
		if c.err != nil || b.done() && !c.fill() {
			c.giveUpToken()
			return false, false
		}
		c.unlock()
		b.format()
	}
	for {
		done, n, err := b.write(c.pipe, wait)
		if err != nil {
			c.mu.Lock()
			c.endLocked(err)
			c.giveUpToken()
			return false, false
		}
		if done {
			break
		}
		if n == 0 {
			return true, true
		}
	}
	c.mu.Lock()
	c.queue = b.settle(c.queue)
	c.unlock()
	return true, false
}

// fill moves what is queued to the batch, with mu held, and reports whether
// there is anything.
func (c *conn) fill() bool {
	b := &c.batch
	if !c.ready() {
		return false
	}
	b.controls, c.controls = c.controls, b.controls[:0]
	b.items = b.items[:0]
	n := min(len(c.queue), fillItems)
	for _, it := range c.queue[:n] {
		if it.take() {
			b.items = append(b.items, it)
		}
	}
	left := copy(c.queue, c.queue[n:])
	clear(c.queue[left:])
	c.queue = c.queue[:left]
	b.next, b.put = 0, 0
	return true
}

// fillItems bounds the carriers of a batch: control frames go before the next
// one.
const fillItems = 64

// giveUpToken lets go of the sending token, with mu held, and unlocks it.
func (c *conn) giveUpToken() {
	c.sending = false
	c.idle.Broadcast()
	c.unlock()
}

// drain waits until nobody sends any more, after the end, and gives back what
// was not sent. Carriers are in nobody's hands then.
func (c *conn) drain() {
	c.mu.Lock()
	for c.sending {
		c.idle.Wait()
	}
	for _, b := range c.controls {
		b.Release()
	}
	clear(c.queue)
	c.controls, c.queue = nil, nil
	c.batch.drop()
	c.unlock()
}

// fenceFrame is a Fence with its data, to post.
type fenceFrame struct {
	wire.Fence
	list []byte
}

// Append appends the frame.
func (f *fenceFrame) Append(b []byte) []byte { return f.Fence.Append(b, f.list) }
