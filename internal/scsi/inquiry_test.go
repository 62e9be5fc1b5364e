package scsi

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	return b
}

func wantBytes(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s:\ngot\n%swant\n%s", what, hex.Dump(got), hex.Dump(want))
	}
}

func TestStandardInquiry(t *testing.T) {
	q := StandardInquiry{
		Removable: true, Version: InquirySPC3, HiSup: true, TPGS: TPGSImplicit, ThirdPartyCopy: true, MultiPort: true,
		CommandQueue: true, Vendor: "SANGO", Product: "VIRTUAL-DISK", Revision: "1\x01",
		VersionsClaimed: []uint16{VersionSAM5, VersionSPC4, VersionSBC3, VersionISCSI},
	}
	got := q.Append(nil)
	want := unhex(t, `00 80 05 12 5b 18 10 02
		53414e474f202020 5649525455414c2d4449534b20202020 313f2020
		0000000000000000000000000000000000000000 0000
		00a0 0460 04c0 0960 0000 0000 0000 0000
		00000000000000000000000000000000000000000000`)
	wantBytes(t, "standard INQUIRY", got, want)
	if int(got[4]) != len(got)-5 {
		t.Errorf("ADDITIONAL LENGTH %d of %d bytes", got[4], len(got))
	}
	back, err := ParseStandardInquiry(got)
	if err != nil {
		t.Fatal(err)
	}
	q.Revision = "1?"
	if d := cmp.Diff(q, back); d != "" {
		t.Error(d)
	}
	for i := range 36 {
		if _, err := ParseStandardInquiry(got[:i]); !errors.Is(err, ErrShort) {
			t.Fatalf("cut to %d bytes: %v", i, err)
		}
	}
}

func TestSimpleVPDPages(t *testing.T) {
	wantBytes(t, "00", AppendVPDSupported(nil, 0, []VPDPage{VPDBlockLimits, VPDSupported, VPDSerial, VPDSerial}), unhex(t, "00 00 0003 00 80 b0"))
	wantBytes(t, "80", AppendVPDSerial(nil, 0, "abc"), unhex(t, "00 80 0003 616263"))
	wantBytes(t, "85", AppendVPDManagement(nil, 0, []ManagementAddress{{Association: OfDevice, Service: 1, Address: "http://a/"}}),
		unhex(t, "00 85 0010 41 00 000c 687474703a2f2f612f 000000"))
	e := ExtendedInquiry{HeadOfQueue: true, Ordered: true, Simple: true, Volatile: true, MaxSense: 64}
	wantBytes(t, "86", e.Append(nil, 0), append(unhex(t, "00 86 003c 00 07 01 00 00 00 0000 00 40"), make([]byte, 50)...))
	wantBytes(t, "87", AppendVPDModePolicy(nil, 0, []ModePolicy{{Page: 0x3f, Subpage: 0xff}, {Page: 8, MLUS: true, Policy: PolicyPerNexus}}),
		unhex(t, "00 87 0008 3f ff 00 00 08 00 83 00"))
}

func TestBlockVPDPages(t *testing.T) {
	l := BlockLimits{
		WriteSameNonZero: true, MaxCompareAndWrite: 1, OptimalGranularity: 2, MaxTransfer: 3, OptimalTransfer: 4, MaxPreFetch: 5,
		MaxUnmap: 6, MaxUnmapDescriptors: 7, OptimalUnmap: 8, UnmapAlignment: 9, UnmapAligned: true, MaxWriteSame: 10,
		MaxAtomic: 11, AtomicAlignment: 12, AtomicGranularity: 13, MaxAtomicWithBoundary: 14, MaxAtomicBoundary: 15,
	}
	got := l.Append(nil, 0)
	wantBytes(t, "b0", got, unhex(t, `00 b0 003c 01 01 0002 00000003 00000004 00000005 00000006 00000007 00000008
		80000009 000000000000000a 0000000b 0000000c 0000000d 0000000e 0000000f`))
	back, err := ParseBlockLimits(got)
	if err != nil || back != l {
		t.Errorf("got %+v, %v", back, err)
	}
	old := append([]byte(nil), got[:16]...)
	old[3] = 12
	if back, err = ParseBlockLimits(old); err != nil || back.OptimalTransfer != 4 || back.MaxUnmap != 0 {
		t.Errorf("SBC-2 form: got %+v, %v", back, err)
	}
	for i := range 16 {
		if _, err := ParseBlockLimits(got[:i]); !errors.Is(err, ErrShort) {
			t.Fatalf("cut to %d bytes: %v", i, err)
		}
	}
	d := BlockDevice{RotationRate: 1, WABEREQ: 1, FormFactor: 3, FUAB: true}
	wantBytes(t, "b1", d.Append(nil, 0), append(unhex(t, "00 b1 003c 0001 00 43 02"), make([]byte, 55)...))
	v := Provisioning{ThresholdExponent: 4, Unmap: true, WriteSame16: true, WriteSame10: true, ReadZeros: 1, Type: ProvisioningThin}
	wantBytes(t, "b2", v.Append(nil, 0), unhex(t, "00 b2 0004 04 e4 02 00"))
}

func TestThirdPartyCopyPage(t *testing.T) {
	p := ThirdPartyCopy{
		Commands:   []CopyCommand{{OpExtendedCopy, []ServiceAction{0}}, {OpReceiveCopyResults, []ServiceAction{0, 3}}},
		MaxTargets: 1, MaxSegments: 2, MaxListLength: 3, MaxInline: 0, Descriptors: []uint8{0x02, 0xe4}, TargetIDs: []uint16{0xffff},
		MaxConcurrent: 4, MaxIdentified: 5, MaxSegmentLength: 6, SegmentGranularity: 9,
	}
	wantBytes(t, "8f", p.Append(nil, 0), unhex(t, `00 8f 0060
		0001 0008 07 83 01 00 84 02 00 03
		0004 001c 00000000 0001 0002 00000003 00000000 000000000000000000000000
		0008 0004 02 02 e4 00
		000c 0004 0002 ffff
		8001 0020 00000004 00000005 00000006 09 00 000000000000000000000000000000000000`))
}

func TestDesignators(t *testing.T) {
	ids := []Designator{
		T10Designator("SANGO", "0a"), NAADesignator(0xf123456789abcdef), RelativePortDesignator(0x0102),
		PortGroupDesignator(0x0304), NameDesignator(OfPort, "iqn.a,t,0x1"), NameDesignator(OfUnit, "naa.3123"),
	}
	page := AppendVPDDeviceID(nil, 0, ids)
	wantBytes(t, "83", page, unhex(t, `00 83 004a
		02 01 00 0a 53414e474f202020 3061
		01 03 00 08 3123456789abcdef
		51 94 00 04 0000 0102
		51 95 00 04 0000 0304
		53 98 00 0c 69716e2e612c742c30783100
		03 08 00 0c 6e61612e3331323300000000`))
	back, err := ParseVPDDeviceID(page)
	if err != nil {
		t.Fatal(err)
	}
	ids[5].Protocol = 0 // not valid without PIV
	if d := cmp.Diff(ids, back); d != "" {
		t.Error(d)
	}
	for i := range page {
		if got, err := ParseVPDDeviceID(page[:i]); err == nil {
			t.Fatalf("cut to %d bytes: got %v", i, got)
		}
	}
}

func FuzzParseVPDDeviceID(f *testing.F) {
	f.Add(AppendVPDDeviceID(nil, 0, []Designator{T10Designator("SANGO", "0a"), NameDesignator(OfPort, "iqn.a,t,0x1")}))
	f.Add([]byte{0, 0x83, 0, 4, 1, 3, 0, 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		ids, err := ParseVPDDeviceID(in)
		if err != nil {
			return
		}
		again, err := ParseVPDDeviceID(AppendVPDDeviceID(nil, 0, ids))
		if d := cmp.Diff(ids, again); err != nil || d != "" {
			t.Fatalf("%v %s", err, d)
		}
	})
}
