package target

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"sango/internal/bufpool"
	"sango/internal/defect"
	"sango/internal/iscsi"
)

// inputSize is the size of the read buffer, in bytes: 15 commands with 4 KiB
// of immediate data each, or the headers of more commands than a window has.
const inputSize = 64 << 10

// directSize is from which data segment on, in bytes, more of that size is
// expected to follow. directTail is how much a read takes then beyond the rest
// of it: the next header, and little of its data, which is better read straight
// into its task's buffers.
const (
	directSize = 16 << 10
	directTail = 2 << 10
)

// heldReplies is how many replies wait for the rest of a large data segment, if
// that is there already: each one sent wakes the initiator up.
const heldReplies = 8

// input is the read half of a connection. It belongs to the reader.
type input struct {
	buf  *bufpool.Buf // nil while the reader waits for the first byte of a PDU
	r, w int          // buf.B[r:w] was read and not yet consumed
	vec  [][]byte

	// Arrival times (DESIGN R4 b): bytes before mark came with an earlier read.
	mark       int
	older      time.Time
	newer      time.Time
	pduArrival time.Time // of the PDU at hand

	h      iscsi.BHS // the header at hand
	ahs    []byte    // its additional headers
	bidi   uint32    // bidirectional read length from those
	ahsErr error     // they are malformed
	unread int       // bytes of its data segment that were not taken yet
	sum    uint32    // digest of those that were
}

// errEnded ends the reader when the connection was ended from elsewhere; why
// is in conn.ending.
var errEnded = errors.New("ended")

// receive waits until at least one byte came, which goes to sink first and to
// the buffer after that. It returns the number of bytes that went to sink. The
// output is flushed before, or with a large data segment at hand at the latest
// before a wait.
func (c *conn) receive(sink [][]byte, want int) (int, error) {
	in := &c.in
	if in.r > 0 {
		n := copy(in.buf.B, in.buf.B[in.r:in.w])
		in.r, in.w = 0, n
		in.mark = 0
	}
	if in.w > 0 { // the rest of what came before keeps its arrival time
		in.mark, in.older = in.w, in.arrivalAt(0)
	}
	large := want > 0 && (in.h.Opcode() == iscsi.OpDataOut || in.h.DataLen() >= directSize)
	lend := in.w == 0 && want == 0 // a wait needs no buffer: an idle session holds none
	if !lend {
		tail := in.buf.B[in.w:]
		if large && len(tail) > directTail {
			tail = tail[:directTail]
		}
		in.vec = append(append(in.vec[:0], sink...), tail)
	}
	if c.sock.dry = nil; large && c.mayHold() {
		c.sock.dry = c.flushFn
	} else {
		c.flush()
	}
	for {
		now := time.Now()
		if err := c.tick(now); err != nil {
			return 0, err
		}
		var n int
		var err error
		if lend {
			n, err = c.sock.readBuf(&in.buf, inputSize)
		} else {
			n, err = c.sock.read(in.vec)
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if err != nil {
			return 0, err
		}
		now = time.Now()
		if now.Sub(c.sock.arrival) > c.srv.cfg.stale && c.sock.hungUp() && !defect.R4a {
			return 0, errHangUp // whatever came before it is not executed (DESIGN R4 a)
		}
		in.newer = c.sock.arrival
		c.cork()
		direct := min(n, want)
		in.w += n - direct
		clear(in.vec)
		return direct, nil
	}
}

// arrivalAt returns the arrival time of the buffered byte at offset off.
func (in *input) arrivalAt(off int) time.Time {
	if off < in.mark {
		return in.older
	}
	return in.newer
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

// nextHeader waits for the next PDU's header, and checks its digest and the
// length of its data segment against limit. Errors of either are the end of
// the connection: at ErrorRecoveryLevel 0 there is no way to find the next PDU
// (RFC 7143 §7.7).
func (c *conn) nextHeader(limit int) error {
	in := &c.in
	if err := c.need(iscsi.BHSLen); err != nil {
		return err
	}
	if in.pduArrival = in.arrivalAt(in.r); defect.R4b {
		in.pduArrival = time.Now()
	}
	in.h = iscsi.BHS(in.buf.B[in.r:])
	n := iscsi.BHSLen + in.h.AHSLen()
	digest := 0
	if c.params.HeaderDigest {
		digest = iscsi.DigestLen
	}
	if err := c.need(n + digest); err != nil {
		return err
	}
	header := in.buf.B[in.r : in.r+n]
	if digest > 0 && iscsi.Digest(header) != iscsi.GetDigest(in.buf.B[in.r+n:]) {
		return errHeaderDigest
	}
	in.ahs = append(in.ahs[:0], header[iscsi.BHSLen:]...)
	in.bidi, in.ahsErr = bidiLength(in.ahs)
	in.r += n + digest
	in.unread, in.sum = in.h.DataLen(), 0
	if in.unread > limit {
		return fmt.Errorf("%w: a %v with %d bytes of data, at most %d are taken", errTooLong, in.h.Opcode(), in.unread, limit)
	}
	return nil
}

// bidiLength returns the expected bidirectional read length that the
// additional headers announce, 0 without one.
func bidiLength(b []byte) (uint32, error) {
	var n uint32
	for len(b) > 0 {
		a, rest, err := iscsi.NextAHS(b)
		if err != nil {
			return 0, err
		}
		if a.Type == iscsi.AHSBidiExpected {
			n = binary.BigEndian.Uint32(a.Data)
		}
		b = rest
	}
	return n, nil
}

// readData takes the next bytes of the data segment into sink, which holds n
// bytes, and adds them to the digest.
func (c *conn) readData(sink [][]byte, n int) error {
	in := &c.in
	left := n
	at := 0 // sink[:at] is full
	for left > 0 {
		if in.w == in.r {
			got, err := c.receive(sink[at:], left)
			if err != nil {
				return err
			}
			left -= got
			at += c.filled(sink[at:], got)
			continue
		}
		p := sink[at]
		m := copy(p, in.buf.B[in.r:in.w])
		in.r += m
		left -= m
		at += c.filled(sink[at:], m)
	}
	in.unread -= n
	return nil
}

// filled cuts n bytes off the front of sink, whose slice headers it changes,
// and returns the number of slices that are full. The bytes go into the
// digest where there is one.
func (c *conn) filled(sink [][]byte, n int) int {
	full := 0
	for n > 0 {
		p := sink[full]
		m := min(n, len(p))
		if c.params.DataDigest {
			c.in.sum = iscsi.UpdateDigest(c.in.sum, p[:m])
		}
		n -= m
		sink[full] = p[m:]
		if m == len(p) {
			full++
		}
	}
	return full
}

// skipData throws the rest of the data segment away.
func (c *conn) skipData() error {
	in := &c.in
	for in.unread > 0 {
		if err := c.need(1); err != nil {
			return err
		}
		n := min(in.unread, in.w-in.r)
		if c.params.DataDigest {
			in.sum = iscsi.UpdateDigest(in.sum, in.buf.B[in.r:in.r+n])
		}
		in.r += n
		in.unread -= n
	}
	return nil
}

// endData throws away what is left of the data segment, and takes padding and
// digest. It reports whether the digest was right.
func (c *conn) endData() (bool, error) {
	in := &c.in
	if err := c.skipData(); err != nil {
		return false, err
	}
	n := in.h.DataLen()
	pad := iscsi.Pad(n)
	digest := 0
	if c.params.DataDigest && n > 0 {
		digest = iscsi.DigestLen
	}
	if err := c.need(pad + digest); err != nil {
		return false, err
	}
	// The digest covers the padding as it came, whatever it is.
	sum := iscsi.UpdateDigest(in.sum, in.buf.B[in.r:in.r+pad])
	in.r += pad
	if digest == 0 {
		return true, nil
	}
	ok := sum == iscsi.GetDigest(in.buf.B[in.r:])
	in.r += digest
	return ok, nil
}

// readAll returns the whole data segment, which must be short, and reports
// whether its digest was right. The caller releases the buffer.
func (c *conn) readAll() (*bufpool.Buf, bool, error) {
	b := bufpool.Get(c.in.unread)
	sink := append(c.sink[:0], b.B)
	err := c.readData(sink, len(b.B))
	clear(sink)
	ok := false
	if err == nil {
		ok, err = c.endData()
	}
	if err != nil {
		b.Release()
		return nil, false, err
	}
	return b, ok, nil
}
