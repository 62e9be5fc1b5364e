package iscsi

import "sango/internal/san"

// The names of the keys of RFC 7143 §13 and §12.1.
const (
	KeyAuthMethod           = "AuthMethod"
	KeyCHAPAlgorithm        = "CHAP_A"
	KeyCHAPIdentifier       = "CHAP_I"
	KeyCHAPChallenge        = "CHAP_C"
	KeyCHAPName             = "CHAP_N"
	KeyCHAPResponse         = "CHAP_R"
	KeyHeaderDigest         = "HeaderDigest"
	KeyDataDigest           = "DataDigest"
	KeyMaxConnections       = "MaxConnections"
	KeySendTargets          = "SendTargets"
	KeyTargetName           = "TargetName"
	KeyInitiatorName        = "InitiatorName"
	KeyTargetAlias          = "TargetAlias"
	KeyInitiatorAlias       = "InitiatorAlias"
	KeyTargetAddress        = "TargetAddress"
	KeyTargetPortalGroupTag = "TargetPortalGroupTag"
	KeyInitialR2T           = "InitialR2T"
	KeyImmediateData        = "ImmediateData"
	KeyMaxRecvSegment       = "MaxRecvDataSegmentLength"
	KeyMaxBurst             = "MaxBurstLength"
	KeyFirstBurst           = "FirstBurstLength"
	KeyTime2Wait            = "DefaultTime2Wait"
	KeyTime2Retain          = "DefaultTime2Retain"
	KeyMaxOutstandingR2T    = "MaxOutstandingR2T"
	KeyDataPDUInOrder       = "DataPDUInOrder"
	KeyDataSequenceInOrder  = "DataSequenceInOrder"
	KeyErrorRecoveryLevel   = "ErrorRecoveryLevel"
	KeySessionType          = "SessionType"
	KeyTaskReporting        = "TaskReporting"
	KeyProtocolLevel        = "iSCSIProtocolLevel"
	KeyIFMarker             = "IFMarker"
	KeyOFMarker             = "OFMarker"
	KeyIFMarkInt            = "IFMarkInt"
	KeyOFMarkInt            = "OFMarkInt"
	KeyInstance             = "X-io.sango.Instance" // docs/fence.md
)

// The values of list and enumeration keys.
const (
	DigestCRC32C    = "CRC32C"
	MethodCHAP      = "CHAP"
	TypeDiscovery   = "Discovery"
	TypeNormal      = "Normal"
	ReportingRFC    = "RFC3720" // TaskReporting: the default
	SendTargetsAll  = "All"
	protocolLevel   = 1 // RFC 7143 itself
	minSegment      = 512
	maxSegment      = MaxDataSegment
	maxTimeout      = 3600
	defaultSegment  = 8192
	defaultMaxBurst = 262144
	defaultFirst    = 65536
)

// LoginSegment is the longest data segment of either side until its
// MaxRecvDataSegmentLength is in force, in bytes: the key's default.
const LoginSegment = defaultSegment

// Params is what the two sides of a session have agreed on, by name as in
// RFC 7143 §13.
type Params struct {
	Discovery      bool // SessionType
	InitiatorName  string
	InitiatorAlias string
	TargetName     string // empty in a discovery session, as a rule

	HeaderDigest        bool // CRC32C
	DataDigest          bool // CRC32C
	MaxConnections      uint16
	InitialR2T          bool
	ImmediateData       bool
	MaxBurstLength      uint32 // bytes
	FirstBurstLength    uint32 // bytes, at most MaxBurstLength
	MaxOutstandingR2T   uint16
	DefaultTime2Wait    uint16 // seconds
	DefaultTime2Retain  uint16 // seconds
	DataPDUInOrder      bool
	DataSequenceInOrder bool
	ErrorRecoveryLevel  uint8
	ProtocolLevel       uint8
	Instance            san.Instance // that the initiator declared; docs/fence.md

	MaxSend int // the peer's MaxRecvDataSegmentLength, bytes
	MaxRecv int // ours as declared, bytes
}

// DefaultParams returns what holds where nothing is negotiated.
func DefaultParams() Params {
	return Params{
		MaxConnections:      1,
		InitialR2T:          true,
		ImmediateData:       true,
		MaxBurstLength:      defaultMaxBurst,
		FirstBurstLength:    defaultFirst,
		MaxOutstandingR2T:   1,
		DefaultTime2Wait:    2,
		DefaultTime2Retain:  20,
		DataPDUInOrder:      true,
		DataSequenceInOrder: true,
		ProtocolLevel:       protocolLevel,
		MaxSend:             defaultSegment,
		MaxRecv:             defaultSegment,
	}
}

// Limits is how far a responder goes along with offers. Start from
// DefaultLimits. What an initiator does not offer stays at its default, so
// limits below the defaults bind only those who ask.
type Limits struct {
	HeaderDigest        []string // acceptable values: DigestCRC32C, ValueNone
	DataDigest          []string
	MaxConnections      uint16
	InitialR2T          bool // Yes insists on R2T for all but immediate data
	ImmediateData       bool // No refuses immediate data
	MaxRecv             int  // MaxRecvDataSegmentLength to declare, 512 to 2^24−1 bytes
	MaxBurstLength      uint32
	FirstBurstLength    uint32
	MaxOutstandingR2T   uint16
	DefaultTime2Wait    uint16 // seconds: the larger side wins
	DefaultTime2Retain  uint16 // seconds: the smaller side wins
	DataPDUInOrder      bool   // Yes insists on order
	DataSequenceInOrder bool   // Yes insists on order
	ErrorRecoveryLevel  uint8
}

// DefaultLimits returns the limits of a target with one connection a session
// and ErrorRecoveryLevel 0.
func DefaultLimits() Limits {
	return Limits{
		HeaderDigest:        []string{DigestCRC32C, ValueNone},
		DataDigest:          []string{DigestCRC32C, ValueNone},
		MaxConnections:      1,
		InitialR2T:          false,
		ImmediateData:       true,
		MaxRecv:             256 << 10,
		MaxBurstLength:      1 << 20,
		FirstBurstLength:    256 << 10,
		MaxOutstandingR2T:   16,
		DefaultTime2Wait:    2,
		DefaultTime2Retain:  0,
		DataPDUInOrder:      true,
		DataSequenceInOrder: true,
	}
}
