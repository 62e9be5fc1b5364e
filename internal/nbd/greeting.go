package nbd

import "encoding/binary"

const (
	initMagic   = 0x4e42444d41474943 // "NBDMAGIC"
	optionMagic = 0x49484156454f5054 // "IHAVEOPT"
)

// GreetingLen is the length of a Greeting in bytes.
const GreetingLen = 18

// Greeting is the first message of a newstyle server (section "Newstyle
// negotiation").
type Greeting struct {
	Flags HandshakeFlags
}

// ParseGreeting reads a greeting. It refuses the oldstyle one.
func ParseGreeting(b []byte) (Greeting, error) {
	if err := checkLen("greeting", b, GreetingLen); err != nil {
		return Greeting{}, err
	}
	if binary.BigEndian.Uint64(b) != initMagic || binary.BigEndian.Uint64(b[8:]) != optionMagic {
		return Greeting{}, protocolErrorf("greeting with magic %x, which no newstyle server sends", b[:16])
	}
	return Greeting{Flags: HandshakeFlags(binary.BigEndian.Uint16(b[16:]))}, nil
}

// Append appends the message to b.
func (g Greeting) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, initMagic)
	b = binary.BigEndian.AppendUint64(b, optionMagic)
	return binary.BigEndian.AppendUint16(b, uint16(g.Flags))
}

// ClientFlagsLen is the length of the client's answer to the greeting in bytes.
const ClientFlagsLen = 4

// ParseClientFlags reads the client's answer to the greeting. Unknown flags are
// refused: the server would not know what the client expects.
func ParseClientFlags(b []byte) (ClientFlags, error) {
	if err := checkLen("client flags", b, ClientFlagsLen); err != nil {
		return 0, err
	}
	f := ClientFlags(binary.BigEndian.Uint32(b))
	if bad := f &^ (ClientFixedNewstyle | ClientNoZeroes); bad != 0 {
		return 0, protocolErrorf("unknown client flags %#x", uint32(bad))
	}
	return f, nil
}

// Append appends the message to b.
func (f ClientFlags) Append(b []byte) []byte { return binary.BigEndian.AppendUint32(b, uint32(f)) }
