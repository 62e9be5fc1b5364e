package lun

import (
	"encoding/binary"
	"math/bits"
	"time"

	"sango/internal/scsi"
)

// command describes one command: an operation code or, where that stands for
// several, an operation code and a service action. Everything that is said
// about a command is said here, once: REPORT SUPPORTED OPERATION CODES, the
// check for reserved bits, reservations, unit attentions, port states and
// execution all look here.
type command struct {
	op   scsi.OpCode
	sa   scsi.ServiceAction // where op.HasServiceAction()
	name string             // in the words of the standard
	// usage is the CDB usage data of SPC-4 §6.35.3: as long as the CDB, byte 0 is
	// the operation code, the service action field holds the service action, and
	// in all else a bit is set where the device server looks at it. A CDB with
	// any other bit set ends with INVALID FIELD IN CDB and a field pointer. The
	// CONTROL byte has no bit set: NACA is refused (SAM-5 §5.2), so there is
	// never an ACA condition.
	usage string
	// timeout is how long a host should wait: nominal is what it usually takes
	// at most, recommended when to give up (SPC-4 §6.35.4). Whole seconds.
	nominal, recommended time.Duration
	flags                flags
	access               access
	// only, unless nil, tells whether this unit has the command at all.
	only func(*Unit) bool
	// parse, unless nil, checks the CDB further and notes in the task what it
	// asks for: need (the data-out that it uses) and the range of bytes to lock
	// with span. It runs at admission on the transport's goroutine and must not
	// block, nor look at state that an earlier command could still change.
	parse func(*Task) error
	// gathered, unless nil, is called when the data-out is complete, to note what
	// only that tells: a range to lock. It must not block. It is not called for
	// a task without data-out.
	gathered func(*Task)
	// run executes the command. It returns nil for GOOD (or the status it set),
	// *scsi.CheckCondition or *block.Error, errConflict, or what Task.start
	// returned. See flags for where it runs.
	run func(*Task) error
	// done, unless nil, is called at the end of an I/O that run began with
	// Task.start, with its error; what it returns is the outcome. It must not
	// block.
	done func(*Task, error) error
	// ask is what the owner is asked before it is executed elsewhere.
	ask Ask

	forbid [2]uint64 // complement of usage over the first 16 bytes, for the check
}

// flags say how a command is treated.
type flags uint16

const (
	// inPlace: run never blocks, and is called on whatever goroutine is there.
	inPlace flags = 1 << iota
	// fast: run is tried in place first, with Task.mayBlock false. If it then
	// ends with block.ErrWouldBlock, before any effect, it is called again on a
	// worker with Task.mayBlock true. Without inPlace or fast, run is called on
	// a worker only.
	fast
	// changes: the command may change the medium. It is refused on a write
	// protected unit.
	changes
	// keepsAttention: a pending unit attention neither stops the command nor is
	// cleared by it (SAM-5 §5.14).
	keepsAttention
	// notReady: allowed while the unit has no medium.
	notReady
	// sanitizing: allowed while a sanitize operation runs or has failed (SBC-3
	// §4.11.2).
	sanitizing
	// anyState: allowed through a port in standby, unavailable and transitioning
	// state (SPC-4 §5.15.2.4).
	anyState
	// standby: allowed through a port in standby state.
	standby
	// explicit: there only through targets whose hosts may change the states of
	// target port groups (TargetOptions.SetGroups).
	explicit
	// fences: there only through transports that can end sessions (Fencer).
	fences
	// apart: no task waits for the command, and it for none, whatever the task
	// attributes; it counts in no limit of tasks. It has no range to lock, and
	// limits of its own.
	apart
	// streams: data-out may be written before all of it is there (Task.Stream).
	// The task writes it with Task.put.
	streams
	// atFront: executed on the gateway of the nexus, whoever owns the volume. It
	// touches the medium by tasks of its own at most, which go where the unit
	// is. Where reservations or conditions can stop it the owner is asked first.
	atFront
	// firstAtFront: executed on the gateway of the nexus where that has something
	// to tell, else at the owner.
	firstAtFront
)

// access is how a command fares with a persistent reservation of another nexus
// (SPC-4 table 65, SBC-4 table 13). RESERVE(6) conflicts with more commands
// (SPC-2 table 10); the reservation family knows which.
type access uint8

const (
	// accessAny: never conflicts.
	accessAny access = iota
	// accessRead: conflicts with exclusive access types, not with write
	// exclusive ones.
	accessRead
	// accessWrite: conflicts with every type.
	accessWrite
	// accessSpecial: the reservation family decides by the CDB.
	accessSpecial
)

// name of the timeouts that most commands share.
const (
	quick  = 5 * time.Second
	medium = 30 * time.Second
	long   = 60 * time.Second
)

// Key identifies a command for humans and tests.
func (c *command) String() string { return c.name }

// seal computes what the check needs.
func (c *command) seal() {
	var m [16]byte
	for i := range m {
		switch {
		case i >= len(c.usage):
			m[i] = 0 // past the CDB: not looked at
		case i == 0:
			m[i] = 0
		case i == 1 && c.op.HasServiceAction():
			m[i] = ^(c.usage[i] | 0x1f)
		default:
			m[i] = ^c.usage[i]
		}
	}
	const always = notReady | sanitizing
	if c.flags&atFront != 0 && (c.access != accessAny || c.flags&always != always) {
		c.ask = AskAllowed
	}
	c.forbid = [2]uint64{binary.BigEndian.Uint64(m[:8]), binary.BigEndian.Uint64(m[8:])}
}

// staysHere reports whether c never goes to the owner, not even for an answer.
func (c *command) staysHere() bool { return c.flags&atFront != 0 && c.ask == AskExecute }

// check refuses a CDB with a bit set that the command does not use.
func (c *command) check(cdb *[16]byte) *scsi.CheckCondition {
	a := binary.BigEndian.Uint64(cdb[:8]) & c.forbid[0]
	b := binary.BigEndian.Uint64(cdb[8:]) & c.forbid[1]
	if a|b == 0 {
		return nil
	}
	n := bits.LeadingZeros64(a)
	if a == 0 {
		n = 64 + bits.LeadingZeros64(b)
	}
	return scsi.InvalidField(uint16(n/8), int8(7-n%8))
}
