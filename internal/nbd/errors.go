package nbd

import "fmt"

// ProtocolError is what the peer sent against the protocol.
type ProtocolError struct {
	Text string
}

// Error implements error.
func (e *ProtocolError) Error() string { return "nbd: " + e.Text }

func protocolErrorf(format string, args ...any) error {
	return &ProtocolError{Text: fmt.Sprintf(format, args...)}
}

// checkLen refuses a message of another length than it has to have.
func checkLen(what string, b []byte, want int) error {
	if len(b) != want {
		return protocolErrorf("%s of %d bytes, not %d", what, len(b), want)
	}
	return nil
}

// Errno is the error of a request on the wire (section "Error values"). 0 is
// success.
type Errno uint32

// The error values that the protocol allows.
const (
	EPERM     Errno = 1
	EIO       Errno = 5
	ENOMEM    Errno = 12
	EINVAL    Errno = 22
	ENOSPC    Errno = 28
	EOVERFLOW Errno = 75
	ENOTSUP   Errno = 95
	ESHUTDOWN Errno = 108
)

var errnoNames = map[Errno]string{
	EPERM: "operation not permitted", EIO: "input/output error", ENOMEM: "out of memory",
	EINVAL: "invalid argument", ENOSPC: "no space left on the device", EOVERFLOW: "value too large",
	ENOTSUP: "operation not supported", ESHUTDOWN: "the server is shutting down",
}

// Error implements error.
func (e Errno) Error() string {
	if s, ok := errnoNames[e]; ok {
		return s
	}
	return fmt.Sprintf("error %d", uint32(e))
}
