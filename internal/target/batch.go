package target

import (
	"sync/atomic"

	"sango/internal/bufpool"
	"sango/internal/iscsi"
	"sango/internal/scsi"
)

// The size of one writev: the limits at which a batch is cut. The arena holds
// headers, digests, padding and sense data.
const (
	arenaSize  = 16 << 10
	batchBytes = 1 << 20
	batchVec   = 512
	// maxPDU is what the parts of one PDU outside its data buffers may take in
	// the arena.
	maxPDU = iscsi.BHSLen + 4 + 2 + scsi.MaxSense + 3 + 4
)

// batch is what is being sent: items from the output queue, and the I/O
// vector of those PDUs that were encoded. It belongs to the holder of the
// sending token.
type batch struct {
	items    []item
	encoded  int // items before this one are in vec completely, or were sent
	freed    int // items before this one were sent and are gone
	exp, max iscsi.CmdSN

	vec   [][]byte
	at    int // vec before this was written
	size  int // bytes in vec when it was encoded
	arena *bufpool.Buf

	// Of the controls sent since the last settle.
	backlog, backlogBytes int

	// The session's parameters, constant once the login is over but for maxData.
	headerDigest, dataDigest bool
	maxBurst                 int
	maxData                  atomic.Int64 // the initiator's MaxRecvDataSegmentLength, which it may declare anew

	total    int64 // bytes encoded since the connection began
	pingMark func(end int64)
}

var padding [3]byte

// pending reports whether something encoded is still to be written.
func (b *batch) pending() bool { return b.at < len(b.vec) }

// wrote notes that n bytes of vec were written.
func (b *batch) wrote(n int) {
	for n > 0 {
		p := b.vec[b.at]
		if n < len(p) {
			b.vec[b.at] = p[n:]
			return
		}
		n -= len(p)
		b.at++
	}
	if b.pending() {
		return
	}
	b.release(b.encoded)
}

// release gives back items up to end, the vector and the arena.
func (b *batch) release(end int) {
	for ; b.freed < end; b.freed++ {
		it := &b.items[b.freed]
		if it.task != nil {
			it.task.free()
		} else {
			if it.ctl.backlog {
				b.backlog++
				b.backlogBytes += it.ctl.size()
			}
			it.ctl.free()
		}
		*it = item{}
	}
	if b.freed == len(b.items) {
		b.items, b.freed, b.encoded = b.items[:0], 0, 0
	}
	clear(b.vec)
	b.vec, b.at, b.size = b.vec[:0], 0, 0
	if b.arena != nil {
		b.arena.Release()
		b.arena = nil
	}
}

// drop gives everything back unsent.
func (b *batch) drop() { b.release(len(b.items)) }

// format encodes PDUs until the batch is full or the items are used up. It
// reports whether there is anything to write.
func (b *batch) format() bool {
	for b.encoded < len(b.items) && b.room() {
		it := &b.items[b.encoded]
		if it.task == nil {
			b.control(it)
		} else if !b.finish(it) {
			continue // more Data-In of the same task, if there is room
		}
		b.encoded++
	}
	return b.pending()
}

func (b *batch) room() bool {
	if b.arena == nil {
		b.arena = bufpool.Get(arenaSize)
		b.arena.B = b.arena.B[:0]
	}
	return cap(b.arena.B)-len(b.arena.B) >= maxPDU && b.size < batchBytes && len(b.vec) < batchVec
}

// finish encodes one PDU of a finished task. It reports true after the one
// that carries its status.
func (b *batch) finish(it *item) bool {
	t := it.task
	if n := t.In.Len() - t.sent; n > 0 && t.Read {
		return b.dataIn(t, it.statSN, n)
	}
	r := iscsi.SCSIResponse{
		Status: uint8(t.Status), ITT: t.itt, StatSN: it.statSN, ExpCmdSN: b.exp, MaxCmdSN: b.max,
		ExpDataSN: t.dataSN + t.r2tSN, Residual: iscsi.NewResidual(t.Expected, t.Want),
	}
	if t.bidi > 0 {
		r.BidiResidual = iscsi.Residual{Underflow: true, Count: t.bidi}
	}
	if len(t.Sense) > 0 {
		r.DataLen = 2 + min(len(t.Sense), scsi.MaxSense)
	}
	r.Put(b.header())
	b.endHeader()
	if r.DataLen > 0 {
		start := len(b.arena.B)
		b.arena.B = iscsi.AppendSense(b.arena.B, t.Sense[:r.DataLen-2])
		b.data(b.arena.B[start:])
		b.endData(r.DataLen, b.arena.B[start:])
	}
	return true
}

// dataIn encodes the next Data-In PDU of t, which has n bytes left. The last
// one takes the status with it where no sense data has to go (RFC 7143
// §11.7.3).
func (b *batch) dataIn(t *task, statSN iscsi.StatSN, n int) bool {
	inBurst := b.maxBurst - t.sent%b.maxBurst
	seg := min(n, int(b.maxData.Load()), inBurst)
	d := iscsi.DataIn{
		Final: seg == n || seg == inBurst, ITT: t.itt, TTT: iscsi.NoTTT, ExpCmdSN: b.exp, MaxCmdSN: b.max,
		DataSN: t.dataSN, Offset: uint32(t.sent), DataLen: seg,
	}
	last := seg == n && len(t.Sense) == 0 && (t.Status == scsi.Good || t.Status == scsi.ConditionMet)
	if last {
		d.HasStatus, d.Status, d.StatSN = true, uint8(t.Status), statSN
		d.Residual = iscsi.NewResidual(t.Expected, t.Want)
	}
	d.Put(b.header())
	b.endHeader()
	from := len(b.vec)
	b.vec = t.In.Slice(b.vec, t.sent, seg)
	b.size += seg
	b.total += int64(seg)
	b.endData(seg, b.vec[from:]...)
	t.sent += seg
	t.dataSN++
	return last
}

// control encodes a control.
func (b *batch) control(it *item) {
	k := it.ctl
	h := b.header()
	*h = k.h
	h.PutStatSN(it.statSN)
	h.PutWindow(b.exp, b.max)
	b.endHeader()
	if n := k.size(); n > 0 {
		b.data(k.data.B)
		b.endData(n, k.data.B)
	}
	if k.ping {
		b.pingMark(b.total)
	}
	if p := k.then; p != nil {
		b.headerDigest, b.dataDigest = p.HeaderDigest, p.DataDigest
		b.maxBurst = int(p.MaxBurstLength)
		b.maxData.Store(int64(p.MaxSend))
	}
}

// header makes room for a header in the arena.
func (b *batch) header() *iscsi.BHS {
	a := &b.arena.B
	*a = (*a)[:len(*a)+iscsi.BHSLen]
	return (*iscsi.BHS)((*a)[len(*a)-iscsi.BHSLen:])
}

// endHeader adds the header digest and puts the header into the vector.
func (b *batch) endHeader() {
	a := &b.arena.B
	start := len(*a) - iscsi.BHSLen
	if b.headerDigest {
		sum := iscsi.Digest((*a)[start:])
		*a = append(*a, 0, 0, 0, 0)
		iscsi.PutDigest((*a)[start+iscsi.BHSLen:], sum)
	}
	b.data((*a)[start:])
}

// data puts p into the vector.
func (b *batch) data(p []byte) {
	b.vec = append(b.vec, p)
	b.size += len(p)
	b.total += int64(len(p))
}

// endData adds padding and digest of a data segment of n bytes, which parts
// make up.
func (b *batch) endData(n int, parts ...[]byte) {
	a := &b.arena.B
	start := len(*a)
	*a = append(*a, padding[:iscsi.Pad(n)]...)
	if b.dataDigest {
		var sum uint32
		for _, p := range parts {
			sum = iscsi.UpdateDigest(sum, p)
		}
		*a = append(*a, 0, 0, 0, 0)
		iscsi.PutDigest((*a)[len(*a)-iscsi.DigestLen:], iscsi.PadDigest(sum, n))
	}
	if len(*a) > start {
		b.data((*a)[start:])
	}
}
