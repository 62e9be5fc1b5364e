package uapi

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Flags of Setup (IORING_SETUP_*).
const (
	SetupClamp        uint32 = 1 << 4
	SetupCoopTaskrun  uint32 = 1 << 8
	SetupSQE128       uint32 = 1 << 10
	SetupSingleIssuer uint32 = 1 << 12
	SetupDeferTaskrun uint32 = 1 << 13
)

// Opcodes of io_uring that are used here (IORING_OP_*).
const (
	opNop         = 0
	opAsyncCancel = 14
	opRead        = 22
	opURingCmd    = 46
)

const (
	enterGetEvents = 1 << 0
	offSQ          = 0
	offSQEs        = 0x10000000
	featSingleMmap = 1 << 0
	featNoDrop     = 1 << 1
	fixedFile      = 1 << 0 // IOSQE_FIXED_FILE
	registerFiles  = 2
	registerProbe  = 8
	probeSupported = 1 << 0
)

type sqOffsets struct {
	head, tail, ringMask, ringEntries, flags, dropped, array, resv1 uint32
	userAddr                                                        uint64
}

type cqOffsets struct {
	head, tail, ringMask, ringEntries, overflow, cqes, flags, resv1 uint32
	userAddr                                                        uint64
}

type ringParams struct {
	sqEntries, cqEntries, flags, sqThreadCPU, sqThreadIdle, features, wqFD uint32
	resv                                                                   [3]uint32
	sqOff                                                                  sqOffsets
	cqOff                                                                  cqOffsets
}

// sqe is struct io_uring_sqe; with SetupSQE128 the command area goes on to 128 bytes.
type sqe struct {
	opcode   uint8
	flags    uint8
	ioprio   uint16
	fd       int32
	off      uint64 // or the opcode of a command, in the low 32 bits of the structure
	addr     uint64
	len      uint32
	opFlags  uint32
	userData uint64
	bufIndex uint16
	personal uint16
	spliceFD int32
	cmd      [16]byte
}

// cqe is struct io_uring_cqe.
type cqe struct {
	userData uint64
	res      int32
	flags    uint32
}

type probeOp struct {
	op    uint8
	_     uint8
	flags uint16
	_     uint32
}

type probe struct {
	lastOp uint8
	opsLen uint8
	_      uint16
	_      [3]uint32
	ops    [256]probeOp
}

// Ring is an io_uring. One goroutine uses it at a time.
type Ring struct {
	fd    int
	rings []byte // both rings, in one mapping
	sqes  []byte
	size  uintptr // of an SQE

	sqHead, sqTail, sqMask *uint32
	cqHead, cqTail, cqMask *uint32
	cqes                   unsafe.Pointer
	tail                   uint32 // where the next SQE goes
	unsent                 uint32 // SQEs that the kernel has not been told of
}

// Setup makes a ring for at least so many submissions at a time. With SetupSingleIssuer the thread that calls it is the
// only one that may use it.
func Setup(entries, flags uint32) (_ *Ring, err error) {
	p := ringParams{flags: flags}
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, uintptr(entries), uintptr(unsafe.Pointer(&p)), 0)
	switch {
	case errno == unix.ENOSYS || errno == unix.EPERM:
		return nil, fmt.Errorf("io_uring is not to be had (%w): it needs a kernel that has it, sysctl kernel.io_uring_disabled=0, and no seccomp filter against it", errno)
	case errno != 0:
		return nil, fmt.Errorf("set up an io_uring of %d entries: %w", entries, errno)
	}
	r := &Ring{fd: int(fd), size: unsafe.Sizeof(sqe{})}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	if flags&SetupSQE128 != 0 {
		r.size *= 2
	}
	if need := uint32(featSingleMmap | featNoDrop); p.features&need != need {
		return nil, errors.New("the io_uring of this kernel is older than Linux 5.5")
	}
	n := max(uintptr(p.sqOff.array)+uintptr(p.sqEntries)*4, uintptr(p.cqOff.cqes)+uintptr(p.cqEntries)*unsafe.Sizeof(cqe{}))
	r.rings, err = unix.Mmap(r.fd, offSQ, int(n), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil, fmt.Errorf("map an io_uring: %w", err)
	}
	r.sqes, err = unix.Mmap(r.fd, offSQEs, int(r.size)*int(p.sqEntries), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil, fmt.Errorf("map the submissions of an io_uring: %w", err)
	}
	at := func(off uint32) *uint32 { return (*uint32)(unsafe.Pointer(&r.rings[off])) }
	r.sqHead, r.sqTail, r.sqMask = at(p.sqOff.head), at(p.sqOff.tail), at(p.sqOff.ringMask)
	r.cqHead, r.cqTail, r.cqMask = at(p.cqOff.head), at(p.cqOff.tail), at(p.cqOff.ringMask)
	r.cqes = unsafe.Pointer(&r.rings[p.cqOff.cqes])
	r.tail = *r.sqTail
	array := unsafe.Slice(at(p.sqOff.array), p.sqEntries)
	for i := range array { // entry i always holds SQE i
		array[i] = uint32(i)
	}
	return r, nil
}

// Close gives the ring up; the kernel cancels what is under way. Close again does nothing.
func (r *Ring) Close() error {
	if r.fd < 0 {
		return nil
	}
	err := errors.Join(Unmap(r.sqes), Unmap(r.rings), unix.Close(r.fd))
	r.fd, r.sqes, r.rings = -1, nil, nil
	return err
}

// HasCommands reports whether the kernel's io_uring carries commands of drivers (Linux 5.19).
func (r *Ring) HasCommands() (bool, error) {
	var p probe
	if err := r.register(registerProbe, unsafe.Pointer(&p), uintptr(len(p.ops))); err != nil {
		return false, fmt.Errorf("ask io_uring for its operations: %w", err)
	}
	return p.lastOp >= opURingCmd && p.ops[opURingCmd].flags&probeSupported != 0, nil
}

// UseFile makes fd the file of all that PutIO puts: the kernel need not look it up each time. The ring holds the file
// open until it is closed.
func (r *Ring) UseFile(fd int) error {
	f := int32(fd)
	if err := r.register(registerFiles, unsafe.Pointer(&f), 1); err != nil {
		return fmt.Errorf("register a file with io_uring: %w", err)
	}
	return nil
}

func (r *Ring) register(op uintptr, arg unsafe.Pointer, n uintptr) error {
	_, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(r.fd), op, uintptr(arg), n, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// ErrFull says that no submission is free: Enter hands those that are there to the kernel.
var ErrFull = errors.New("the submission queue of the io_uring is full")

// next returns the next free SQE, zeroed.
func (r *Ring) next() (*sqe, error) {
	if r.tail-atomic.LoadUint32(r.sqHead) > *r.sqMask {
		return nil, ErrFull
	}
	at := uintptr(r.tail&*r.sqMask) * r.size
	clear(r.sqes[at : at+r.size])
	r.tail++
	r.unsent++
	return (*sqe)(unsafe.Pointer(&r.sqes[at])), nil
}

// PutNop puts a submission that does nothing.
func (r *Ring) PutNop(user uint64) error {
	e, err := r.next()
	if err != nil {
		return err
	}
	e.opcode, e.userData, e.fd = opNop, user, -1
	return nil
}

// PutRead puts a read from fd into b, which comes from Map.
func (r *Ring) PutRead(fd int, b []byte, user uint64) error {
	e, err := r.next()
	if err != nil {
		return err
	}
	e.opcode, e.fd, e.addr, e.len, e.userData = opRead, int32(fd), Address(b), uint32(len(b)), user
	e.off = ^uint64(0) // the file's position
	return nil
}

// PutCancel puts the cancellation of the submission whose user data is target.
func (r *Ring) PutCancel(target, user uint64) error {
	e, err := r.next()
	if err != nil {
		return err
	}
	e.opcode, e.fd, e.addr, e.userData = opAsyncCancel, -1, target, user
	return nil
}

// PutCtrl puts a control command to fd, an open ControlPath. The ring was set up with SetupSQE128.
func (r *Ring) PutCtrl(fd int, op Command, c Ctrl, user uint64) error {
	if r.size < 128 {
		return errors.New("a control command needs submissions of 128 bytes")
	}
	e, err := r.next()
	if err != nil {
		return err
	}
	e.opcode, e.fd, e.userData = opURingCmd, int32(fd), user
	*(*uint32)(unsafe.Pointer(&e.off)) = uint32(op)
	*(*Ctrl)(unsafe.Pointer(&e.cmd)) = c
	return nil
}

// PutIO puts an I/O command to the file of UseFile.
func (r *Ring) PutIO(op Command, c IO, user uint64) error {
	e, err := r.next()
	if err != nil {
		return err
	}
	e.opcode, e.flags, e.userData = opURingCmd, fixedFile, user
	*(*uint32)(unsafe.Pointer(&e.off)) = uint32(op)
	*(*IO)(unsafe.Pointer(&e.cmd)) = c
	return nil
}

// Enter hands what was put to the kernel and waits until at least wait completions are there. It may return before,
// when a signal comes.
func (r *Ring) Enter(wait uint32) error {
	atomic.StoreUint32(r.sqTail, r.tail)
	var flags uintptr
	if wait > 0 {
		flags = enterGetEvents
	}
	n, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), uintptr(r.unsent), uintptr(wait), flags, 0, 0)
	switch errno {
	case 0:
		r.unsent -= uint32(n)
		return nil
	case unix.EINTR, unix.EAGAIN, unix.EBUSY: // nothing was taken: the caller reaps and comes again
		return nil
	}
	return fmt.Errorf("io_uring_enter: %w", errno)
}

// Next takes the next completion, if there is one: the user data of its submission, and the result (a negative errno
// where it failed).
func (r *Ring) Next() (user uint64, res int32, ok bool) {
	head := *r.cqHead // only this side moves it
	if head == atomic.LoadUint32(r.cqTail) {
		return 0, 0, false
	}
	c := (*cqe)(unsafe.Add(r.cqes, uintptr(head&*r.cqMask)*unsafe.Sizeof(cqe{})))
	user, res = c.userData, c.res
	atomic.StoreUint32(r.cqHead, head+1)
	return user, res, true
}
