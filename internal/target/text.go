package target

import (
	"errors"
	"net/netip"
	"slices"

	"sango/internal/bufpool"
	"sango/internal/iscsi"
)

// textRequest takes a Text Request PDU (RFC 7143 §11.10).
func (c *conn) textRequest() error {
	r, err := iscsi.ParseTextRequest(&c.in.h)
	if err != nil {
		return c.rejectPDU(err)
	}
	if r.DataLen > iscsi.LoginSegment {
		return c.rejectPDU(&iscsi.ProtocolError{Reason: iscsi.RejectLongOperation, Text: "a Text Request of more than 8192 bytes"})
	}
	data, ok, err := c.readAll()
	if err != nil {
		return err
	}
	text := append([]byte(nil), data.B...) // text is rare, and may have to wait for its turn
	data.Release()
	if !ok {
		return c.reject(iscsi.RejectDataDigest, false)
	}
	h := c.in.h
	return c.numbered(r.Immediate, r.CmdSN, len(text), func(credit bool) error { return c.answerText(&r, &h, text, credit) })
}

func (c *conn) answerText(r *iscsi.TextRequest, h *iscsi.BHS, text []byte, credit bool) error {
	resp, seg, err := c.text.Step(*r, text)
	if pe := (*iscsi.ProtocolError)(nil); errors.As(err, &pe) {
		return c.rejectHeader(pe.Reason, h, nil, credit)
	}
	if err != nil {
		return err
	}
	k := newControl()
	resp.Put(&k.h)
	if len(seg) > 0 {
		k.data = bufpool.Get(len(seg))
		copy(k.data.B, seg)
	}
	k.credit, k.backlog = credit, true
	c.batch.maxData.Store(int64(c.params.MaxSend)) // it may have been declared anew
	c.post(k)
	return nil
}

// targetRecords returns what SendTargets may tell this initiator: the target
// called name, or all for "".
func (c *conn) targetRecords(name string) []iscsi.TargetRecord {
	var out []iscsi.TargetRecord
	names := c.srv.dir.Visible(c.identity.Initiator.Name, c.peer.Addr())
	slices.Sort(names)
	for _, n := range slices.Compact(names) {
		if name != "" && n != name {
			continue
		}
		r := iscsi.TargetRecord{Name: n}
		for _, p := range c.srv.dir.Portals(n) {
			r.Addresses = append(r.Addresses, iscsi.TargetAddress{Addr: c.reachable(p.Addr), TPG: p.TPG})
		}
		out = append(out, r)
	}
	return out
}

// reachable replaces the unspecified address of a portal that listens on all
// addresses by the one this connection was made to.
func (c *conn) reachable(addr string) string {
	p, err := netip.ParseAddrPort(addr)
	if err != nil || !p.Addr().IsUnspecified() {
		return addr
	}
	local, err := netip.ParseAddrPort(c.sock.tcp.LocalAddr().String())
	if err != nil {
		return addr
	}
	return netip.AddrPortFrom(local.Addr().Unmap(), p.Port()).String()
}
