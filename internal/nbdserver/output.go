package nbdserver

import (
	"bytes"
	"strings"
	"sync"
	"time"

	"sango/internal/nbd"
)

const (
	// holeUnit is the unit in which read data is looked at for zeros.
	holeUnit = 64 << 10
)

var zeros [holeUnit]byte

// output is what writes replies.
type output struct {
	mu       sync.Mutex // held while replies are written; guards what follows
	spare    []*request
	head     []byte   // headers of the batch
	vec      [][]byte // the batch, cut from head and the requests' data
	err      error
	deadline time.Time // set on the connection
}

// write writes the replies to all of batch.
func (c *conn) write(batch []*request) error {
	o := &c.out
	o.head, o.vec = o.head[:0], o.vec[:0]
	for _, q := range batch {
		c.encode(q)
	}
	err := c.send(o.vec)
	clear(o.vec)
	return err
}

// send hands vec, whose slices it changes, to the connection.
func (c *conn) send(vec [][]byte) error {
	for len(vec) > 0 {
		n, err := c.sock.write(vec, false)
		if n == 0 && (err == nil || isTimeout(err)) {
			c.extend()
			n, err = c.sock.write(vec, true)
			if isTimeout(err) {
				// This process may have stood still, see respite.
				c.out.deadline = time.Now().Add(time.Second)
				_ = c.nc.SetWriteDeadline(c.out.deadline)
				vec = wrote(vec, n)
				n, err = c.sock.write(vec, true)
			}
		}
		if err != nil {
			return err
		}
		vec = wrote(vec, n)
	}
	return nil
}

// wrote returns what is left of vec after n bytes.
func wrote(vec [][]byte, n int) [][]byte {
	for len(vec) > 0 && n >= len(vec[0]) {
		n -= len(vec[0])
		vec = vec[1:]
	}
	if n > 0 {
		vec[0] = vec[0][n:]
	}
	return vec
}

// extend gives the client time to take the next bytes.
func (c *conn) extend() {
	o, stall := &c.out, c.stall
	if stall < 0 {
		return
	}
	now := time.Now()
	if o.deadline.Sub(now) < stall*3/4 {
		o.deadline = now.Add(stall)
		_ = c.nc.SetWriteDeadline(o.deadline)
	}
}

// cutHead appends what was added to o.head since at to the batch. Growing the
// buffer later leaves the cut part valid where it is.
func (o *output) cutHead(at int) { o.vec = append(o.vec, o.head[at:len(o.head):len(o.head)]) }

// encode appends the reply to q to the batch.
func (c *conn) encode(q *request) {
	o := &c.out
	at := len(o.head)
	cookie := q.wire.Cookie
	switch {
	case !c.structured:
		o.head = nbd.SimpleReply{Err: q.errno, Cookie: cookie}.Append(o.head)
		o.cutHead(at)
		if q.errno == 0 && q.wire.Cmd == nbd.CmdRead {
			o.vec = append(o.vec, q.data.Vec()...)
		}
	case q.errno != 0:
		e := nbd.ErrorPayload{Err: q.errno, Text: bounded(q.text)}
		o.head = nbd.Chunk{Flags: nbd.ChunkDone, Type: nbd.ChunkError, Cookie: cookie, Length: uint32(6 + len(e.Text))}.Append(o.head)
		o.head = e.Append(o.head)
		o.cutHead(at)
	case q.wire.Cmd == nbd.CmdRead && q.wire.Length > 0:
		o.encodeRead(q)
	case q.wire.Cmd == nbd.CmdRead:
		o.head = nbd.Chunk{Flags: nbd.ChunkDone, Type: nbd.ChunkNone, Cookie: cookie}.Append(o.head)
		o.cutHead(at)
	case q.wire.Cmd == nbd.CmdBlockStatus:
		o.head = nbd.Chunk{Flags: nbd.ChunkDone, Type: nbd.ChunkBlockStatus, Cookie: cookie, Length: uint32(q.status.Len())}.Append(o.head)
		o.head = q.status.Append(o.head)
		o.cutHead(at)
	default:
		o.head = nbd.SimpleReply{Cookie: cookie}.Append(o.head)
		o.cutHead(at)
	}
}

// maxText is the longest text of an error on the wire.
const maxText = 1024

// bounded returns s, fit for the wire.
func bounded(s string) string {
	const most = maxText
	if len(s) > most || nbd.CheckString(s) != nil {
		s = strings.ReplaceAll(strings.ToValidUTF8(s[:min(len(s), most)], ""), "\x00", "")
	}
	return s
}

// encodeRead appends the data of a read: zeros as holes, unless the client
// wants it in one piece. To look costs next to nothing where there is data.
func (o *output) encodeRead(q *request) {
	total := int(q.wire.Length)
	if q.wire.Flags&nbd.CmdFlagDF != 0 {
		o.chunk(q, 0, total, false)
		return
	}
	start, at, hole := 0, 0, false
	for _, part := range q.data.Vec() {
		for len(part) > 0 {
			unit := part[:min(len(part), holeUnit)]
			part = part[len(unit):]
			zero := bytes.Equal(unit, zeros[:len(unit)])
			if zero != hole {
				o.chunk(q, start, at, hole)
				start, hole = at, zero
			}
			at += len(unit)
		}
	}
	o.chunk(q, start, at, hole)
}

// chunk appends the chunk for the bytes [from, to) of a read.
func (o *output) chunk(q *request, from, to int, hole bool) {
	if from == to {
		return
	}
	at := len(o.head)
	off := q.wire.Offset + uint64(from)
	c := nbd.Chunk{Type: nbd.ChunkOffsetData, Cookie: q.wire.Cookie, Length: uint32(nbd.OffsetLen + to - from)}
	if to == int(q.wire.Length) {
		c.Flags = nbd.ChunkDone
	}
	if hole {
		c.Type, c.Length = nbd.ChunkOffsetHole, nbd.HoleLen
		o.head = nbd.Hole{Offset: off, Length: uint32(to - from)}.Append(c.Append(o.head))
		o.cutHead(at)
		return
	}
	o.head = nbd.AppendOffset(c.Append(o.head), off)
	o.cutHead(at)
	o.vec = q.data.Slice(o.vec, from, to-from)
}
