package nbdserver

import (
	"sango/internal/block"
	"sango/internal/bufpool"
	"sango/internal/nbd"
)

// request is one request of a client from its header to the end of its reply.
// Its owner is, in turn, the reader, the device or a worker, and the queue of
// replies.
type request struct {
	c      *conn
	wire   nbd.Request
	dev    block.Request
	data   bufpool.List // of CmdRead and CmdWrite
	memory int64        // bytes, as taken from the connection
	errno  nbd.Errno    // 0: success
	text   string       // why not, for people
	status nbd.BlockStatus
	again  bool // the device would have blocked
}

// reset makes q ready for the next request.
func (q *request) reset() {
	q.data.Release()
	q.dev.Bufs, q.dev.Err = nil, nil
	q.dev.Off, q.dev.Len, q.dev.Flags = 0, 0, 0
	q.errno, q.text, q.again, q.memory = 0, "", false, 0
	q.status.Extents = q.status.Extents[:0]
}

// drop gives up a request that came in part.
func (q *request) drop() {
	c, n := q.c, q.memory
	q.reset()
	c.mu.Lock()
	c.inflight--
	c.memory -= n
	c.room.Broadcast()
	c.mu.Unlock()
}

// fail ends q with an error.
func (q *request) fail(e nbd.Errno, why string) {
	q.data.Release()
	q.errno, q.text = e, why
	q.c.complete(q)
}

// start begins q, which is valid, with its data.
func (c *conn) start(q *request) {
	d := &q.dev
	d.Off, d.Len, d.Flags = int64(q.wire.Offset), int64(q.wire.Length), 0
	if q.wire.Flags&nbd.CmdFlagFUA != 0 {
		d.Flags = block.FUA
	}
	switch q.wire.Cmd {
	case nbd.CmdRead:
		q.data.Grow(int(q.wire.Length))
		d.Op, d.Bufs, d.Flags = block.OpRead, q.data.Vec(), 0
	case nbd.CmdWrite:
		d.Op, d.Bufs = block.OpWrite, q.data.Vec()
	case nbd.CmdFlush:
		d.Op, d.Flags = block.OpFlush, 0
	case nbd.CmdTrim:
		d.Op = block.OpDiscard
	case nbd.CmdWriteZeroes:
		d.Op = block.OpWriteZeroes
		if q.wire.Flags&nbd.CmdFlagNoHole == 0 {
			d.Flags |= block.MayUnmap
		}
	case nbd.CmdCache:
		// A hint; what caches there are below know better.
		c.complete(q)
		return
	case nbd.CmdBlockStatus:
		c.work(q)
		return
	}
	if c.async {
		c.dev.Submit(d)
		return
	}
	d.Flags |= block.NoWait
	c.dev.Submit(d)
	if q.again {
		q.again = false
		d.Flags &^= block.NoWait
		c.work(q)
	}
}

// ended is the Done of all requests.
func ended(r *block.Request) {
	q := r.User.(*request)
	if r.Err == nil {
		q.c.complete(q)
		return
	}
	if r.Flags&block.NoWait != 0 && block.ClassOf(r.Err) == block.WouldBlock {
		q.again = true // still in Submit, see start
		return
	}
	q.fail(errnoOf(r.Err), r.Err.Error())
}

// work hands q to a worker: an idle one, or one more. There are never more than
// requests under way.
func (c *conn) work(q *request) {
	select {
	case c.blocking <- q:
	default:
		c.workers.Go(func() {
			for ok := true; ok; q, ok = <-c.blocking {
				c.block(q)
			}
		})
	}
}

// block executes what may block.
func (c *conn) block(q *request) {
	if q.wire.Cmd == nbd.CmdBlockStatus {
		c.blockStatus(q)
		return
	}
	c.dev.Submit(&q.dev)
}

// changes reports whether cmd changes the medium.
func changes(cmd nbd.Cmd) bool {
	return cmd == nbd.CmdWrite || cmd == nbd.CmdTrim || cmd == nbd.CmdWriteZeroes
}
