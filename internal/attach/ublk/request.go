package ublk

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"sango/internal/attach/ublk/uapi"
	"sango/internal/block"
)

// slot is what belongs to one tag: at most one request at a time. Between begin and finish it is the device's, at other
// times the queue's goroutine's.
type slot struct {
	block.Request
	q   *queue
	tag uint16
	res int32 // for the driver, once ended: bytes, or a negative errno
	buf []byte
	vec [1][]byte
}

// begin starts the request that the driver has put into d.
func (s *slot) begin(d uapi.Desc) {
	q := s.q
	q.inflight.Add(1)
	if q.disk.refuse.Load() {
		s.finish(-int32(unix.EIO))
		return
	}
	if errno := s.translate(d); errno != 0 {
		s.finish(-int32(errno))
		return
	}
	if s.Op == block.OpWrite && q.userCopy {
		if err := q.copyIn(s); err != nil {
			q.disk.log.Error("copy the data of a write out of the kernel", "err", err)
			s.finish(-int32(unix.EIO))
			return
		}
	}
	if !q.disk.async {
		s.Flags |= block.NoWait
	}
	q.disk.dev.Submit(&s.Request)
}

// translate makes the block request, or says with which errno to refuse it.
func (s *slot) translate(d uapi.Desc) unix.Errno {
	n := int64(d.Sectors) << uapi.SectorShift
	s.Request = block.Request{Off: int64(d.Start) << uapi.SectorShift, Len: n, Done: ended, User: s}
	switch d.Op() {
	case uapi.OpRead, uapi.OpWrite:
		if n > int64(len(s.buf)) {
			return unix.EINVAL
		}
		s.Op = block.OpRead
		if d.Op() == uapi.OpWrite {
			s.Op = block.OpWrite
		}
		s.vec[0] = s.buf[:n]
		s.Bufs = s.vec[:]
	case uapi.OpFlush:
		s.Op, s.Off, s.Len = block.OpFlush, 0, 0
	case uapi.OpDiscard:
		s.Op = block.OpDiscard
	case uapi.OpWriteZeroes:
		s.Op = block.OpWriteZeroes
		if d.OpFlags&uapi.FlagNoUnmap == 0 {
			s.Flags |= block.MayUnmap
		}
	default:
		return unix.EOPNOTSUPP
	}
	if d.OpFlags&uapi.FlagFUA != 0 && s.Op != block.OpRead && s.Op != block.OpFlush {
		s.Flags |= block.FUA
	}
	return 0
}

// ended is Done of all requests. It may run on any goroutine.
func ended(r *block.Request) {
	s := r.User.(*slot)
	switch {
	case r.Err == nil:
		s.succeed()
	case r.Flags&block.NoWait != 0 && errors.Is(r.Err, block.ErrWouldBlock):
		r.Flags &^= block.NoWait
		s.q.disk.work <- s // it has room for all slots
	default:
		s.finish(-int32(errnoOf(r.Err)))
	}
}

func (s *slot) succeed() {
	switch s.Op {
	case block.OpRead:
		if s.q.userCopy {
			if err := s.q.copyOut(s); err != nil {
				s.q.disk.log.Error("copy the data of a read into the kernel", "err", err)
				s.finish(-int32(unix.EIO))
				return
			}
		}
		s.finish(int32(s.Len))
	case block.OpWrite:
		s.finish(int32(s.Len))
	default:
		s.finish(0)
	}
}

// finish gives the slot back to the queue, which tells the driver.
func (s *slot) finish(res int32) {
	s.res = res
	q := s.q
	if q.push(s.tag) {
		if err := q.event.Wake(); err != nil {
			q.disk.fail(fmt.Errorf("wake queue %d: %w", q.id, err))
		}
	}
	q.inflight.Done()
}

// errnoOf says an error in the way that the kernel's block layer understands: each of these becomes a status of its own
// there, and all others "I/O error".
func errnoOf(err error) unix.Errno {
	switch block.ClassOf(err) {
	case block.NoSpace:
		return unix.ENOSPC
	case block.Busy: // no answer in time: what is above may try again, other than after a medium error
		return unix.ETIMEDOUT
	case block.Unsupported:
		return unix.EOPNOTSUPP
	case block.Fenced: // reservation conflict: trying again is of no use
		return unix.EBADE
	case block.ReadOnly: // the block layer has no status for it; it becomes EIO
		return unix.EROFS
	}
	return unix.EIO
}
