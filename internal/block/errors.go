package block

import (
	"errors"
	"fmt"
)

// Class says what an error means to the layers above, whatever caused it.
type Class uint8

// The classes of error.
const (
	Medium      Class = iota + 1 // the store failed to read or write these bytes
	NoSpace                      // the store is full; nothing of the request's range is corrupt, and it may be retried
	ReadOnly                     // the device refuses changes
	Invalid                      // out of bounds or misaligned: a bug of the caller
	Unsupported                  // the device has no such operation
	Fenced                       // another owner holds the volume (DESIGN R2): drop everything and rejoin
	Closed                       // the device was closed
	Failed                       // an earlier fdatasync failed: the volume serves nothing until it is reopened and checked (DESIGN R7)
	Busy                         // the store is overloaded or out of reach for now; retry later (DESIGN R8)
	WouldBlock                   // NoWait was set and the request would block; nothing happened
)

var classNames = [...]string{
	Medium: "medium error", NoSpace: "no space left in the store", ReadOnly: "read-only",
	Invalid: "invalid request", Unsupported: "not supported", Fenced: "fenced by another owner",
	Closed: "device closed", Failed: "volume out of service", Busy: "store busy", WouldBlock: "would block",
}

// String returns the class in words.
func (c Class) String() string {
	if int(c) < len(classNames) && classNames[c] != "" {
		return classNames[c]
	}
	return fmt.Sprintf("class %d", uint8(c))
}

// Error is how every request and method of a Device fails.
type Error struct {
	Class Class
	Op    Op    // 0 when no request was concerned
	Off   int64 // bytes
	Len   int64 // bytes
	Err   error // the cause, may be nil
}

// Error implements error.
func (e *Error) Error() string {
	s := e.Class.String()
	if e.Op != 0 {
		s = fmt.Sprintf("%s at %d+%d: %s", e.Op, e.Off, e.Len, s)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ErrWouldBlock ends a NoWait request that would block. It is one value so
// that the hot path allocates nothing.
var ErrWouldBlock error = &Error{Class: WouldBlock}

// ClassOf returns the class of err: 0 for nil, Medium for errors that carry
// none.
func ClassOf(err error) Class {
	if err == nil {
		return 0
	}
	if e := (*Error)(nil); errors.As(err, &e) {
		return e.Class
	}
	return Medium
}

// Fail returns an *Error for r.
func Fail(r *Request, c Class, cause error) error {
	return &Error{Class: c, Op: r.Op, Off: r.Off, Len: r.Len, Err: cause}
}
