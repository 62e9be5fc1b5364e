package nbd

import "encoding/binary"

// InfoType names one piece of information about an export (NBD_INFO_*).
type InfoType uint16

// The pieces of information.
const (
	InfoExport      InfoType = 0 // always sent
	InfoName        InfoType = 1 // the canonical name
	InfoDescription InfoType = 2
	InfoBlockSize   InfoType = 3
)

// InfoRequest is the data of OptInfo and OptGo.
type InfoRequest struct {
	Export string
	Infos  []InfoType // what the client would like to know
}

// Wants reports whether the client asked for t.
func (r *InfoRequest) Wants(t InfoType) bool {
	for _, i := range r.Infos {
		if i == t {
			return true
		}
	}
	return false
}

// ParseInfoRequest reads the data of OptInfo or OptGo.
func ParseInfoRequest(b []byte) (InfoRequest, error) {
	name, rest, err := cutString("export request", b)
	if err != nil {
		return InfoRequest{}, err
	}
	if len(rest) < 2 {
		return InfoRequest{}, protocolErrorf("export request ends before the number of its items")
	}
	n := int(binary.BigEndian.Uint16(rest))
	rest = rest[2:]
	if err := checkLen("list of items", rest, 2*n); err != nil {
		return InfoRequest{}, err
	}
	r := InfoRequest{Export: name}
	for ; len(rest) > 0; rest = rest[2:] {
		r.Infos = append(r.Infos, InfoType(binary.BigEndian.Uint16(rest)))
	}
	return r, nil
}

// Append appends the message to b.
func (r InfoRequest) Append(b []byte) []byte {
	b = appendString(b, r.Export)
	b = binary.BigEndian.AppendUint16(b, uint16(len(r.Infos)))
	for _, i := range r.Infos {
		b = binary.BigEndian.AppendUint16(b, uint16(i))
	}
	return b
}

// Info is the data of a RepInfo reply. Type tells which fields count.
type Info struct {
	Type  InfoType
	Size  uint64            // InfoExport: bytes
	Flags TransmissionFlags // InfoExport
	Text  string            // InfoName, InfoDescription
	// InfoBlockSize: requests are multiples of MinBlock and best of Preferred;
	// reads and writes are at most MaxPayload long. All in bytes.
	MinBlock, Preferred, MaxPayload uint32
}

// ParseInfo reads the data of a RepInfo reply. An unknown type is no error.
func ParseInfo(b []byte) (Info, error) {
	if len(b) < 2 {
		return Info{}, protocolErrorf("information ends within its type")
	}
	i := Info{Type: InfoType(binary.BigEndian.Uint16(b))}
	b = b[2:]
	switch i.Type {
	case InfoExport:
		if err := checkLen("export information", b, 10); err != nil {
			return Info{}, err
		}
		i.Size, i.Flags = binary.BigEndian.Uint64(b), TransmissionFlags(binary.BigEndian.Uint16(b[8:]))
	case InfoName, InfoDescription:
		i.Text = string(b)
		return i, CheckString(i.Text)
	case InfoBlockSize:
		if err := checkLen("block size information", b, 12); err != nil {
			return Info{}, err
		}
		i.MinBlock, i.Preferred = binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
		i.MaxPayload = binary.BigEndian.Uint32(b[8:])
	}
	return i, nil
}

// Append appends the message to b.
func (i Info) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(i.Type))
	switch i.Type {
	case InfoExport:
		b = binary.BigEndian.AppendUint64(b, i.Size)
		b = binary.BigEndian.AppendUint16(b, uint16(i.Flags))
	case InfoName, InfoDescription:
		b = append(b, i.Text...)
	case InfoBlockSize:
		b = binary.BigEndian.AppendUint32(b, i.MinBlock)
		b = binary.BigEndian.AppendUint32(b, i.Preferred)
		b = binary.BigEndian.AppendUint32(b, i.MaxPayload)
	}
	return b
}
