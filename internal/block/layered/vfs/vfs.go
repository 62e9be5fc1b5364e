// Package vfs is the small part of a filesystem that the layered driver
// stands on. OS is the kernel's; package crashfs is a model of kernel and disk
// that can die at any call. Nothing in the driver touches a file any other
// way, so what the model proves holds for all of it.
package vfs

import (
	"errors"
	"io/fs"
	"syscall"
)

// Errors that implementations return besides those of the kernel (which are,
// or wrap, syscall.Errno: ENOSPC and EDQUOT mean that the store is full).
var (
	// ErrLocked: another open holds the lock.
	ErrLocked = errors.New("locked by another process")
	// ErrWouldBlock: TryReadVec would have to wait for the disk.
	ErrWouldBlock error = syscall.EAGAIN
	// ErrNotExist and ErrExist are those of io/fs.
	ErrNotExist = fs.ErrNotExist
	ErrExist    = fs.ErrExist
	// ErrUnsupported: this filesystem can't do that; the caller does it another
	// way.
	ErrUnsupported = errors.ErrUnsupported
)

// Mode says how Open opens.
type Mode uint8

// The modes of Open.
const (
	ReadOnly  Mode = iota // must exist
	ReadWrite             // must exist
	Create                // must not exist; read and write
	Replace               // created or truncated; read and write
)

// Info describes a file.
type Info struct {
	Size      int64  // bytes
	Allocated int64  // bytes of disk it takes
	Links     int    // names it has
	Inode     uint64 // unique in its filesystem
	Dir       bool
	Device    bool // a block device; Allocated is its size
}

// FS is a filesystem. Names are slash-separated paths, absolute or relative
// to the working directory. A change of names (create, rename, link, remove)
// is stable only after SyncDir of the directory concerned.
type FS interface {
	Open(name string, mode Mode) (File, error)
	Mkdir(name string) error
	ReadDir(name string) ([]string, error) // names in ascending order
	Stat(name string) (Info, error)
	Rename(from, to string) error // replaces to
	Link(from, to string) error   // a second name; ErrExist when to exists
	Remove(name string) error     // a file or an empty directory
	SyncDir(name string) error
	// Lock opens name, creating it if needed, and takes an exclusive lock that
	// lives as long as the returned Lock and the process. ErrLocked: held.
	Lock(name string) (Lock, error)
	// BootID names the time since the machine started: page cache that was
	// there is still there as long as it stays the same.
	BootID() ([16]byte, error)
}

// File is an open file. Reads past the end give zeros. All methods but Close
// may be called from any goroutine at once. An I/O vector is not modified.
type File interface {
	// ReadVec fills vec from off on.
	ReadVec(vec [][]byte, off int64) error
	// TryReadVec is ReadVec if all is in the page cache, else ErrWouldBlock;
	// vec may have been filled in part.
	TryReadVec(vec [][]byte, off int64) error
	// WriteVec stores vec at off in the page cache. After an error any part of
	// it may be stored.
	WriteVec(vec [][]byte, off int64) error
	// WriteVecSync is WriteVec that returns when the bytes are stable. An error
	// of the sync, not of the write, is a *SyncError.
	WriteVecSync(vec [][]byte, off int64) error
	// Sync is fdatasync: data and size are stable afterwards.
	Sync() error
	// Truncate sets the size.
	Truncate(size int64) error
	// Punch deallocates what it can of the range, and makes all of it zero.
	Punch(off, n int64) error
	// Zero makes the range zero and keeps it allocated.
	Zero(off, n int64) error
	// Allocate reserves disk space for the range without changing its contents.
	Allocate(off, n int64) error
	// NextData returns the first offset ≥ off that holds data; the size if none.
	NextData(off int64) (int64, error)
	// NextHole returns the first offset ≥ off that holds none; the size if none.
	NextHole(off int64) (int64, error)
	// CloneFrom shares src's extents [srcOff, srcOff+n) at off. ErrUnsupported
	// where the filesystem can't.
	CloneFrom(off int64, src File, srcOff, n int64) error
	Info() (Info, error)
	Close() error
}

// Lock is a held lock. Its file carries a few bytes that tell who holds it.
type Lock interface {
	// Note replaces the bytes.
	Note(b []byte) error
	Close() error
}

// SyncError is a failed sync: bytes that were written before may be lost, and
// a later sync that succeeds says nothing about them.
type SyncError struct{ Err error }

// Error implements error.
func (e *SyncError) Error() string { return "sync failed: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *SyncError) Unwrap() error { return e.Err }

// IsFull reports whether err says that there is no room in the store.
func IsFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// ReadFile returns the contents of a file of at most limit bytes.
func ReadFile(fsys FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.Open(name, ReadOnly)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Info()
	if err != nil {
		return nil, err
	}
	if info.Size > limit {
		return nil, &fs.PathError{Op: "read", Path: name, Err: syscall.EFBIG}
	}
	b := make([]byte, info.Size)
	if len(b) == 0 {
		return b, nil
	}
	return b, f.ReadVec([][]byte{b}, 0)
}
