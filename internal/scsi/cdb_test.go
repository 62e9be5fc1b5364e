package scsi

import (
	"encoding/hex"
	"strings"
	"testing"
)

// cdbOf makes a CDB of hexadecimal bytes.
func cdbOf(t testing.TB, s string) *CDB {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil || len(b) > 16 {
		t.Fatalf("%q is not a CDB: %v", s, err)
	}
	var c CDB
	copy(c[:], b)
	return &c
}

func TestParseBlocks(t *testing.T) {
	for _, tt := range []struct {
		name, cdb string
		want      Blocks
	}{
		{"read6", "08 1f ff fe 00 00", Blocks{LBA: 0x1ffffe, Blocks: 256, LBAAt: 1, BlocksAt: 4}},
		{"write6", "0a 00 00 07 09 00", Blocks{LBA: 7, Blocks: 9, LBAAt: 1, BlocksAt: 4}},
		{"read10", "28 38 01020304 1f 0506 00", Blocks{LBA: 0x01020304, Blocks: 0x0506, Protect: 1, DPO: true, FUA: true, Group: 0x1f, LBAAt: 2, BlocksAt: 7}},
		{"write12", "aa 08 01020304 05060708 02 00", Blocks{LBA: 0x01020304, Blocks: 0x05060708, FUA: true, Group: 2, LBAAt: 2, BlocksAt: 6}},
		{"read16", "88 e0 0102030405060708 090a0b0c 3f 00", Blocks{LBA: 0x0102030405060708, Blocks: 0x090a0b0c, Protect: 7, Group: 0x3f, LBAAt: 2, BlocksAt: 10}},
		{"verify10", "2f 16 00000001 00 0002 00", Blocks{LBA: 1, Blocks: 2, DPO: true, ByteCheck: VerifyOneBlock, LBAAt: 2, BlocksAt: 7}},
		{"write and verify 16", "8e 02 0000000000000001 00000002 00 00", Blocks{LBA: 1, Blocks: 2, ByteCheck: VerifyBlocks, LBAAt: 2, BlocksAt: 10}},
		{"compare and write", "89 18 0000000000000009 000000 03 05 00", Blocks{LBA: 9, Blocks: 3, DPO: true, FUA: true, Group: 5, LBAAt: 2, BlocksAt: 13}},
		{"write atomic", "9c 08 0000000000000009 0010 0020 00 00", Blocks{LBA: 9, Blocks: 0x20, Boundary: 0x10, FUA: true, LBAAt: 2, BlocksAt: 12}},
		{"write same 10", "41 18 00000009 00 0001 00", Blocks{LBA: 9, Blocks: 1, Anchor: true, Unmap: true, LBAAt: 2, BlocksAt: 7}},
		{"write same 16", "93 09 0000000000000009 00000000 00 00", Blocks{LBA: 9, Unmap: true, NoData: true, LBAAt: 2, BlocksAt: 10}},
		{"pre-fetch 10", "34 02 00000009 00 0000 00", Blocks{LBA: 9, Immediate: true, LBAAt: 2, BlocksAt: 7}},
		{"synchronize cache 16", "91 02 0000000000000009 00000001 00 00", Blocks{LBA: 9, Blocks: 1, Immediate: true, LBAAt: 2, BlocksAt: 10}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := cdbOf(t, tt.cdb)
			got := ParseBlocks(c)
			if got != tt.want {
				t.Fatalf("got  %+v\nwant %+v", got, tt.want)
			}
			back, err := got.CDB(Op(c))
			if err != nil {
				t.Fatal(err)
			}
			if back != *c {
				t.Fatalf("back to bytes: got % x, want % x", back, *c)
			}
		})
	}
}

func TestBlocksThatDoNotFit(t *testing.T) {
	for _, tt := range []struct {
		op OpCode
		b  Blocks
	}{
		{OpRead6, Blocks{LBA: 1 << 21, Blocks: 1}},
		{OpRead6, Blocks{Blocks: 257}},
		{OpRead6, Blocks{}},
		{OpRead10, Blocks{LBA: 1 << 32}},
		{OpRead10, Blocks{Blocks: 1 << 16}},
		{OpWrite12, Blocks{LBA: 1 << 32}},
		{OpCompareAndWrite, Blocks{Blocks: 256}},
		{OpWriteAtomic16, Blocks{Blocks: 1 << 16}},
		{OpInquiry, Blocks{}},
	} {
		if c, err := tt.b.CDB(tt.op); err == nil {
			t.Errorf("%v of %+v: got % x, want an error", tt.op, tt.b, c)
		}
	}
}

func FuzzParseBlocks(f *testing.F) {
	for op := range 256 {
		f.Add([]byte{byte(op), 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0xfa, 0xf9, 0xf8, 0xf7, 0xf6, 0xf5, 0xf4, 0xf3, 0xf2, 0xf1})
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var c CDB
		copy(c[:], in)
		b := ParseBlocks(&c)
		again, err := b.CDB(Op(&c))
		if err != nil {
			return // not a command on blocks
		}
		if got := ParseBlocks(&again); got != b {
			t.Fatalf("% x parses to %+v, and its encoding % x to %+v", c, b, again, got)
		}
	})
}

func TestParseOtherCDBs(t *testing.T) {
	check := func(name string, got, want any) {
		t.Helper()
		if got != want {
			t.Errorf("%s:\ngot  %+v\nwant %+v", name, got, want)
		}
	}
	check("start stop", ParseStartStop(cdbOf(t, "1b 01 00 0f 37 00")), StartStop{Immediate: true, Modifier: 15, PowerCondition: 3, NoFlush: true, LoadEject: true, Start: true})
	check("prevent", ParsePreventAllow(cdbOf(t, "1e 00 00 00 03 00")), uint8(3))
	check("read capacity 10", ParseReadCapacity(cdbOf(t, "25 00 00000001 0000 01 00")), ReadCapacity{LBA: 1, PMI: true, Allocation: 8})
	check("read capacity 16", ParseReadCapacity(cdbOf(t, "9e 10 0000000000000001 00000020 01 00")), ReadCapacity{LBA: 1, PMI: true, Allocation: 32})
	check("get lba status", ParseGetLBAStatus(cdbOf(t, "9e 12 0000000000000001 00000020 02 00")), GetLBAStatus{LBA: 1, Allocation: 32, ReportType: 2})
	check("unmap", ParseUnmap(cdbOf(t, "42 01 00000000 05 0018 00")), Unmap{Anchor: true, Group: 5, Length: 24})
	check("read defect 10", ParseReadDefectData(cdbOf(t, "37 00 1d 00000000 1234 00")), ReadDefectData{Primary: true, Grown: true, Format: 5, Allocation: 0x1234})
	check("read defect 12", ParseReadDefectData(cdbOf(t, "b7 0d 00000007 00001234 00 00")), ReadDefectData{Grown: true, Format: 5, Index: 7, Allocation: 0x1234})
	check("sanitize", ParseSanitize(cdbOf(t, "48 a1 0000000000 0204 00")), Sanitize{Action: SASanitizeOverwrite, Immediate: true, AUSE: true, Length: 0x204})
	check("inquiry", ParseInquiry(cdbOf(t, "12 01 83 0102 00")), Inquiry{EVPD: true, Page: VPDDeviceID, Allocation: 0x0102})
	check("mode sense 6", ParseModeSense(cdbOf(t, "1a 08 ca 01 ff 00")), ModeSense{DBD: true, Control: PageSaved, Page: 0x0a, Subpage: 1, Allocation: 255})
	check("mode sense 10", ParseModeSense(cdbOf(t, "5a 10 48 ff 000000 1234 00")), ModeSense{Long: true, LLBAA: true, Control: PageChangeable, Page: 8, Subpage: 255, Allocation: 0x1234})
	check("mode select 6", ParseModeSelect(cdbOf(t, "15 11 0000 18 00")), ModeSelect{PF: true, Save: true, Length: 24})
	check("mode select 10", ParseModeSelect(cdbOf(t, "55 12 0000000000 1234 00")), ModeSelect{Long: true, PF: true, RTD: true, Length: 0x1234})
	check("log sense", ParseLogSense(cdbOf(t, "4d 01 42 ff 00 0005 0100 00")), LogSense{Save: true, Control: 1, Page: 2, Subpage: 255, Pointer: 5, Allocation: 256})
	check("report luns", ParseReportLUNs(cdbOf(t, "a0 00 02 000000 00001000 00 00")), ReportLUNs{Select: 2, Allocation: 4096})
	check("rtpg", ParseReportTargetPortGroups(cdbOf(t, "a3 2a 00000000 00001000 00 00")), ReportTargetPortGroups{Format: 1, Allocation: 4096})
	check("stpg", ParseSetTargetPortGroups(cdbOf(t, "a4 0a 00000000 0000000c 00 00")), uint32(12))
	check("rsoc", ParseReportOpCodes(cdbOf(t, "a3 0c 82 9e 0010 00000100 00 00")), ReportOpCodes{Timeouts: true, Option: ReportAction, Op: OpServiceActionIn16, Action: SAReadCapacity16, Allocation: 256})
	check("reserve", ParseReserve6(cdbOf(t, "16 1b 07 0102 00")), Reserve6{ThirdParty: true, DeviceID: 5, Extent: true, ID: 7, Length: 0x102})
	check("pr in", ParsePersistReserveIn(cdbOf(t, "5e 03 0000000000 0102 00")), PersistReserveIn{Action: 3, Allocation: 0x102})
	check("pr out", ParsePersistReserveOut(cdbOf(t, "5f 01 18 0000 00000018 00")), PersistReserveOut{Action: 1, Scope: 1, Type: 8, Length: 24})
	check("copy results", ParseReceiveCopyResults(cdbOf(t, "84 03 05 00000000000000 00001000 00 00")), ReceiveCopyResults{Action: 3, ListID: 5, Allocation: 4096})
	action, n := ParseExtendedCopy(cdbOf(t, "83 01 0000000000000000 00001000 00 00"))
	check("extended copy action", action, ServiceAction(1))
	check("extended copy length", n, uint32(4096))
	desc, alloc := ParseRequestSense(cdbOf(t, "03 01 0000 fc 00"))
	check("request sense", [2]any{desc, alloc}, [2]any{true, uint32(252)})
	extended, alloc := ParseReportTMFs(cdbOf(t, "a3 0d 80 000000 00000010 00 00"))
	check("report tmfs", [2]any{extended, alloc}, [2]any{true, uint32(16)})
}

func TestCDBLen(t *testing.T) {
	for op, want := range map[OpCode]int{OpTestUnitReady: 6, OpRead10: 10, OpModeSense10: 10, OpRead16: 16, OpRead12: 12, 0x7f: 0, 0xc0: 0} {
		if got := op.CDBLen(); got != want {
			t.Errorf("%v: got %d bytes, want %d", op, got, want)
		}
	}
	c := cdbOf(t, "00 00 00 00 00 04")
	if v, at := ControlByte(c); v != 4 || at != 5 {
		t.Errorf("control: got %#x at %d, want 4 at 5", v, at)
	}
}
