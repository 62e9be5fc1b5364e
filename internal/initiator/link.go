package initiator

import (
	"fmt"
	"net"

	"sango/internal/iscsi"
)

// inputSize is the size of the read buffer, in bytes.
const inputSize = 128 << 10

// directTail is how much a read takes beyond the rest of a Data-In PDU, in
// bytes: the next header, and little of the data that probably follows, which
// is better read straight into its command's buffers.
const directTail = 2 << 10

// link is a connection and its read half. It belongs to the reader.
type link struct {
	conn  net.Conn
	sock  socket
	trace func(Traced)

	headerDigest, dataDigest bool
	limit                    int         // of a data segment that is received, bytes
	window                   iscsi.CmdSN // MaxCmdSN of the last Login Response
	// before is called before the reader waits, and tells whether it will not be
	// for long; after when something came.
	before func() (eager bool)
	after  func(n int)

	buf    []byte
	r, w   int // buf[r:w] was read and not yet consumed
	vec    [][]byte
	sink   [][]byte
	h      iscsi.BHS // the header at hand
	unread int       // bytes of its data segment that were not taken yet
	sum    uint32    // digest of those that were
	seen   []byte    // the PDU at hand, for trace
}

func newLink(c net.Conn, trace func(Traced)) *link {
	return &link{
		conn: c, sock: newSocket(c), trace: trace, limit: iscsi.LoginSegment,
		before: func() bool { return false }, after: func(int) {}, buf: make([]byte, inputSize),
	}
}

// receive waits until at least one byte came, which goes to sink first, that
// holds want bytes, and to the buffer after that. It returns the number of
// bytes that went to sink.
func (l *link) receive(sink [][]byte, want int) (int, error) {
	if l.r > 0 {
		l.w = copy(l.buf, l.buf[l.r:l.w])
		l.r = 0
	}
	tail := l.buf[l.w:]
	if want > 0 && len(tail) > directTail {
		tail = tail[:directTail]
	}
	l.vec = append(append(l.vec[:0], sink...), tail)
	n, err := l.sock.read(l.vec, l.before())
	clear(l.vec)
	if err != nil {
		return 0, err
	}
	l.after(n)
	direct := min(n, want)
	l.w += n - direct
	return direct, nil
}

// need waits until n bytes are buffered.
func (l *link) need(n int) error {
	for l.w-l.r < n {
		if _, err := l.receive(nil, 0); err != nil {
			return err
		}
	}
	return nil
}

// next waits for the next PDU's header, and checks its digest and the length
// of its data segment. Additional headers are passed over: no PDU of a target
// has any.
func (l *link) next() error {
	if err := l.need(iscsi.BHSLen); err != nil {
		return err
	}
	l.h = iscsi.BHS(l.buf[l.r:])
	n := iscsi.BHSLen + l.h.AHSLen()
	digest := 0
	if l.headerDigest {
		digest = iscsi.DigestLen
	}
	if err := l.need(n + digest); err != nil {
		return err
	}
	if digest > 0 && iscsi.Digest(l.buf[l.r:l.r+n]) != iscsi.GetDigest(l.buf[l.r+n:]) {
		return peerErrorf("a header digest is wrong")
	}
	l.unread, l.sum = l.h.DataLen(), 0
	if l.unread > l.limit {
		return peerErrorf("a %v with %d bytes of data, at most %d were declared", l.h.Opcode(), l.unread, l.limit)
	}
	if l.trace != nil {
		l.seen = append(l.seen[:0], l.buf[l.r:l.r+n+digest]...)
	}
	l.r += n + digest
	return nil
}

// readData takes the next n bytes of the data segment into sink, which holds
// as many and whose slice headers it changes, and adds them to the digest.
func (l *link) readData(sink [][]byte, n int) error {
	for left := n; left > 0; {
		var got int
		if l.w > l.r {
			got = copy(sink[0], l.buf[l.r:l.w])
			l.r += got
		} else {
			var err error
			if got, err = l.receive(sink, left); err != nil {
				return err
			}
		}
		left -= got
		sink = l.filled(sink, got)
	}
	l.unread -= n
	return nil
}

// filled accounts for n bytes at the front of sink, and returns the rest.
func (l *link) filled(sink [][]byte, n int) [][]byte {
	for len(sink) > 0 && (n > 0 || len(sink[0]) == 0) {
		p := sink[0]
		m := min(n, len(p))
		l.took(p[:m])
		n -= m
		if m < len(p) {
			sink[0] = p[m:]
			break
		}
		sink = sink[1:]
	}
	return sink
}

// took accounts for bytes of the data segment.
func (l *link) took(p []byte) {
	if l.dataDigest {
		l.sum = iscsi.UpdateDigest(l.sum, p)
	}
	if l.trace != nil {
		l.seen = append(l.seen, p...)
	}
}

// readInto takes the start of the data segment into p, throws the rest away,
// and returns what is in p.
func (l *link) readInto(p []byte) ([]byte, error) {
	p = p[:min(len(p), l.unread)]
	if len(p) > 0 {
		l.sink = append(l.sink[:0], p)
		if err := l.readData(l.sink, len(p)); err != nil {
			return nil, err
		}
	}
	return p, l.endData()
}

// endData throws away what is left of the data segment, takes padding and
// digest, and checks that.
func (l *link) endData() error {
	for l.unread > 0 {
		if err := l.need(1); err != nil {
			return err
		}
		n := min(l.unread, l.w-l.r)
		l.took(l.buf[l.r : l.r+n])
		l.r += n
		l.unread -= n
	}
	n := l.h.DataLen()
	pad, digest := iscsi.Pad(n), 0
	if l.dataDigest && n > 0 {
		digest = iscsi.DigestLen
	}
	if err := l.need(pad + digest); err != nil {
		return err
	}
	// The digest covers the padding as it came, whatever it is.
	l.took(l.buf[l.r : l.r+pad])
	l.r += pad
	if digest > 0 {
		if l.sum != iscsi.GetDigest(l.buf[l.r:]) {
			return peerErrorf("the data digest of a %v is wrong", l.h.Opcode())
		}
		if l.trace != nil {
			l.seen = append(l.seen, l.buf[l.r:l.r+digest]...)
		}
		l.r += digest
	}
	if l.trace != nil {
		l.trace(Traced{PDU: l.seen, Local: l.conn.LocalAddr(), Remote: l.conn.RemoteAddr()})
	}
	return nil
}

// exchange sends one PDU and waits for the next one, whose data segment it
// returns: what logins and discovery do, which have one thing under way.
func (l *link) exchange(h *iscsi.BHS, data []byte) ([]byte, error) {
	p := append(make([]byte, 0, iscsi.BHSLen+len(data)+3+2*iscsi.DigestLen), h[:]...)
	if l.headerDigest {
		p = append(p, 0, 0, 0, 0)
		iscsi.PutDigest(p[iscsi.BHSLen:], iscsi.Digest(h[:]))
	}
	if len(data) > 0 {
		p = append(append(p, data...), padding[:iscsi.Pad(len(data))]...)
		if l.dataDigest {
			p = append(p, 0, 0, 0, 0)
			iscsi.PutDigest(p[len(p)-iscsi.DigestLen:], iscsi.PadDigest(iscsi.Digest(data), len(data)))
		}
	}
	if l.trace != nil {
		l.trace(Traced{Sent: true, PDU: p, Local: l.conn.LocalAddr(), Remote: l.conn.RemoteAddr()})
	}
	if _, err := l.conn.Write(p); err != nil {
		return nil, fmt.Errorf("send: %w", err)
	}
	if err := l.next(); err != nil {
		return nil, err
	}
	return l.readInto(make([]byte, l.unread))
}
