package iscsi

import "testing"

func BenchmarkParseSCSICommand(b *testing.B) {
	var h BHS
	(&SCSICommand{Final: true, Read: true, Attr: 1, ITT: 7, ExpectedLen: 4096, CmdSN: 9, CDB: [16]byte{0x28}}).Put(&h)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseSCSICommand(&h); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPutDataIn(b *testing.B) {
	var h BHS
	d := DataIn{Final: true, HasStatus: true, ITT: 7, TTT: NoTTT, StatSN: 1, ExpCmdSN: 2, MaxCmdSN: 3, DataLen: 4096}
	b.ReportAllocs()
	for b.Loop() {
		d.Put(&h)
	}
}

func BenchmarkDigest4K(b *testing.B) {
	data := make([]byte, 4096)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		Digest(data)
	}
}
