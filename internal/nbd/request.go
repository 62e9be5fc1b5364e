package nbd

import (
	"encoding/binary"
	"fmt"
)

const requestMagic = 0x25609513

// Cmd is what a request does (NBD_CMD_*).
type Cmd uint16

// The commands.
const (
	CmdRead        Cmd = 0
	CmdWrite       Cmd = 1 // Length bytes of data follow the request
	CmdDisc        Cmd = 2 // no reply
	CmdFlush       Cmd = 3
	CmdTrim        Cmd = 4
	CmdCache       Cmd = 5
	CmdWriteZeroes Cmd = 6
	CmdBlockStatus Cmd = 7
	CmdResize      Cmd = 8 // an extension
)

var cmdNames = [...]string{"READ", "WRITE", "DISC", "FLUSH", "TRIM", "CACHE", "WRITE_ZEROES", "BLOCK_STATUS", "RESIZE"}

// String returns the name of the command in the protocol, without prefix.
func (c Cmd) String() string {
	if int(c) < len(cmdNames) {
		return cmdNames[c]
	}
	return fmt.Sprintf("command %d", uint16(c))
}

// CmdFlags modify a request (NBD_CMD_FLAG_*).
type CmdFlags uint16

// The command flags.
const (
	CmdFlagFUA      CmdFlags = 1 << iota // reply when the data is stable; may come with every command
	CmdFlagNoHole                        // CmdWriteZeroes: keep the range allocated
	CmdFlagDF                            // CmdRead: one chunk
	CmdFlagReqOne                        // CmdBlockStatus: one extent
	CmdFlagFastZero                      // CmdWriteZeroes: ENOTSUP unless faster than writing
)

// RequestLen is the length of a Request in bytes.
const RequestLen = 28

// Request is a request with a compact header (section "Request message").
type Request struct {
	Flags  CmdFlags
	Cmd    Cmd
	Cookie uint64 // the client's; comes back in the reply
	Offset uint64 // bytes
	Length uint32 // bytes
}

// ParseRequest reads a request.
func ParseRequest(b []byte) (Request, error) {
	if err := checkLen("request", b, RequestLen); err != nil {
		return Request{}, err
	}
	if m := binary.BigEndian.Uint32(b); m != requestMagic {
		return Request{}, protocolErrorf("request with magic %#x", m)
	}
	return Request{
		Flags:  CmdFlags(binary.BigEndian.Uint16(b[4:])),
		Cmd:    Cmd(binary.BigEndian.Uint16(b[6:])),
		Cookie: binary.BigEndian.Uint64(b[8:]),
		Offset: binary.BigEndian.Uint64(b[16:]),
		Length: binary.BigEndian.Uint32(b[24:]),
	}, nil
}

// Append appends the message to b.
func (r Request) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, requestMagic)
	b = binary.BigEndian.AppendUint16(b, uint16(r.Flags))
	b = binary.BigEndian.AppendUint16(b, uint16(r.Cmd))
	b = binary.BigEndian.AppendUint64(b, r.Cookie)
	b = binary.BigEndian.AppendUint64(b, r.Offset)
	return binary.BigEndian.AppendUint32(b, r.Length)
}
