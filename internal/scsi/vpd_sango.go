package scsi

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"sango/internal/san"
)

// SangoPage is VPD page C0h: what a Sango target offers an initiator that
// fences its own sessions (docs/fence.md).
type SangoPage struct {
	Fence        bool          // FENCE is served
	MaxInstances uint16        // in one FENCE command
	PingTime     time.Duration // after which a session with a silent peer has ended; whole milliseconds
	MaxAge       time.Duration // an older command is not executed any more; whole milliseconds
	Instance     san.Instance  // of the session that asks, zero when it has none
	Boot         san.UUID      // of the machine that holds what is cached of the volume, zero when it isn't told
}

const (
	sangoPageLen   = 64
	sangoSignature = "SANGO   "
	sangoVersion   = 1
)

// Append appends the page, 64 bytes.
func (s *SangoPage) Append(b []byte, peripheral byte) []byte {
	var p [sangoPageLen]byte
	p[0], p[1], p[3] = peripheral, byte(VPDSango), sangoPageLen-vpdHeaderLen
	copy(p[4:], sangoSignature)
	p[12], p[13] = sangoVersion, bit(!s.Instance.IsZero(), 1)|bit(s.Fence, 0)
	binary.BigEndian.PutUint16(p[14:], s.MaxInstances)
	binary.BigEndian.PutUint32(p[16:], milliseconds(s.PingTime))
	binary.BigEndian.PutUint32(p[20:], milliseconds(s.MaxAge))
	s.Instance.Append(p[24:24])
	copy(p[44:60], s.Boot[:])
	return append(b, p[:]...)
}

// milliseconds rounds up: both times of the page are bounds.
func milliseconds(d time.Duration) uint32 {
	return uint32(min(max(d+time.Millisecond-1, 0)/time.Millisecond, math.MaxUint32))
}

// ParseSangoPage reads page C0h. It fails for a vendor's page of another kind,
// which is no error of that vendor's.
func ParseSangoPage(p []byte) (SangoPage, error) {
	if len(p) < sangoPageLen {
		return SangoPage{}, short("VPD page C0h", len(p), sangoPageLen)
	}
	n, version := binary.BigEndian.Uint16(p[2:]), p[12]
	if VPDPage(p[1]) != VPDSango || n < sangoPageLen-vpdHeaderLen || string(p[4:12]) != sangoSignature || version != sangoVersion {
		return SangoPage{}, fmt.Errorf("VPD page C0h: not Sango's: page %02xh, %d bytes, signature %q, version %d", p[1], n, p[4:12], version)
	}
	s := SangoPage{
		Fence: p[13]&0x01 != 0, MaxInstances: binary.BigEndian.Uint16(p[14:]),
		PingTime: time.Duration(binary.BigEndian.Uint32(p[16:])) * time.Millisecond,
		MaxAge:   time.Duration(binary.BigEndian.Uint32(p[20:])) * time.Millisecond,
		Boot:     san.UUID(p[44:60]),
	}
	if p[13]&0x02 != 0 {
		i, err := san.ParseInstance(p[24 : 24+san.InstanceLen])
		if err != nil {
			return SangoPage{}, fmt.Errorf("VPD page C0h: %w", err)
		}
		s.Instance = i
	}
	return s, nil
}
