package iscsi

import "testing"

// sink keeps the compiler from leaving out what is measured.
var sink any

// BenchmarkPDU reads and writes the headers that every command needs.
func BenchmarkPDU(b *testing.B) {
	codec(b, "SCSICommand", SCSICommand{Final: true, Read: true, Attr: 1, ITT: 7, ExpectedLen: 4096, CmdSN: 9, CDB: [16]byte{0x28}},
		ParseSCSICommand, (*SCSICommand).Put)
	codec(b, "SCSIResponse", SCSIResponse{ITT: 7, StatSN: 1, ExpCmdSN: 2, MaxCmdSN: 3}, ParseSCSIResponse, (*SCSIResponse).Put)
	codec(b, "DataIn", DataIn{Final: true, HasStatus: true, ITT: 7, TTT: NoTTT, StatSN: 1, ExpCmdSN: 2, MaxCmdSN: 3, DataLen: 4096},
		ParseDataIn, (*DataIn).Put)
	codec(b, "DataOut", DataOut{Final: true, ITT: 7, TTT: 8, DataLen: 4096}, ParseDataOut, (*DataOut).Put)
	codec(b, "R2T", R2T{ITT: 7, TTT: 8, StatSN: 1, ExpCmdSN: 2, MaxCmdSN: 3, Desired: 65536}, ParseR2T, (*R2T).Put)
}

func codec[T any](b *testing.B, name string, v T, parse func(*BHS) (T, error), put func(*T, *BHS)) {
	var h BHS
	put(&v, &h)
	b.Run("pdu="+name+"/op=parse", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := parse(&h); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("pdu="+name+"/op=put", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			put(&v, &h)
		}
	})
}

// loginKeys is what open-iscsi offers in its last login request.
var loginKeys = Keys{
	{"HeaderDigest", "None"},
	{"DataDigest", "None"},
	{"DefaultTime2Wait", "2"},
	{"DefaultTime2Retain", "0"},
	{"IFMarker", "No"},
	{"OFMarker", "No"},
	{"ErrorRecoveryLevel", "0"},
	{"InitialR2T", "No"},
	{"ImmediateData", "Yes"},
	{"MaxBurstLength", "16776192"},
	{"FirstBurstLength", "262144"},
	{"MaxOutstandingR2T", "1"},
	{"MaxConnections", "1"},
	{"DataPDUInOrder", "Yes"},
	{"DataSequenceInOrder", "Yes"},
	{"MaxRecvDataSegmentLength", "262144"},
}

// BenchmarkText is the data segment of a login.
func BenchmarkText(b *testing.B) {
	wire := loginKeys.Append(nil)
	b.Run("op=parse", func(b *testing.B) {
		b.SetBytes(int64(len(wire)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := ParseText(wire); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("op=append", func(b *testing.B) {
		b.SetBytes(int64(len(wire)))
		b.ReportAllocs()
		out := make([]byte, 0, len(wire))
		for b.Loop() {
			out = loginKeys.Append(out[:0])
		}
		sink = out
	})
}

// BenchmarkDigest is CRC32C over a header, a block, and data segments.
func BenchmarkDigest(b *testing.B) {
	for _, c := range []struct {
		name string
		size int
	}{{"48", BHSLen}, {"4k", 4 << 10}, {"64k", 64 << 10}, {"1024k", 1 << 20}} {
		b.Run("size="+c.name, func(b *testing.B) {
			data := make([]byte, c.size)
			b.SetBytes(int64(c.size))
			b.ReportAllocs()
			for b.Loop() {
				Digest(data)
			}
		})
	}
}
