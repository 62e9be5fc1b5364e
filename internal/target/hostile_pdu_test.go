package target

import (
	"bytes"
	"fmt"
	"testing"

	"sango/internal/iscsi"
	"sango/internal/iscsi/iscsitest"
)

// badPDU is a PDU that must not be executed, and how the server has to say so:
// with a Reject, or else with check.
type badPDU struct {
	h      iscsi.BHS
	ahs    []byte
	data   []byte
	reject iscsi.RejectReason
	check  func(p iscsitest.PDU) error
}

func header(p interface{ Put(*iscsi.BHS) }) iscsi.BHS {
	var h iscsi.BHS
	p.Put(&h)
	return h
}

// raw returns a header of nothing but an opcode and a length.
func raw(op iscsi.Opcode, itt iscsi.ITT, n int) iscsi.BHS {
	h := header(&iscsi.NopOut{Immediate: true, ITT: itt, TTT: iscsi.NoTTT, DataLen: n})
	h[0] = h[0]&0xc0 | byte(op)
	return h
}

// sense returns a check for CHECK CONDITION with key, ASC and ASCQ.
func sense(key byte, asc, ascq byte) func(iscsitest.PDU) error {
	return func(p iscsitest.PDU) error {
		r, err := iscsi.ParseSCSIResponse(&p.BHS)
		if err != nil {
			return err
		}
		b, err := iscsi.ParseSense(p.Data)
		if err != nil {
			return err
		}
		if r.Status != 2 || len(b) < 14 || b[2]&0xf != key || b[12] != asc || b[13] != ascq {
			return fmt.Errorf("status %02xh, sense %x, want %x/%02x/%02x", r.Status, b, key, asc, ascq)
		}
		return nil
	}
}

func taskResult(want iscsi.TaskResult) func(iscsitest.PDU) error {
	return func(p iscsitest.PDU) error {
		r, err := iscsi.ParseTaskResponse(&p.BHS)
		if err == nil && r.Result != want {
			err = fmt.Errorf("result %d, want %d", r.Result, want)
		}
		return err
	}
}

func logoutResult(want iscsi.LogoutResult) func(iscsitest.PDU) error {
	return func(p iscsitest.PDU) error {
		r, err := iscsi.ParseLogoutResponse(&p.BHS)
		if err == nil && r.Result != want {
			err = fmt.Errorf("result %d, want %d", r.Result, want)
		}
		return err
	}
}

// badPDUs are sent on a session in good order; all are immediate, so that the
// command window has no part in it.
func badPDUs(c *iscsitest.Conn) map[string]badPDU {
	cmd := func(change func(*iscsi.SCSICommand)) iscsi.BHS {
		p := iscsi.SCSICommand{Immediate: true, Final: true, Attr: 1, LUN: lun1, ITT: c.ITT(), CmdSN: c.CmdSN, ExpStatSN: c.ExpStatSN, CDB: [16]byte{0x28, 8: 1}}
		change(&p)
		return header(&p)
	}
	text := func(change func(*iscsi.TextRequest), n int) iscsi.BHS {
		p := iscsi.TextRequest{Immediate: true, Final: true, ITT: c.ITT(), TTT: iscsi.NoTTT, CmdSN: c.CmdSN, ExpStatSN: c.ExpStatSN, DataLen: n}
		change(&p)
		return header(&p)
	}
	tmf := func(f iscsi.TaskFunction, n int) iscsi.BHS {
		return header(&iscsi.TaskRequest{Immediate: true, Function: f, LUN: lun1, ITT: c.ITT(), RefTag: 0x7777, CmdSN: c.CmdSN, DataLen: n})
	}
	logout := func(r iscsi.LogoutReason, cid uint16) iscsi.BHS {
		return header(&iscsi.LogoutRequest{Immediate: true, Reason: r, CID: cid, ITT: c.ITT(), CmdSN: c.CmdSN})
	}
	short := bytes.Repeat([]byte{7}, 13)
	long := make([]byte, iscsi.LoginSegment+1)
	cases := map[string]badPDU{
		"a Login Request":           {h: header(&iscsi.LoginRequest{Transit: true, Current: iscsi.Operational, Next: iscsi.FullFeature, ITT: c.ITT(), CmdSN: c.CmdSN}), reject: iscsi.RejectProtocol},
		"a SNACK":                   {h: header(&iscsi.SNACK{ITT: c.ITT(), Type: iscsi.SNACKStatus}), reject: iscsi.RejectSNACK},
		"a reserved SNACK":          {h: header(&iscsi.SNACK{ITT: c.ITT(), Type: 9}), reject: iscsi.RejectInvalidField},
		"command without tag":       {h: cmd(func(p *iscsi.SCSICommand) { p.ITT = iscsi.NoITT }), reject: iscsi.RejectInvalidField},
		"reserved attribute":        {h: cmd(func(p *iscsi.SCSICommand) { p.Attr = 6 }), reject: iscsi.RejectInvalidField},
		"neither F nor W":           {h: cmd(func(p *iscsi.SCSICommand) { p.Final = false }), reject: iscsi.RejectProtocol},
		"data of a read":            {h: cmd(func(p *iscsi.SCSICommand) { p.Read, p.ExpectedLen, p.DataLen = true, 512, 13 }), data: short, reject: iscsi.RejectProtocol},
		"more data than announced":  {h: cmd(func(p *iscsi.SCSICommand) { p.Write, p.ExpectedLen, p.DataLen = true, 12, 13 }), data: short, reject: iscsi.RejectProtocol},
		"AHS without length":        {h: cmd(func(p *iscsi.SCSICommand) { p.AHSLen = 4 }), ahs: []byte{0, 0, 1, 0}, reject: iscsi.RejectInvalidField},
		"AHS past its end":          {h: cmd(func(p *iscsi.SCSICommand) { p.AHSLen = 4 }), ahs: []byte{0xff, 0xff, 1, 0}, reject: iscsi.RejectInvalidField},
		"the longest AHS":           {h: cmd(func(p *iscsi.SCSICommand) { p.AHSLen = iscsi.MaxAHS }), ahs: make([]byte, iscsi.MaxAHS), reject: iscsi.RejectInvalidField},
		"extended CDB":              {h: cmd(func(p *iscsi.SCSICommand) { p.AHSLen, p.CDB[0] = 20, 0x7f }), ahs: iscsi.AppendAHS(nil, iscsi.AHS{Type: iscsi.AHSExtendedCDB, Data: make([]byte, 16)}), check: sense(5, 0x20, 0)},
		"bidirectional":             {h: cmd(func(p *iscsi.SCSICommand) { p.Read, p.Write, p.AHSLen, p.ExpectedLen = true, true, 8, 512 }), ahs: iscsi.AppendAHS(nil, iscsi.AHS{Type: iscsi.AHSBidiExpected, Data: []byte{0, 0, 2, 0}}), check: sense(5, 0x20, 0)},
		"no such unit":              {h: cmd(func(p *iscsi.SCSICommand) { p.LUN = [8]byte{0, 77} }), check: sense(5, 0x25, 0)},
		"a LUN of another form":     {h: cmd(func(p *iscsi.SCSICommand) { p.LUN = [8]byte{0xff, 0xff, 0xff, 0xff} }), check: sense(5, 0x25, 0)},
		"unknown command":           {h: cmd(func(p *iscsi.SCSICommand) { p.CDB = [16]byte{0xde, 0xad} }), check: sense(5, 0x20, 0)},
		"unsolicited data to come":  {h: cmd(func(p *iscsi.SCSICommand) { p.Write, p.Final, p.ExpectedLen, p.CDB[0] = true, false, 512, 0x2a }), data: nil, check: nil},
		"function unknown":          {h: tmf(0x55, 0), check: taskResult(iscsi.TaskNotSupported)},
		"TASK REASSIGN":             {h: tmf(iscsi.TaskReassign, 0), check: taskResult(iscsi.TaskNoReassign)},
		"function with data":        {h: tmf(iscsi.LogicalUnitReset, 13), data: short, reject: iscsi.RejectInvalidField},
		"text with F and C":         {h: text(func(p *iscsi.TextRequest) { p.Continue = true }, 0), reject: iscsi.RejectInvalidField},
		"text out of nothing":       {h: text(func(p *iscsi.TextRequest) { p.TTT = 5 }, 0), reject: iscsi.RejectProtocol},
		"text without NUL":          {h: text(func(*iscsi.TextRequest) {}, 13), data: short, reject: iscsi.RejectProtocol},
		"text too long":             {h: text(func(*iscsi.TextRequest) {}, len(long)), data: long, reject: iscsi.RejectLongOperation},
		"logout for recovery":       {h: logout(iscsi.LogoutRecovery, 0), check: logoutResult(iscsi.LogoutNoRecovery)},
		"logout of somebody else":   {h: logout(iscsi.LogoutConnection, 0x4444), check: logoutResult(iscsi.LogoutNoCID)},
		"logout for nothing":        {h: logout(9, 0), reject: iscsi.RejectInvalidField},
		"data for an unknown tag":   {h: header(&iscsi.DataOut{Final: true, LUN: lun1, ITT: 0x6666, TTT: 0xfffffff0, DataLen: 13}), data: short, reject: iscsi.RejectInvalidField},
		"data past 2^32":            {h: header(&iscsi.DataOut{Final: true, LUN: lun1, ITT: 0x6666, TTT: iscsi.NoTTT, Offset: 0xffffffff, DataLen: 13}), data: short, reject: iscsi.RejectInvalidField},
		"ping without tag, in turn": {h: header(&iscsi.NopOut{ITT: iscsi.NoITT, TTT: iscsi.NoTTT, CmdSN: c.CmdSN}), reject: iscsi.RejectProtocol},
	}
	delete(cases, "unsolicited data to come") // has a test of its own
	for op := range iscsi.Opcode(0x40) {
		if op.Numbered() || op == iscsi.OpDataOut || op == iscsi.OpSNACK {
			continue
		}
		cases[fmt.Sprintf("%v to a target", op)] = badPDU{h: raw(op, c.ITT(), 13), data: short, reject: iscsi.RejectNotSupported}
	}
	return cases
}

// Each bad PDU gets its answer, has no effect, and leaves the session usable;
// with digests and without.
func TestHostilePDUs(t *testing.T) {
	s := besiege(t)
	for _, keys := range [][]string{nil, {"HeaderDigest", "CRC32C", "DataDigest", "CRC32C"}} {
		c := s.login(keys...)
		for name, b := range badPDUs(c) {
			if err := c.SendRaw(c.Encode(&b.h, b.ahs, b.data)); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if err := wantAnswer(c, b); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			usable(t, c)
		}
		if err := c.Logout(); err != nil {
			t.Error(err)
		}
	}
	s.settle(1)
	s.good.progress()
}

// wantAnswer checks the answer to a bad PDU.
func wantAnswer(c *iscsitest.Conn, b badPDU) error {
	p, err := c.Receive()
	for err == nil && p.Opcode() == iscsi.OpNopIn && p.ITT() == iscsi.NoITT {
		p, err = c.Receive() // a ping: what follows answers in time
	}
	if err != nil {
		return err
	}
	if b.check != nil {
		if p.ITT() != b.h.ITT() {
			return fmt.Errorf("a %v for tag %#x", p.Opcode(), uint32(p.ITT()))
		}
		return b.check(p)
	}
	r, err := iscsi.ParseReject(&p.BHS)
	if err != nil {
		return err
	}
	if r.Reason != b.reject {
		return fmt.Errorf("rejected with %v, want %v", r.Reason, b.reject)
	}
	if want := append(b.h[:len(b.h):len(b.h)], b.ahs...); !bytes.Equal(p.Data, want) {
		return fmt.Errorf("rejected header %x, want %x", p.Data, want)
	}
	return nil
}

// A discovery session takes nothing but text and logout.
func TestHostileDiscoverySession(t *testing.T) {
	s := besiege(t)
	c := s.dial()
	if err := c.Login(iscsitest.Login{Initiator: hostName, Discovery: true, ISID: isid(9)}); err != nil {
		t.Fatal(err)
	}
	for _, h := range []iscsi.BHS{
		header(&iscsi.SCSICommand{Immediate: true, Final: true, Read: true, ExpectedLen: 36, ITT: c.ITT(), CDB: [16]byte{0x12, 4: 36}}),
		header(&iscsi.TaskRequest{Immediate: true, Function: iscsi.TargetColdReset, ITT: c.ITT()}),
		header(&iscsi.DataOut{Final: true, ITT: 5, TTT: iscsi.NoTTT}),
		header(&iscsi.NopOut{Immediate: true, ITT: c.ITT(), TTT: iscsi.NoTTT}),
	} {
		if err := c.Send(&h, nil); err != nil {
			t.Fatal(err)
		}
		if err := wantAnswer(c, badPDU{h: h, reject: iscsi.RejectProtocol}); err != nil {
			t.Error(err)
		}
	}
	if k, err := c.Text(iscsi.Keys{{Key: iscsi.KeySendTargets, Value: iscsi.SendTargetsAll}}); err != nil || len(k) == 0 {
		t.Errorf("%v, %v", k, err)
	}
	if err := c.Logout(); err != nil {
		t.Error(err)
	}
	s.settle(1)
	s.good.progress()
}

// After a wrong header digest nothing that follows can be trusted: the
// connection ends. A wrong data digest costs the PDU only.
func TestHostileDigests(t *testing.T) {
	s := besiege(t)
	c := s.login("HeaderDigest", "CRC32C", "DataDigest", "CRC32C")
	h := header(&iscsi.NopOut{Immediate: true, ITT: c.ITT(), TTT: iscsi.NoTTT, CmdSN: c.CmdSN, DataLen: 13})
	wire := c.Encode(&h, nil, make([]byte, 13))
	for at := iscsi.BHSLen + iscsi.DigestLen; at < len(wire); at++ {
		bad := bytes.Clone(wire)
		bad[at] ^= 0x40
		if err := c.SendRaw(bad); err != nil {
			t.Fatal(err)
		}
		if err := wantAnswer(c, badPDU{h: h, reject: iscsi.RejectDataDigest}); err != nil {
			t.Fatalf("byte %d: %v", at, err)
		}
	}
	usable(t, c)
	for at := 0; at < iscsi.BHSLen+iscsi.DigestLen; at++ {
		if at == 4 {
			continue // a longer AHS: the server waits for bytes that do not come
		}
		c := s.dial()
		l := attacker("HeaderDigest", "CRC32C")
		l.ISID = isid(10)
		if err := c.Login(l); err != nil {
			t.Fatal(err)
		}
		bad := bytes.Clone(wire)
		bad[at] ^= 0x40
		if err := c.SendRaw(bad); err != nil {
			t.Fatal(err)
		}
		wantClosed(t, c)
	}
	if err := c.Logout(); err != nil {
		t.Error(err)
	}
	s.settle(1)
	s.good.progress()
}
