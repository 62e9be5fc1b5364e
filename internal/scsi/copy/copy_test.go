package copy

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sango/internal/scsi"
)

var limits = Limits{Targets: 2, Segments: 2, ListLength: 200}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func wantBytes(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s:\ngot\n%swant\n%s", what, hex.Dump(got), hex.Dump(want))
	}
}

func sample() *List {
	return &List{
		ID: 5, Usage: UsageDiscard, Priority: 1, Sequential: true,
		Targets: []Target{
			{InitiatorPort: 1, Designator: scsi.NAADesignator(7), BlockLength: 512, Pad: true, At: 16},
			{Null: true, Peripheral: 0, Designator: scsi.T10Designator("SANGO", "x"), BlockLength: 4096, At: 48},
		},
		Segments: []Segment{{DestinationCount: true, CAT: true, Source: 0, Destination: 1, Blocks: 0x102, SourceLBA: 3, DestinationLBA: 4, At: 80}},
	}
}

const sampleHex = `05 31 0040 00000000 0000001c 00000000
	e4 00 0001 01 03 00 08 3000000000000007 000000000000000000000000 04 000200
	e4 20 0000 02 01 00 09 53414e474f202020 78 0000000000000000000000 00 001000
	02 03 0018 0000 0001 0000 0102 0000000000000003 0000000000000004`

func TestList(t *testing.T) {
	data := sample().Append(nil)
	wantBytes(t, "list", data, unhex(t, sampleHex))
	back, cc := Parse(data, limits)
	if cc != nil {
		t.Fatal(cc)
	}
	if d := cmp.Diff(sample(), back); d != "" {
		t.Error(d)
	}
	for i := range data {
		l, cc := Parse(data[:i], limits)
		if i == 0 && (l != nil || cc != nil) {
			t.Errorf("no list: got %v, %v", l, cc)
		}
		if i > 0 && (cc == nil || cc.Sense.ASC != scsi.ASCParameterListLength) {
			t.Fatalf("cut to %d bytes: %v", i, cc)
		}
	}
}

func TestListErrors(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(b []byte)
		asc   scsi.ASC
		field int
	}{
		{"longer than the limit", func(b []byte) { b[8] = 1 }, scsi.ASCParameterListLength, -1},
		{"inline data", func(b []byte) { b[15] = 1 }, scsi.ASCInlineDataLengthExceeded, -1},
		{"reserved list id usage", func(b []byte) { b[1] = 0x08 }, scsi.ASCInvalidFieldInParameterList, 1},
		{"list id without use", func(b []byte) { b[1] = 0x18 }, scsi.ASCInvalidFieldInParameterList, 1},
		{"target descriptor type", func(b []byte) { b[48] = 0xe0 }, scsi.ASCUnsupportedTargetDescriptor, 48},
		{"segment descriptor type", func(b []byte) { b[80] = 3 }, scsi.ASCUnsupportedSegmentDescriptor, 80},
		{"unit id type", func(b []byte) { b[17] = 0x40 }, scsi.ASCInvalidFieldInParameterList, 17},
		{"designator length", func(b []byte) { b[23] = 21 }, scsi.ASCInvalidFieldInParameterList, 23},
		{"segment descriptor length", func(b []byte) { b[83] = 0x1c }, scsi.ASCInvalidFieldInParameterList, 82},
		{"target list length", func(b []byte) { b[3] = 0x3f }, scsi.ASCInvalidFieldInParameterList, 2},
		{"segment list length", func(b []byte) { b[11] = 0x1b }, scsi.ASCInvalidFieldInParameterList, 8},
	} {
		data := sample().Append(nil)
		tt.spoil(data)
		_, cc := Parse(data, limits)
		if cc == nil || cc.Sense.ASC != tt.asc || cc.Sense.HasField != (tt.field >= 0) || tt.field >= 0 && int(cc.Sense.Field) != tt.field {
			t.Errorf("%s: got %+v, want %v at %d", tt.name, cc, tt.asc, tt.field)
		}
	}
	l := sample()
	l.Targets = append(l.Targets, l.Targets[0])
	if _, cc := Parse(l.Append(nil), limits); cc == nil || cc.Sense.ASC != scsi.ASCTooManyTargetDescriptors {
		t.Errorf("three targets: %v", cc)
	}
	l = sample()
	l.Segments = append(l.Segments, l.Segments[0], l.Segments[0])
	if _, cc := Parse(l.Append(nil), limits); cc == nil || cc.Sense.ASC != scsi.ASCTooManySegmentDescriptors {
		t.Errorf("three segments: %v", cc)
	}
}

func TestResults(t *testing.T) {
	o := Operating{
		Limits: Limits{1, 2, 3}, NoListID: true, MaxSegmentLength: 4, HeldData: 5, TotalConcurrent: 6, MaxConcurrent: 7,
		SegmentGranularity: 9, HeldGranularity: 8, Descriptors: []uint8{BlockToBlock, Identification},
	}
	wantBytes(t, "operating parameters", o.Append(nil), unhex(t, `0000002a 01 000000 0001 0002 00000003 00000004 00000000 00000005
		00000000 0000 0006 07 09 00 08 000000 02 02e4`))
	p := Progress{State: Done, Segments: 0x102, Bytes: 5}
	wantBytes(t, "status", p.Append(nil), unhex(t, "00000008 01 0102 00 00000005"))
	p.Bytes = 1 << 45
	wantBytes(t, "status of a large copy", p.Append(nil), unhex(t, "00000008 01 0102 02 02000000"))
	wantBytes(t, "no failure", AppendFailure(nil, scsi.Good, nil), unhex(t, "00000000"))
	wantBytes(t, "failure", AppendFailure(nil, scsi.CheckConditionStatus, []byte{0x70, 1}),
		append(append(unhex(t, "0000003a"), make([]byte, 52)...), unhex(t, "02 00 0002 7001")...))
}

func FuzzParse(f *testing.F) {
	f.Add(sample().Append(nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, in []byte) {
		l, cc := Parse(in, limits)
		if cc != nil || l == nil {
			return
		}
		if len(l.Targets) > limits.Targets || len(l.Segments) > limits.Segments {
			t.Fatalf("%d targets, %d segments", len(l.Targets), len(l.Segments))
		}
		again, cc := Parse(l.Append(nil), limits)
		if d := cmp.Diff(l, again); cc != nil || d != "" {
			t.Fatalf("%v %s", cc, d)
		}
	})
}
