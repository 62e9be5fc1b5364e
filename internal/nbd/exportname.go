package nbd

import "encoding/binary"

const exportNameZeroes = 124

// ExportNameReply answers OptExportName, without an OptionReply before it; the
// transmission phase follows it.
type ExportNameReply struct {
	Size   uint64 // bytes
	Flags  TransmissionFlags
	Zeroes bool // 124 zeros follow; false with ClientNoZeroes
}

// ParseExportNameReply reads the answer to OptExportName.
func ParseExportNameReply(b []byte, zeroes bool) (ExportNameReply, error) {
	want := 10
	if zeroes {
		want += exportNameZeroes
	}
	if err := checkLen("answer to EXPORT_NAME", b, want); err != nil {
		return ExportNameReply{}, err
	}
	return ExportNameReply{
		Size: binary.BigEndian.Uint64(b), Flags: TransmissionFlags(binary.BigEndian.Uint16(b[8:])), Zeroes: zeroes,
	}, nil
}

// Append appends the message to b.
func (r ExportNameReply) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, r.Size)
	b = binary.BigEndian.AppendUint16(b, uint16(r.Flags))
	if r.Zeroes {
		b = append(b, make([]byte, exportNameZeroes)...)
	}
	return b
}
