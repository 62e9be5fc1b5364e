package target

import (
	"bytes"
	"testing"

	"sango/internal/iscsi"
)

// What is wrong is rejected with the right reason and the header of the PDU,
// and the session goes on.
func TestRejectReasons(t *testing.T) {
	s := start(t)
	i := connect(t, s)
	i.ready()
	imm := func(op iscsi.Opcode, set func(h *iscsi.BHS)) iscsi.BHS {
		h := iscsi.BHS{0: byte(op) | 0x40, 1: 0x80, 19: 9}
		if set != nil {
			set(&h)
		}
		return h
	}
	for _, c := range []struct {
		name string
		h    iscsi.BHS
		want iscsi.RejectReason
	}{
		{"opcode of nobody", imm(0x1c, nil), iscsi.RejectNotSupported},
		{"opcode of a target", imm(iscsi.OpNopIn, nil), iscsi.RejectNotSupported},
		{"SNACK", imm(iscsi.OpSNACK, nil), iscsi.RejectSNACK},
		{"Login Request", imm(iscsi.OpLoginRequest, nil), iscsi.RejectProtocol},
		{"data for a tag that never was", imm(iscsi.OpDataOut, func(h *iscsi.BHS) { h[20] = 0x77 }), iscsi.RejectInvalidField},
		{"logout for no reason", imm(iscsi.OpLogoutRequest, func(h *iscsi.BHS) { h[1] = 0x80 | 9 }), iscsi.RejectInvalidField},
		{"text that goes on from nothing", imm(iscsi.OpTextRequest, nil), iscsi.RejectProtocol},
		{"command with neither F nor W", imm(iscsi.OpSCSICommand, func(h *iscsi.BHS) { h[1] = 0x41 }), iscsi.RejectProtocol},
		{"malformed additional header", imm(iscsi.OpSCSICommand, func(h *iscsi.BHS) { h[4] = 1 }), iscsi.RejectInvalidField},
	} {
		var tail []byte
		if c.h.AHSLen() > 0 {
			tail = make([]byte, c.h.AHSLen())
		}
		if _, err := i.nc.Write(append(append([]byte(nil), c.h[:]...), tail...)); err != nil {
			t.Fatal(err)
		}
		h, data := i.recv()
		r, err := iscsi.ParseReject(&h)
		if err != nil || r.Reason != c.want || !bytes.Equal(data, append(c.h[:], tail...)) {
			t.Errorf("%s: %v, reason %v, want %v, with %d bytes", c.name, err, r.Reason, c.want, len(data))
		}
	}
	i.ready()
}

// A task tag in use is refused; the tag's task goes on.
func TestTagInUse(t *testing.T) {
	s := start(t)
	i := connect(t, s)
	i.ready()
	itt := i.command(command{cdb: write10(0, 8), write: true, expected: 4096})
	r := i.r2t()
	sn := i.cmdSN
	i.command(command{cdb: make([]byte, 6), itt: itt})
	if got := i.rejected(); got != iscsi.RejectTaskInProgress {
		t.Errorf("rejected for %v", got)
	}
	i.command(command{cdb: make([]byte, 6), at: &sn})
	i.outcome()
	i.data(itt, r.TTT, 0, 0, true, make([]byte, 4096))
	if o := i.outcome(); o.itt != itt || o.status != 0 {
		t.Errorf("the task ended with %+v", o)
	}
}

func TestTooManyImmediates(t *testing.T) {
	s := start(t, func(c *Config, _ *directory) { c.Immediates = 2 })
	i := connect(t, s)
	i.ready()
	arrived := s.dev.Hold()
	for range 2 {
		i.command(command{cdb: read10(0, 1), read: true, expected: 512, immediate: true})
		<-arrived
	}
	i.command(command{cdb: make([]byte, 6), immediate: true})
	if got := i.rejected(); got != iscsi.RejectImmediate {
		t.Errorf("rejected for %v", got)
	}
	s.dev.Release()
	i.outcome()
	i.outcome()
	i.command(command{cdb: make([]byte, 6), immediate: true})
	if o := i.outcome(); o.status != 0 {
		t.Errorf("ended with %+v", o)
	}
}

// Long CDBs and bidirectional commands end with INVALID COMMAND OPERATION
// CODE, their data thrown away.
func TestAdditionalHeadersAndBidirectional(t *testing.T) {
	s := start(t)
	i := connect(t, s)
	i.ready()
	for _, a := range []iscsi.AHS{
		{Type: iscsi.AHSExtendedCDB, Data: make([]byte, 16)},
		{Type: iscsi.AHSBidiExpected, Data: []byte{0, 0, 2, 0}},
	} {
		h := i.commandHeader(command{cdb: []byte{0x7f}, read: true, write: true, expected: 512, data: make([]byte, 512)})
		ahs := iscsi.AppendAHS(nil, a)
		h[4] = byte(len(ahs) / 4)
		b := append(append(append([]byte(nil), h[:]...), ahs...), make([]byte, 512)...)
		if _, err := i.nc.Write(b); err != nil {
			t.Fatal(err)
		}
		if o := i.outcome(); o.key() != [3]byte{5, 0x20, 0} {
			t.Errorf("type %d: ended with %+v", a.Type, o)
		}
	}
	i.command(command{cdb: read10(0, 1), read: true, write: true, expected: 512, data: make([]byte, 512)})
	if o := i.outcome(); o.key() != [3]byte{5, 0x20, 0} {
		t.Errorf("both directions: ended with %+v", o)
	}
	i.ready()
}

// Memory that a connection may not have costs its commands TASK SET FULL, not
// the connection.
func TestMemoryLimit(t *testing.T) {
	s := start(t, func(c *Config, _ *directory) { c.ConnectionMemory = 1 << 20 })
	i := connect(t, s)
	i.ready()
	big := i.command(command{cdb: write10(0, 4096), write: true, expected: 2 << 20}) // alone it is allowed
	r := i.r2t()
	i.command(command{cdb: write10(0, 1), write: true, expected: 512, data: make([]byte, 512)})
	if o := i.outcome(); o.status != 0x28 {
		t.Errorf("past the limit: ended with %+v", o)
	}
	for {
		i.data(big, r.TTT, 0, int(r.Offset), true, make([]byte, r.Desired))
		if int(r.Offset+r.Desired) == 2<<20 {
			break
		}
		r = i.r2t()
	}
	if o := i.outcome(); o.status != 0 {
		t.Errorf("the large write ended with %+v", o)
	}
	i.check(0, make([]byte, 4096))
	i.ping() // what was sent before it has been given back
	if m := s.Totals().Memory; m != 0 {
		t.Errorf("%d bytes are still charged", m)
	}
}

// Sense data of commands that the engine refuses by itself has the format that
// the unit is set to (D_SENSE).
func TestSenseFormatOfRefusals(t *testing.T) {
	s := start(t)
	i := connect(t, s)
	i.ready()
	refused := func() byte {
		i.command(command{cdb: write10(0, 1), read: true, write: true, expected: 512, data: make([]byte, 512)})
		o := i.outcome()
		if o.status != 2 || len(o.sense) < 8 {
			t.Fatalf("a bidirectional command ended with %+v", o)
		}
		return o.sense[0] & 0x7f
	}
	if got := refused(); got != 0x70 {
		t.Errorf("fixed format: response code %#x", got)
	}
	i.command(command{cdb: []byte{0x1a, 0x08, 0x0a, 0, 64, 0}, read: true, expected: 64})
	page := i.outcome().data
	page[0], page[2] = 0, 0
	page[4] &= 0x3f
	page[6] |= 0x04
	i.command(command{cdb: []byte{0x15, 0x10, 0, 0, byte(len(page)), 0}, write: true, expected: uint32(len(page)), data: page})
	if o := i.outcome(); o.status != 0 {
		t.Fatalf("MODE SELECT ended with %+v", o)
	}
	if got := refused(); got != 0x72 {
		t.Errorf("descriptor format: response code %#x", got)
	}
}
