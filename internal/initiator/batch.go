package initiator

import "sango/internal/iscsi"

// The size of one writev: the limits at which a batch is cut. The arena holds
// headers, padding and digests.
const (
	arenaSize  = 32 << 10
	batchBytes = 1 << 20
	batchVec   = 512
	// maxPDU is what the parts of one PDU outside its data take in the arena.
	maxPDU = iscsi.BHSLen + iscsi.DigestLen + 3 + iscsi.DigestLen
)

var padding [3]byte

// batch is what is being sent: items, and the I/O vector of those PDUs that
// were encoded. It belongs to the holder of the sending token.
type batch struct {
	items     []item
	encoded   int // items before this one are in vec completely
	expStatSN iscsi.StatSN

	vec   [][]byte
	at    int // vec before this was written
	size  int // bytes in vec when it was encoded
	arena []byte
	pdus  int
	total int64 // bytes encoded since the login

	// Constant for the session.
	headerDigest, dataDigest bool
	maxSend                  int
	tags                     func(slot int) iscsi.ITT
	trace                    func(pdu []byte)
	seen                     []byte
}

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
}

// reset forgets what was written.
func (b *batch) reset() {
	n := copy(b.items, b.items[b.encoded:])
	clear(b.items[n:])
	b.items, b.encoded = b.items[:n], 0
	clear(b.vec)
	b.vec, b.at, b.size, b.arena = b.vec[:0], 0, 0, b.arena[:0]
}

// format encodes PDUs until the batch is full or the items are used up.
func (b *batch) format() {
	for b.encoded < len(b.items) && b.room() {
		it := &b.items[b.encoded]
		from := len(b.vec)
		switch it.kind {
		case sendHeader:
			*b.header() = it.h
			b.endHeader()
		case sendCommand:
			it.start = b.total
			*b.header() = it.h
			b.endHeader()
			b.data(it.out, 0, it.end)
		case sendBurst:
			if it.at < it.end {
				b.dataOut(it)
			}
		}
		if b.trace != nil && len(b.vec) > from {
			b.seen = b.seen[:0]
			for _, p := range b.vec[from:] {
				b.seen = append(b.seen, p...)
			}
			b.trace(b.seen)
		}
		if it.kind != sendBurst || it.at == it.end {
			b.encoded++
		}
	}
}

func (b *batch) room() bool {
	return cap(b.arena)-len(b.arena) >= maxPDU && b.size < batchBytes && len(b.vec) < batchVec
}

// dataOut encodes the next Data-Out PDU of a burst.
func (b *batch) dataOut(it *item) {
	n := min(it.end-it.at, b.maxSend)
	d := iscsi.DataOut{
		Final: n == it.end-it.at, LUN: it.lun, ITT: b.tags(it.slot), TTT: it.ttt, ExpStatSN: b.expStatSN,
		DataSN: it.dataSN, Offset: uint32(it.at), DataLen: n,
	}
	d.Put(b.header())
	b.endHeader()
	b.data(it.out, it.at, n)
	it.at += n
	it.dataSN++
}

// header makes room for a header in the arena.
func (b *batch) header() *iscsi.BHS {
	n := len(b.arena)
	b.arena = b.arena[:n+iscsi.BHSLen]
	return (*iscsi.BHS)(b.arena[n:])
}

// endHeader adds the header digest and puts the header into the vector.
func (b *batch) endHeader() {
	start := len(b.arena) - iscsi.BHSLen
	if b.headerDigest {
		sum := iscsi.Digest(b.arena[start:])
		b.arena = append(b.arena, 0, 0, 0, 0)
		iscsi.PutDigest(b.arena[start+iscsi.BHSLen:], sum)
	}
	b.put(b.arena[start:])
	b.pdus++
}

// data encodes the data segment out[off:off+n] with padding and digest.
func (b *batch) data(out [][]byte, off, n int) {
	if n == 0 {
		return
	}
	var sum uint32
	for left := n; left > 0; out = out[1:] {
		p := out[0]
		if off >= len(p) {
			off -= len(p)
			continue
		}
		p = p[off:min(len(p), off+left)]
		off = 0
		left -= len(p)
		if b.dataDigest {
			sum = iscsi.UpdateDigest(sum, p)
		}
		b.put(p)
	}
	start := len(b.arena)
	b.arena = append(b.arena, padding[:iscsi.Pad(n)]...)
	if b.dataDigest {
		b.arena = append(b.arena, 0, 0, 0, 0)
		iscsi.PutDigest(b.arena[len(b.arena)-iscsi.DigestLen:], iscsi.PadDigest(sum, n))
	}
	if len(b.arena) > start {
		b.put(b.arena[start:])
	}
}

// put puts p into the vector.
func (b *batch) put(p []byte) {
	b.vec = append(b.vec, p)
	b.size += len(p)
	b.total += int64(len(p))
}
