// Package block is the contract between those who serve volumes and those who
// keep their bytes: the Device interface, the Request that travels through it,
// capabilities as values, and error classes. Drivers (layered, mem, rbd) and
// layers (qos, fault, delay, stats) all implement Device; the checking layer
// (Check) asserts the contract on every call in tests, and package blocktest
// holds the suite that every implementation passes.
package block

import "sango/internal/san"

// Device is an open volume.
//
// Submit starts r and may return before it ends. The device calls r.Done(r)
// exactly once, from any goroutine, possibly before Submit returns; r.Err then
// tells the outcome. Until Done the device may read (or, for OpRead, write)
// r.Bufs; after Done it must not touch r or its buffers again. Requests that
// are in flight together may be executed in any order: who needs order waits.
//
// Bounds and alignment are the caller's duty: Off and Len are multiples of
// Info().BlockSize and lie inside Info().Size, or the request ends with an
// Invalid error. Every method may be called from any goroutine.
type Device interface {
	// Info is a cheap snapshot; Size changes when the volume is resized.
	Info() Info
	// Submit starts one request. See the type's comment.
	Submit(r *Request)
	// Status reports how the range [off, off+n) is allocated, as extents in
	// ascending order without gaps from off on. It may end before off+n (after
	// at most limit extents) but always reports at least one, and neighbours
	// differ in their Alloc. It may block on I/O.
	Status(off, n int64, limit int) ([]Extent, error)
	// Close waits for requests in flight, makes everything stable and gives the
	// device up. Later requests end with Closed. Close again returns nil.
	Close() error
}

// Op is what a request does.
type Op uint8

// The operations of a device.
const (
	OpRead        Op = iota + 1 // fill Bufs from [Off, Off+Len)
	OpWrite                     // store Bufs at [Off, Off+Len)
	OpFlush                     // all writes done before it are stable afterwards; Off = Len = 0
	OpDiscard                   // the range may be deallocated and reads as zeros afterwards
	OpWriteZeroes               // the range reads as zeros afterwards, and stays allocated unless MayUnmap
)

// String returns the name of the operation in lower case.
func (o Op) String() string {
	switch o {
	case OpRead:
		return "read"
	case OpWrite:
		return "write"
	case OpFlush:
		return "flush"
	case OpDiscard:
		return "discard"
	case OpWriteZeroes:
		return "write-zeroes"
	}
	return "invalid"
}

// Flags modify a request.
type Flags uint8

const (
	// FUA: the data is on stable storage before Done (OpWrite, OpWriteZeroes,
	// OpDiscard).
	FUA Flags = 1 << iota
	// NoWait: end at once with ErrWouldBlock, before any effect, when the
	// request can't be executed without blocking the calling goroutine. The
	// caller submits it again without the flag from a goroutine that may block.
	NoWait
	// MayUnmap: OpWriteZeroes may deallocate.
	MayUnmap
	// Atomic: after a crash or power cut the range holds all of this OpWrite or
	// none of it. Len is at most Info().Caps.AtomicMax and, if that is 0, the
	// request ends with Unsupported.
	Atomic
)

// Request is one operation. It belongs to the device from Submit until Done.
// The zero value with Op, Off, Len, Bufs and Done set is ready.
type Request struct {
	Op    Op
	Flags Flags
	Off   int64 // bytes
	Len   int64 // bytes; for OpRead and OpWrite the sum of the lengths of Bufs
	// Bufs is the data, as an I/O vector; its slices need not be aligned. The
	// device must not modify the slice headers.
	Bufs [][]byte
	// Epoch is the epoch under which the request was admitted (DESIGN R2). A
	// device opened under another epoch ends the request with Fenced. 0 means
	// that the caller is not subject to ownership.
	Epoch san.Epoch
	// Done is called once. It must not block.
	Done func(*Request)
	// Err is the outcome: nil, or an *Error.
	Err error
	// User is the submitter's, for finding its own state again without a
	// closure. Devices leave it alone.
	User any
}

// End sets the outcome and calls Done. Devices end every request through it.
func (r *Request) End(err error) {
	r.Err = err
	r.Done(r)
}

// Info describes an open device.
type Info struct {
	Size          int64 // bytes, a multiple of BlockSize
	BlockSize     int   // bytes: 512 or 4096
	PhysicalBlock int   // bytes, ≥ BlockSize: smaller writes may cost a read
	Caps          Caps
	// Lost names an event by which what was written, and ended well, may have been
	// lost although nobody was told: a flush has failed, and the device was opened
	// anew since. Zero: there was none. Whoever relies on a flush has to be told
	// once for each.
	Lost san.UUID
}

// Support says how a device does an operation.
type Support uint8

// The degrees of support.
const (
	None     Support = iota // ends with Unsupported
	Emulated                // correct, but as slow as writing the data
	Native                  // cheaper than writing the data
)

// Caps are the capabilities of a device, passed up through the layers.
type Caps struct {
	ReadOnly    bool    // every changing operation ends with ReadOnly
	Discard     Support // OpDiscard
	WriteZeroes Support // OpWriteZeroes
	FUA         Support // Emulated: by a flush after the write
	// WriteBack: writes may be volatile until a flush (WCE = 1 is the truth).
	// Process death never loses them all the same (DESIGN R7).
	WriteBack bool
	// AtomicMax is the largest write with Atomic, in bytes; 0: none.
	AtomicMax int64
	// Shared: some bytes also belong to a snapshot or a clone, so that
	// overwriting them here does not destroy them (SANITIZE is refused).
	Shared bool
	// Async: Submit without NoWait does not block the caller either.
	Async bool
	// Granularity of allocation and discard, in bytes; smaller discards zero.
	Granularity int64
}

// Alloc is the state of an extent.
type Alloc uint8

// The states of an extent (SBC-3 §4.7).
const (
	Mapped      Alloc = iota // holds data
	Deallocated              // takes no space, reads as zeros
)

// Extent is a run of bytes in one state.
type Extent struct {
	Off, Len int64 // bytes
	Alloc    Alloc
}
