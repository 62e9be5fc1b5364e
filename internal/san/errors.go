package san

import (
	"errors"
	"fmt"
)

// The kinds of failure that management calls tell apart. They are wrapped, so
// that the text says what was wrong, with what, and what to do; callers use
// errors.Is.
var (
	// ErrNotFound: what was named does not exist.
	ErrNotFound = errors.New("not found")
	// ErrExists: the name, id or LUN is taken.
	ErrExists = errors.New("already exists")
	// ErrRefused: the state of things forbids it, for example deleting a
	// volume that is mapped.
	ErrRefused = errors.New("refused")
	// ErrInvalid: the request makes no sense, whatever the state.
	ErrInvalid = errors.New("invalid")
	// ErrUnavailable: nobody could answer now; the same call may work later.
	ErrUnavailable = errors.New("unavailable")
	// ErrUnknown: the change may or may not have been made; read before going
	// on (DESIGN R5).
	ErrUnknown = errors.New("outcome unknown")
)

// Error is one failure of a management call: a kind from the list above and a
// sentence for people.
type Error struct {
	Kind error
	Text string
}

// Error returns the sentence alone; the kind is for programs.
func (e *Error) Error() string { return e.Text }

// Unwrap returns the kind.
func (e *Error) Unwrap() error { return e.Kind }

// Errorf returns an *Error of the given kind.
func Errorf(kind error, format string, args ...any) error {
	return &Error{Kind: kind, Text: fmt.Sprintf(format, args...)}
}
