package scsi

import "encoding/binary"

// Caching is the caching mode page, 08h (SBC-3 §6.4.5). What is not named is
// zero.
type Caching struct {
	WCE bool // writes may end before they are stable
	RCD bool // reads don't come from the cache
	DRA bool // no read-ahead
}

// cachingLen is the PAGE LENGTH of the caching page.
const cachingLen = 0x12

// Params returns the page's parameters.
func (c Caching) Params() []byte {
	p := make([]byte, cachingLen)
	p[0] = bit(c.WCE, 2) | bit(c.RCD, 0)
	p[10] = bit(c.DRA, 5)
	return p
}

// ParseCaching reads the parameters of a caching page, also a shorter one of
// an older standard.
func ParseCaching(p []byte) (Caching, error) {
	if len(p) < 1 {
		return Caching{}, short("caching mode page", len(p), 1)
	}
	c := Caching{WCE: p[0]&0x04 != 0, RCD: p[0]&0x01 != 0}
	if len(p) > 10 {
		c.DRA = p[10]&0x20 != 0
	}
	return c, nil
}

// Control is the control mode page, 0Ah (SPC-4 §7.5.8).
type Control struct {
	TST           uint8 // task set type: 0: one task set for all nexuses, 1: one for each
	TMFOnly       bool
	DPICZ         bool  // disable protection information check if protect field is zero
	DSense        bool  // descriptor format sense data
	GLTSD         bool  // global logging target save disable
	RLEC          bool  // report log exception condition
	QueueModifier uint8 // QUEUE ALGORITHM MODIFIER: 0: restricted reordering, 1: unrestricted
	QErr          uint8 // what happens to other commands when one ends with CHECK CONDITION: 0: nothing
	RAC           bool
	UAInterlock   uint8 // UA_INTLCK_CTRL: 0: a unit attention is cleared when reported
	SWP           bool  // software write protect
	ATO           bool
	TAS           bool   // aborted commands end with TASK ABORTED
	BusyTimeout   uint16 // of 100 ms each; FFFFh: unlimited
	SelfTest      uint16 // EXTENDED SELF-TEST COMPLETION TIME, in seconds
}

// controlLen is the PAGE LENGTH of the control page.
const controlLen = 0x0a

// Params returns the page's parameters.
func (c Control) Params() []byte {
	p := make([]byte, controlLen)
	p[0] = c.TST<<5 | bit(c.TMFOnly, 4) | bit(c.DPICZ, 3) | bit(c.DSense, 2) | bit(c.GLTSD, 1) | bit(c.RLEC, 0)
	p[1] = c.QueueModifier<<4 | c.QErr&3<<1
	p[2] = bit(c.RAC, 6) | c.UAInterlock&3<<4 | bit(c.SWP, 3)
	p[3] = bit(c.ATO, 7) | bit(c.TAS, 6)
	binary.BigEndian.PutUint16(p[6:], c.BusyTimeout)
	binary.BigEndian.PutUint16(p[8:], c.SelfTest)
	return p
}

// ParseControl reads the parameters of a control page.
func ParseControl(p []byte) (Control, error) {
	if len(p) < controlLen {
		return Control{}, short("control mode page", len(p), controlLen)
	}
	return Control{
		TST: p[0] >> 5, TMFOnly: p[0]&0x10 != 0, DPICZ: p[0]&0x08 != 0, DSense: p[0]&0x04 != 0, GLTSD: p[0]&0x02 != 0,
		RLEC: p[0]&0x01 != 0, QueueModifier: p[1] >> 4, QErr: p[1] >> 1 & 3, RAC: p[2]&0x40 != 0,
		UAInterlock: p[2] >> 4 & 3, SWP: p[2]&0x08 != 0, ATO: p[3]&0x80 != 0, TAS: p[3]&0x40 != 0,
		BusyTimeout: binary.BigEndian.Uint16(p[6:]), SelfTest: binary.BigEndian.Uint16(p[8:]),
	}, nil
}

// ControlExt is the control extension mode page, 0Ah subpage 01h (SPC-4
// §7.5.9).
type ControlExt struct {
	TCMOS    bool  // timestamp can be changed by methods outside the standard
	SCSIP    bool  // SCSI precedence of the timestamp
	IALUAE   bool  // implicit asymmetric logical unit access is enabled
	Priority uint8 // INITIAL COMMAND PRIORITY
	MaxSense uint8 // MAXIMUM SENSE DATA LENGTH; 0: not limited
}

// controlExtLen is the PAGE LENGTH of the control extension page.
const controlExtLen = 0x1c

// Params returns the page's parameters.
func (c ControlExt) Params() []byte {
	p := make([]byte, controlExtLen)
	p[0] = bit(c.TCMOS, 2) | bit(c.SCSIP, 1) | bit(c.IALUAE, 0)
	p[1], p[2] = c.Priority&0x0f, c.MaxSense
	return p
}

// InfoExceptions is the informational exceptions control mode page, 1Ch
// (SBC-3 §6.4.8).
type InfoExceptions struct {
	Perf        bool // exceptions must not delay commands
	EBF         bool // background functions are enabled
	EWASC       bool // warnings are reported
	DExcpt      bool // exceptions are not reported
	Test        bool // report a made-up failure prediction
	EBackErr    bool
	LogErr      bool
	MRIE        uint8  // method of reporting, SPC-4 table 392
	Interval    uint32 // of 100 ms each
	ReportCount uint32 // 0: no limit
}

// infoExceptionsLen is the PAGE LENGTH of the informational exceptions page.
const infoExceptionsLen = 0x0a

// Params returns the page's parameters.
func (e InfoExceptions) Params() []byte {
	p := make([]byte, infoExceptionsLen)
	p[0] = bit(e.Perf, 7) | bit(e.EBF, 5) | bit(e.EWASC, 4) | bit(e.DExcpt, 3) | bit(e.Test, 2) | bit(e.EBackErr, 1) | bit(e.LogErr, 0)
	p[1] = e.MRIE & 0x0f
	binary.BigEndian.PutUint32(p[2:], e.Interval)
	binary.BigEndian.PutUint32(p[6:], e.ReportCount)
	return p
}

// ParseInfoExceptions reads the parameters of an informational exceptions
// page.
func ParseInfoExceptions(p []byte) (InfoExceptions, error) {
	if len(p) < infoExceptionsLen {
		return InfoExceptions{}, short("informational exceptions mode page", len(p), infoExceptionsLen)
	}
	return InfoExceptions{
		Perf: p[0]&0x80 != 0, EBF: p[0]&0x20 != 0, EWASC: p[0]&0x10 != 0, DExcpt: p[0]&0x08 != 0, Test: p[0]&0x04 != 0,
		EBackErr: p[0]&0x02 != 0, LogErr: p[0]&0x01 != 0, MRIE: p[1] & 0x0f,
		Interval: binary.BigEndian.Uint32(p[2:]), ReportCount: binary.BigEndian.Uint32(p[6:]),
	}, nil
}

// ErrorRecovery is the read-write error recovery mode page, 01h (SBC-3
// §6.4.9).
type ErrorRecovery struct {
	AWRE         bool // automatic reallocation at writes
	ARRE         bool // automatic reallocation at reads
	ReadRetries  uint8
	WriteRetries uint8
	TimeLimit    uint16 // RECOVERY TIME LIMIT, in ms; 0: the device's own
}

// errorRecoveryLen is the PAGE LENGTH of the read-write error recovery page.
const errorRecoveryLen = 0x0a

// Params returns the page's parameters.
func (e ErrorRecovery) Params() []byte {
	p := make([]byte, errorRecoveryLen)
	p[0] = bit(e.AWRE, 7) | bit(e.ARRE, 6)
	p[1], p[6] = e.ReadRetries, e.WriteRetries
	binary.BigEndian.PutUint16(p[8:], e.TimeLimit)
	return p
}
