package iscsi

import "fmt"

// ProtocolError is what the peer did against RFC 7143, and the reason that a
// Reject PDU answers it with.
type ProtocolError struct {
	Reason RejectReason
	Text   string
}

// Error implements error.
func (e *ProtocolError) Error() string { return fmt.Sprintf("iscsi: %v: %s", e.Reason, e.Text) }

func protocolErrorf(r RejectReason, format string, args ...any) error {
	return &ProtocolError{Reason: r, Text: fmt.Sprintf(format, args...)}
}
