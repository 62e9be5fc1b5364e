package scsi

import (
	"errors"
	"fmt"
)

// ErrShort is wrapped by the errors of parsers whose input ends too early.
var ErrShort = errors.New("too short")

func short(what string, have, need int) error {
	return fmt.Errorf("%s: %w: %d bytes, want at least %d", what, ErrShort, have, need)
}
