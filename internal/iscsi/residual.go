package iscsi

// Residual is the difference between what a command would move and the
// expected data transfer length, as SCSI Response and Data-In PDUs carry it
// (RFC 7143 §11.4.5.1).
type Residual struct {
	Overflow  bool // Count bytes were not moved because more was there than expected
	Underflow bool // Count bytes of those expected were not moved
	Count     uint32
}

// NewResidual returns the residual of a command that would move want bytes
// when expected were announced. A count past 2^32−1 is cut to it.
func NewResidual(expected uint32, want uint64) Residual {
	switch e := uint64(expected); {
	case want > e:
		return Residual{Overflow: true, Count: uint32(min(want-e, 0xffffffff))}
	case want < e:
		return Residual{Underflow: true, Count: uint32(e - want)}
	}
	return Residual{}
}

// The flags of byte 1.
const (
	overflowBit      = 0x04
	underflowBit     = 0x02
	bidiOverflowBit  = 0x10
	bidiUnderflowBit = 0x08
)

// parseResidual reads a residual whose flags are over and under. Both at once
// are an error of the peer (RFC 7143 §11.4.1), and count is ignored with
// neither.
func parseResidual(flags, over, under byte, count uint32) (Residual, error) {
	r := Residual{Overflow: flags&over != 0, Underflow: flags&under != 0, Count: count}
	if r.Overflow && r.Underflow {
		return Residual{}, protocolErrorf(RejectInvalidField, "residual overflow and underflow at once")
	}
	if !r.Overflow && !r.Underflow {
		r.Count = 0
	}
	return r, nil
}

func (r Residual) put(h *BHS, over, under byte, at int) {
	h.flag(1, over, r.Overflow)
	h.flag(1, under, r.Underflow)
	if r.Overflow || r.Underflow {
		h.put32(at, r.Count)
	}
}
