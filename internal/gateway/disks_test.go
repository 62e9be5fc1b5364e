package gateway

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"sango/internal/block"
	"sango/internal/san"
)

// A full disk is told by the name of the volume and with advice, whichever
// way the store tells it.
func TestFullDiskIsToldWithAdvice(t *testing.T) {
	for _, cause := range []error{
		&fs.PathError{Op: "write", Path: "/d/0b5c", Err: syscall.ENOSPC},
		&fs.PathError{Op: "write", Path: "/d/0b5c", Err: syscall.EDQUOT},
		&block.Error{Class: block.NoSpace, Op: block.OpWrite, Len: 4096},
	} {
		err := kindly("db", fmt.Errorf("snapshot volume 0b5c: %w", cause))
		if !errors.Is(err, san.ErrRefused) || !strings.HasPrefix(err.Error(), "volume db: the disk") || strings.Contains(err.Error(), "0b5c") {
			t.Errorf("%v is told as %v", cause, err)
		}
	}
}
