package iscsi

import "testing"

func TestSCSICommandRead(t *testing.T) {
	vector(t, `01 c1 0000 00 000000 0003000000000000 00000007 00001000
		00000009 0000000b 28000000010000000800 000000000000`,
		SCSICommand{Final: true, Read: true, Attr: 1, LUN: [8]byte{0, 3}, ITT: 7, ExpectedLen: 4096, CmdSN: 9, ExpStatSN: 11, CDB: [16]byte{0x28, 0, 0, 0, 1, 0, 0, 0, 8}},
		ParseSCSICommand, (*SCSICommand).Put)
}

func TestSCSICommandWrite(t *testing.T) {
	vector(t, `41 23 0000 05 000200 4100000000000000 fffffffe 00002000
		ffffffff 00000000 8a0102030405060708090a0b0c0d0e0f`,
		SCSICommand{
			Immediate: true, Write: true, Attr: 3, AHSLen: 20, DataLen: 512, LUN: [8]byte{0x41}, ITT: 0xfffffffe, ExpectedLen: 8192, CmdSN: 0xffffffff,
			CDB: [16]byte{0x8a, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
		},
		ParseSCSICommand, (*SCSICommand).Put)
}

func TestSCSICommandRefused(t *testing.T) {
	const tail = " 00000009 0000000b 2a000000010000000800 000000000000"
	for name, c := range map[string]struct {
		wire   string
		reason RejectReason
	}{
		"reserved tag":             {"01 80 0000 00 000000 0000000000000000 ffffffff 00000000", RejectInvalidField},
		"reserved attribute":       {"01 85 0000 00 000000 0000000000000000 00000001 00000000", RejectInvalidField},
		"neither F nor W":          {"01 40 0000 00 000000 0000000000000000 00000001 00000200", RejectProtocol},
		"immediate data of a read": {"01 c0 0000 00 000200 0000000000000000 00000001 00000200", RejectProtocol},
		"more data than announced": {"01 a0 0000 00 000201 0000000000000000 00000001 00000200", RejectProtocol},
	} {
		t.Run(name, func(t *testing.T) { refused(t, c.wire+tail, c.reason, ParseSCSICommand) })
	}
}
