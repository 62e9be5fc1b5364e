package layered

import (
	"errors"
	"fmt"
	"syscall"

	"sango/internal/block"
	"sango/internal/block/layered/vfs"
)

// Errors of the store. Each comes wrapped with what it is about.
var (
	// ErrNotFound: there is no such volume or snapshot in the store.
	ErrNotFound = errors.New("not found")
	// ErrExists: the name or id is taken.
	ErrExists = errors.New("exists already")
	// ErrInUse: the volume is open, here or in another process, or its snapshot
	// is being read.
	ErrInUse = errors.New("in use")
	// ErrDamaged: the store holds something that cannot have been written so.
	ErrDamaged = errDamaged
	// ErrFenced: a later owner has had the volume (DESIGN R2).
	ErrFenced = errors.New("a later owner has had this volume")
	// ErrClosed: the store is closed.
	ErrClosed = errors.New("store closed")
	// ErrTooBig: an adopted file or device has no room for that size.
	ErrTooBig = errors.New("no room for this size")
	// ErrSpec: what was asked for is not a volume that can be.
	ErrSpec = errors.New("not possible")
)

// errLeaving ends what goes on beside the owner's device when that is closed.
var errLeaving = fmt.Errorf("%w: its owner is closing it", ErrInUse)

func isUnsupported(err error) bool { return err != nil && errors.Is(err, vfs.ErrUnsupported) }

// classify gives err the class that the block contract asks for.
func classify(err error) block.Class {
	var be *block.Error
	var se *vfs.SyncError
	switch {
	case errors.As(err, &be):
		return be.Class
	case errors.As(err, &se), errors.Is(err, errUnsettled):
		return block.Failed
	case vfs.IsFull(err):
		return block.NoSpace
	case errors.Is(err, syscall.EROFS):
		return block.ReadOnly
	case errors.Is(err, vfs.ErrWouldBlock):
		return block.WouldBlock
	}
	return block.Medium
}
