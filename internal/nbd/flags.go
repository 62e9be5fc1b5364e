package nbd

// TransmissionFlags say what an export can do (NBD_FLAG_*, 16 bits).
type TransmissionFlags uint16

// The transmission flags.
const (
	FlagHasFlags        TransmissionFlags = 1 << iota // always set
	FlagReadOnly                                      // changes are refused
	FlagSendFlush                                     // CmdFlush
	FlagSendFUA                                       // CmdFlagFUA
	FlagRotational                                    // let the client schedule like an elevator
	FlagSendTrim                                      // CmdTrim
	FlagSendWriteZeroes                               // CmdWriteZeroes
	FlagSendDF                                        // CmdFlagDF; with structured replies only
	FlagCanMultiConn                                  // a flush on one connection covers writes ended on all others
	FlagSendResize                                    // CmdResize, an extension
	FlagSendCache                                     // CmdCache
	FlagSendFastZero                                  // CmdFlagFastZero
)

// HandshakeFlags are what the server offers at the start (16 bits).
type HandshakeFlags uint16

// The handshake flags.
const (
	FixedNewstyle HandshakeFlags = 1 << iota
	NoZeroes                     // the server may leave out the 124 zeros after OptExportName
)

// ClientFlags are the client's answer to HandshakeFlags (32 bits), with bits
// of the same meaning.
type ClientFlags uint32

// The client flags.
const (
	ClientFixedNewstyle ClientFlags = 1 << iota
	ClientNoZeroes
)
