package target

import (
	"errors"

	"sango/internal/bufpool"
	"sango/internal/iscsi"
)

// rejectPDU answers the PDU at hand with a Reject for the reason in err, and
// throws its data away (RFC 7143 §11.17). If it was a command, its CmdSN counts
// as not received.
func (c *conn) rejectPDU(err error) error {
	reason := iscsi.RejectProtocol
	if e := (*iscsi.ProtocolError)(nil); errors.As(err, &e) {
		reason = e.Reason
	}
	c.log.Debug("a PDU was rejected", "opcode", c.in.h.Opcode().String(), "err", err)
	if _, err := c.endData(); err != nil {
		return err
	}
	return c.reject(reason, false)
}

// reject queues a Reject of the PDU at hand. credit tells that the PDU was a
// command whose CmdSN was counted.
func (c *conn) reject(reason iscsi.RejectReason, credit bool) error {
	return c.rejectHeader(reason, &c.in.h, c.in.ahs, credit)
}

// rejectHeader queues a Reject of the PDU that began with h and ahs.
func (c *conn) rejectHeader(reason iscsi.RejectReason, h *iscsi.BHS, ahs []byte, credit bool) error {
	k := newControl()
	k.data = bufpool.Get(iscsi.BHSLen + len(ahs))
	copy(k.data.B[copy(k.data.B, h[:]):], ahs)
	r := iscsi.Reject{Reason: reason, DataLen: len(k.data.B)}
	r.Put(&k.h)
	k.backlog, k.credit = true, credit
	c.mu.Lock()
	c.stats.rejects++
	c.mu.Unlock()
	c.post(k)
	return nil
}

// snack takes a SNACK Request PDU. Nothing can be asked for again at
// ErrorRecoveryLevel 0 (RFC 7143 §11.16).
func (c *conn) snack() error {
	if _, err := iscsi.ParseSNACK(&c.in.h); err != nil {
		return c.rejectPDU(err)
	}
	return c.rejectPDU(&iscsi.ProtocolError{Reason: iscsi.RejectSNACK, Text: "SNACK at ErrorRecoveryLevel 0"})
}
