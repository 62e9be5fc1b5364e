package iscsi

import (
	"strings"
	"testing"
)

func TestHeaderFields(t *testing.T) {
	h := header(t, `41 a0 0000 02 012345 0001020304050607 11121314
		00000200 21222324 31323334 2a000000000000000000000000000000`)
	if h.Opcode() != OpSCSICommand || !h.Immediate() || !h.Final() {
		t.Errorf("opcode %v, immediate %v, final %v", h.Opcode(), h.Immediate(), h.Final())
	}
	if h.AHSLen() != 8 || h.DataLen() != 0x012345 {
		t.Errorf("lengths %d, %d", h.AHSLen(), h.DataLen())
	}
	if h.ITT() != 0x11121314 || h.CmdSN() != 0x21222324 || h.ExpStatSN() != 0x31323334 {
		t.Errorf("itt %x, CmdSN %x, ExpStatSN %x", h.ITT(), h.CmdSN(), h.ExpStatSN())
	}
	h.PutStatSN(0x41424344)
	h.PutWindow(0x51525354, 0x61626364)
	if h.u32(24) != 0x41424344 || h.u32(28) != 0x51525354 || h.u32(32) != 0x61626364 {
		t.Errorf("%x", *h)
	}
}

func TestPad(t *testing.T) {
	for n, want := range []int{0, 3, 2, 1, 0, 3} {
		if got := Pad(n); got != want {
			t.Errorf("Pad(%d) = %d, want %d", n, got, want)
		}
	}
}

func TestOpcodeNames(t *testing.T) {
	for op := range pdus {
		if strings.HasPrefix(op.String(), "opcode") {
			t.Errorf("opcode %#x has no name", uint8(op))
		}
	}
	if got := Opcode(0x1c).String(); got != "opcode 1ch" {
		t.Error(got)
	}
	for op := range pdus {
		want := op <= OpLogoutRequest && op != OpDataOut
		if op.Numbered() != want {
			t.Errorf("%v numbered: %v", op, op.Numbered())
		}
	}
}
