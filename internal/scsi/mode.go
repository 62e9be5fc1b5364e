package scsi

import "encoding/binary"

// Mode page codes (SPC-4 table 498, SBC-3 table 190).
const (
	ModeErrorRecovery  uint8 = 0x01 // read-write error recovery
	ModeCaching        uint8 = 0x08
	ModeControl        uint8 = 0x0a // subpage 01h: control extension
	ModeInfoExceptions uint8 = 0x1c // informational exceptions control
	ModeAllPages       uint8 = 0x3f
	ModeAllSubpages    uint8 = 0xff
	ControlExtension   uint8 = 0x01 // subpage of ModeControl
	modeDPOFUA         byte  = 0x10 // DPOFUA in the device-specific parameter (SBC-3 table 188)
	modeWriteProtect   byte  = 0x80 // WP
	modeLongLBA        byte  = 0x01 // LONGLBA in the header
)

// ModePage is one page of a mode parameter list: its code, its subpage, and
// the parameters that follow the page header (SPC-4 §7.5.7).
type ModePage struct {
	Page    uint8
	Subpage uint8 // 0: page_0 format
	Saved   bool  // PS: the page can be saved; means nothing in MODE SELECT
	Params  []byte
}

// Append appends the page: page_0 format for subpage 0, else sub_page format.
func (p *ModePage) Append(b []byte) []byte {
	if p.Subpage == 0 {
		b = append(b, bit(p.Saved, 7)|p.Page&0x3f, byte(len(p.Params)))
	} else {
		b = append(b, bit(p.Saved, 7)|0x40|p.Page&0x3f, p.Subpage)
		b = binary.BigEndian.AppendUint16(b, uint16(len(p.Params)))
	}
	return append(b, p.Params...)
}

// HeaderLen returns the length of the page's own header: 2 or 4 bytes.
func (p *ModePage) HeaderLen() int {
	if p.Subpage == 0 {
		return 2
	}
	return 4
}

// BlockDescriptor is a mode parameter block descriptor (SBC-3 §6.4.2).
type BlockDescriptor struct {
	Blocks    uint64 // saturates at FFFFFFFFh in the short form
	BlockSize uint32 // bytes; below 1<<24 in the short form
}

// ModeHeader is what stands before the pages of a mode parameter list
// (SPC-4 §7.5.4).
type ModeHeader struct {
	Long         bool // header of the 10-byte commands
	LongLBA      bool // 16-byte block descriptors; only with Long
	WriteProtect bool // WP
	DPOFUA       bool
	Medium       uint8 // MEDIUM TYPE, 0 for direct access devices
	Descriptors  []BlockDescriptor
}

// AppendModeData appends the parameter data of MODE SENSE. It is false when
// the pages are too long for the header's MODE DATA LENGTH.
func AppendModeData(b []byte, h *ModeHeader, pages []ModePage) ([]byte, bool) {
	start := len(b)
	specific := byte(0)
	if h.WriteProtect {
		specific |= modeWriteProtect
	}
	if h.DPOFUA {
		specific |= modeDPOFUA
	}
	size := 8
	if h.Long && h.LongLBA {
		size = 16
	}
	n := len(h.Descriptors) * size
	if h.Long {
		b = append(b, 0, 0, h.Medium, specific, bit(size == 16, 0), 0, byte(n>>8), byte(n))
	} else {
		b = append(b, 0, h.Medium, specific, byte(n))
	}
	for _, d := range h.Descriptors {
		if size == 16 {
			b = binary.BigEndian.AppendUint64(b, d.Blocks)
			b = append(b, 0, 0, 0, 0)
			b = binary.BigEndian.AppendUint32(b, d.BlockSize)
			continue
		}
		b = binary.BigEndian.AppendUint32(b, uint32(min(d.Blocks, 1<<32-1)))
		b = binary.BigEndian.AppendUint32(b, d.BlockSize&0xffffff)
	}
	for i := range pages {
		b = pages[i].Append(b)
	}
	if h.Long {
		binary.BigEndian.PutUint16(b[start:], uint16(len(b)-start-2))
		return b, len(b)-start-2 <= 0xffff
	}
	b[start] = byte(len(b) - start - 1)
	return b, len(b)-start-1 <= 0xff
}

// ModeList is a mode parameter list as MODE SELECT carries it.
type ModeList struct {
	Header ModeHeader
	Pages  []SelectedPage
}

// SelectedPage is a page of a ModeList, with its place in the list for field
// pointers.
type SelectedPage struct {
	ModePage
	At int // offset of the page header, in bytes
}

// ParamAt returns the offset in the list of byte i of the page as the standards
// number it: byte 0 is the first of the page header.
func (p *SelectedPage) ParamAt(i int) uint16 { return uint16(p.At + i) }

// ParseModeList reads the parameter list of MODE SELECT, whose length is that
// of b; long says that it is MODE SELECT(10). The errors are what the command
// is to end with: PARAMETER LIST LENGTH ERROR when the list is cut inside a
// header, descriptor or page, INVALID FIELD IN PARAMETER LIST with a field
// pointer otherwise. An empty list is no error (SPC-4 §6.9). Params are parts
// of b.
func ParseModeList(b []byte, long bool) (*ModeList, *CheckCondition) {
	l := &ModeList{Header: ModeHeader{Long: long}}
	if len(b) == 0 {
		return l, nil
	}
	truncated := Check(IllegalRequest, ASCParameterListLength)
	head, specific := 4, 2
	if long {
		head, specific = 8, 3
	}
	if len(b) < head {
		return nil, truncated
	}
	// Fields that are reserved in MODE SELECT but not in MODE SENSE (MODE DATA
	// LENGTH, PS) are not looked at: hosts send back what they were given.
	l.Header.Medium = b[specific-1]
	l.Header.WriteProtect = b[specific]&modeWriteProtect != 0
	l.Header.DPOFUA = b[specific]&modeDPOFUA != 0
	size, descriptors := 8, int(b[3])
	if long {
		if l.Header.LongLBA = b[4]&modeLongLBA != 0; l.Header.LongLBA {
			size = 16
		}
		descriptors = int(binary.BigEndian.Uint16(b[6:]))
	}
	if descriptors%size != 0 {
		return nil, InvalidParameter(uint16(head-1), -1)
	}
	if len(b) < head+descriptors {
		return nil, truncated
	}
	at := head
	for ; at < head+descriptors; at += size {
		d := BlockDescriptor{uint64(binary.BigEndian.Uint32(b[at:])), binary.BigEndian.Uint32(b[at+4:]) & 0xffffff}
		if size == 16 {
			d = BlockDescriptor{binary.BigEndian.Uint64(b[at:]), binary.BigEndian.Uint32(b[at+12:])}
		}
		l.Header.Descriptors = append(l.Header.Descriptors, d)
	}
	for at < len(b) {
		p, n, cc := parseSelectedPage(b, at)
		if cc != nil {
			return nil, cc
		}
		l.Pages = append(l.Pages, p)
		at += n
	}
	return l, nil
}

func parseSelectedPage(b []byte, at int) (SelectedPage, int, *CheckCondition) {
	truncated := Check(IllegalRequest, ASCParameterListLength)
	rest := b[at:]
	if len(rest) < 2 {
		return SelectedPage{}, 0, truncated
	}
	p := SelectedPage{ModePage: ModePage{Page: rest[0] & 0x3f, Saved: rest[0]&0x80 != 0}, At: at}
	head, n := 2, int(rest[1])
	if rest[0]&0x40 != 0 {
		if len(rest) < 4 {
			return SelectedPage{}, 0, truncated
		}
		p.Subpage = rest[1]
		head, n = 4, int(binary.BigEndian.Uint16(rest[2:]))
		if p.Subpage == 0 || p.Subpage == ModeAllSubpages {
			return SelectedPage{}, 0, InvalidParameter(uint16(at+1), -1)
		}
	}
	if len(rest) < head+n {
		return SelectedPage{}, 0, truncated
	}
	p.Params = rest[head : head+n : head+n]
	return p, head + n, nil
}
