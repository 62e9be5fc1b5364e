package iscsi

// ITT is an initiator task tag (RFC 7143 §11.2.1.8).
type ITT uint32

// NoITT is the reserved initiator task tag: no task is meant.
const NoITT ITT = 0xffffffff

// TTT is a target transfer tag (RFC 7143 §11.7.4).
type TTT uint32

// NoTTT is the reserved target transfer tag: unsolicited data, or no answer
// is wanted.
const NoTTT TTT = 0xffffffff

// CmdSN numbers the commands of a session (RFC 7143 §4.2.2.1).
type CmdSN uint32

// StatSN numbers the statuses of a connection (RFC 7143 §4.2.2.2).
type StatSN uint32

// DataSN numbers the data PDUs, or the R2Ts, of a task (RFC 7143 §4.2.2.3).
type DataSN uint32

// Before reports whether a comes before b in serial number arithmetic with 32
// bits (RFC 1982, RFC 7143 §4.2.2). Of two numbers 2^31 apart, which RFC 1982
// leaves undefined, neither is before the other.
func (a CmdSN) Before(b CmdSN) bool { return before(uint32(a), uint32(b)) }

// Within reports whether a lies in the command window [exp, max]. A max of
// exp − 1 is the closed window: nothing lies in it.
func (a CmdSN) Within(exp, max CmdSN) bool { return !a.Before(exp) && !max.Before(a) }

// Before is the order of RFC 1982, as for CmdSN.
func (a StatSN) Before(b StatSN) bool { return before(uint32(a), uint32(b)) }

// Before is the order of RFC 1982, as for CmdSN.
func (a DataSN) Before(b DataSN) bool { return before(uint32(a), uint32(b)) }

func before(a, b uint32) bool {
	d := b - a
	return d != 0 && d < 1<<31
}
