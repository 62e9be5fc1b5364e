package target

import "sango/internal/iscsi"

// logoutRequest takes a Logout Request PDU (RFC 7143 §11.14). The response is
// sent when the tasks of the session can no longer touch the medium.
func (c *conn) logoutRequest() error {
	r, err := iscsi.ParseLogoutRequest(&c.in.h)
	if err != nil {
		return c.rejectPDU(err)
	}
	if _, err := c.endData(); err != nil {
		return err
	}
	return c.numbered(r.Immediate, r.CmdSN, 0, func(credit bool) error {
		p := iscsi.LogoutResponse{ITT: r.ITT, Time2Wait: c.params.DefaultTime2Wait, Time2Retain: c.params.DefaultTime2Retain}
		switch {
		case r.Reason == iscsi.LogoutRecovery:
			p.Result = iscsi.LogoutNoRecovery // needs ErrorRecoveryLevel 2
		case r.Reason == iscsi.LogoutConnection && r.CID != c.cid:
			p.Result = iscsi.LogoutNoCID
		default:
			if c.nexus != nil {
				c.nexus.Detach()
			}
		}
		k := newControl()
		p.Put(&k.h)
		k.credit, k.backlog = credit, true
		c.post(k)
		if p.Result == iscsi.LogoutDone {
			return errLoggedOut
		}
		return nil
	})
}
