package uapi

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// Event is an eventfd: one side waits for it with PutRead, the others wake it.
type Event struct {
	fd  int
	buf []byte // what is read, outside of Go's heap
}

// NewEvent makes an eventfd.
func NewEvent() (*Event, error) {
	buf, err := Map(8)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		_ = Unmap(buf) // the other error says it
		return nil, fmt.Errorf("make an eventfd: %w", err)
	}
	return &Event{fd, buf}, nil
}

// Wake completes the read that was put with Put, or the next one. It never blocks: 2^64 wake-ups would have to be
// unread for that.
func (e *Event) Wake() error {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	for {
		if _, err := unix.Write(e.fd, one[:]); err != unix.EINTR {
			return err
		}
	}
}

// Put puts a read of the event into r.
func (e *Event) Put(r *Ring, user uint64) error { return r.PutRead(e.fd, e.buf, user) }

// Close gives the event up. The ring that reads it has been closed before.
func (e *Event) Close() error {
	buf := e.buf
	e.buf = nil
	if err := unix.Close(e.fd); err != nil {
		return err
	}
	return Unmap(buf)
}
