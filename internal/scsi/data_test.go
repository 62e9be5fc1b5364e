package scsi

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sango/internal/san"
)

func TestCapacity(t *testing.T) {
	c := Capacity{Blocks: 1 << 33, BlockSize: 512, LBPPBE: 3, Provisioned: true, ReadZeros: true, LowestAligned: 0x1234}
	wantBytes(t, "10", c.Append10(nil), unhex(t, "ffffffff 00000200"))
	data := c.Append16(nil)
	wantBytes(t, "16", data, unhex(t, "00000001ffffffff 00000200 00 03 d234 00000000000000000000000000000000"))
	if back, err := ParseCapacity16(data); err != nil || back != c {
		t.Errorf("got %+v, %v", back, err)
	}
	for i := range 16 {
		if _, err := ParseCapacity16(data[:i]); !errors.Is(err, ErrShort) {
			t.Fatalf("cut to %d bytes: %v", i, err)
		}
	}
	small := Capacity{Blocks: 1, BlockSize: 4096}
	wantBytes(t, "10, one block", small.Append10(nil), unhex(t, "00000000 00001000"))
}

func TestLBAStatus(t *testing.T) {
	list := []LBAStatus{{1, 2, StatusMapped}, {3, 4, StatusDeallocated}}
	data := AppendLBAStatus(nil, list)
	wantBytes(t, "data", data, unhex(t, "00000024 00000000 0000000000000001 00000002 00000000 0000000000000003 00000004 01000000"))
	for i := range len(data) + 1 {
		got, err := ParseLBAStatus(data[:i])
		switch {
		case i < 8:
			if !errors.Is(err, ErrShort) {
				t.Fatalf("cut to %d bytes: %v", i, err)
			}
		case err != nil || cmp.Diff(list[:(i-8)/16], got[:len(got):len(got)]) != "" && len(got) != 0:
			t.Fatalf("cut to %d bytes: %v, %v", i, got, err)
		}
	}
}

func TestUnmapList(t *testing.T) {
	ranges := []Range{{1, 2}, {3, 4}}
	data := AppendUnmapList(nil, ranges)
	wantBytes(t, "list", data, unhex(t, "0026 0020 00000000 0000000000000001 00000002 00000000 0000000000000003 00000004 00000000"))
	l, cc := ParseUnmapList(data)
	if cc != nil || l.Len() != 2 || l.At(0) != ranges[0] || l.At(1) != ranges[1] || l.FieldAt(1) != 24 {
		t.Errorf("got %+v, %v", l, cc)
	}
	for i := range data {
		l, cc := ParseUnmapList(data[:i])
		if i == 0 && (cc != nil || l.Len() != 0) {
			t.Errorf("no list: got %d descriptors, %v", l.Len(), cc)
		}
		if i > 0 && (cc == nil || cc.Sense.ASC != ASCParameterListLength) {
			t.Errorf("cut to %d bytes: got %v, want PARAMETER LIST LENGTH ERROR", i, cc)
		}
	}
	for _, tt := range []struct {
		list string
		n    int
	}{
		{"0000 0000 00000000", 0},
		{"0006 0000 00000000", 0},
		{"0015 000f 00000000 000000000000000000000000000000", 0}, // one that is incomplete
		{"0017 0011 00000000 00000000000000010000000200000000 00", 1},
	} {
		if l, cc := ParseUnmapList(unhex(t, tt.list)); cc != nil || l.Len() != tt.n {
			t.Errorf("%s: got %d descriptors, %v, want %d", tt.list, l.Len(), cc, tt.n)
		}
	}
	if _, cc := ParseUnmapList(unhex(t, "0010 0010 00000000 00000000000000010000000200000000")); cc == nil || cc.Sense.Field != 0 || !cc.Sense.HasField {
		t.Errorf("lengths that contradict each other: got %v", cc)
	}
}

func FuzzParseUnmapList(f *testing.F) {
	f.Add(AppendUnmapList(nil, []Range{{1, 2}, {3, 4}}))
	f.Add([]byte{0, 6, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		l, cc := ParseUnmapList(in)
		if cc != nil {
			return
		}
		for i := range l.Len() {
			if r := l.At(i); int(l.FieldAt(i))+16 > len(in) {
				t.Fatalf("descriptor %d, %v, lies past the list", i, r)
			}
		}
	})
}

func TestLUNs(t *testing.T) {
	luns := []san.LUN{0, 255, 256, san.MaxLUN}
	data := AppendLUNs(nil, luns)
	wantBytes(t, "data", data, unhex(t, "00000020 00000000 0000000000000000 00ff000000000000 4100000000000000 7fff000000000000"))
	for i := range len(data) + 1 {
		got, err := ParseLUNs(data[:i])
		switch {
		case i < 8:
			if !errors.Is(err, ErrShort) {
				t.Fatalf("cut to %d bytes: %v", i, err)
			}
		case err != nil || len(got) != (i-8)/8:
			t.Fatalf("cut to %d bytes: %v, %v", i, got, err)
		}
	}
	if _, err := ParseLUNs(unhex(t, "00000008 00000000 8000000000000000")); !errors.Is(err, san.ErrLUN) {
		t.Errorf("extended addressing: got %v", err)
	}
}

func TestLogPages(t *testing.T) {
	list := []LogPageCode{{0, 0}, {0, 0xff}, {0x0d, 0}, {0x0d, 0xff}, {0x2f, 0}}
	wantBytes(t, "00", AppendLogSupported(nil, list), unhex(t, "00 00 0003 00 0d 2f"))
	wantBytes(t, "00/ff", AppendLogSubpages(nil, 0, list), unhex(t, "40 ff 000a 0000 00ff 0d00 0dff 2f00"))
	wantBytes(t, "0d/ff", AppendLogSubpages(nil, 0x0d, list), unhex(t, "4d ff 0004 0d00 0dff"))
	wantBytes(t, "0d", AppendLogPage(nil, LogTemperature, 0, TemperatureParameters(0xff, 65), 0), unhex(t, "0d 00 000c 0000 03 02 00ff 0001 03 02 0041"))
	wantBytes(t, "0d from 1", AppendLogPage(nil, LogTemperature, 0, TemperatureParameters(0xff, 65), 1), unhex(t, "0d 00 0006 0001 03 02 0041"))
	wantBytes(t, "2f", AppendLogPage(nil, LogInfoExceptions, 0, InfoExceptionsParameters(ASCFailurePredictionFalse, 0xff), 0), unhex(t, "2f 00 0008 0000 03 04 5dff ff 00"))
	wantBytes(t, "0c", AppendLogPage(nil, LogProvisioning, 0, ProvisioningParameters(1, 2, true), 0),
		unhex(t, "0c 00 0018 0001 03 08 00000001 01000000 0002 03 08 00000002 01000000"))
}

func TestSupportedCommands(t *testing.T) {
	list := []SupportedCommand{
		{Op: OpTestUnitReady, Usage: unhex(t, "000000000000"), Timeouts: CommandTimeouts{Nominal: time.Second, Recommended: time.Minute}},
		{Op: OpServiceActionIn16, Action: SAReadCapacity16, HasAction: true, Usage: unhex(t, "9e100000000000000000ffffffff0000")},
	}
	wantBytes(t, "all", AppendSupportedCommands(nil, list, false), unhex(t, "00000010 00000000 00000006 9e000010 00010010"))
	wantBytes(t, "all with timeouts", AppendSupportedCommands(nil, list, true), unhex(t, `00000028
		00000000 00020006 000a0000 00000001 0000003c
		9e000010 00030010 000a0000 00000000 00000000`))
	wantBytes(t, "one", AppendSupportedCommand(nil, &list[0], false), unhex(t, "00 03 0006 000000000000"))
	wantBytes(t, "one with timeouts", AppendSupportedCommand(nil, &list[0], true), unhex(t, "00 83 0006 000000000000 000a0000 00000001 0000003c"))
	fence := SupportedCommand{Op: OpFence, HasAction: true, Usage: unhex(t, "c1000000")}
	wantBytes(t, "one of the vendor's", AppendSupportedCommand(nil, &fence, false), unhex(t, "00 05 0004 c1000000"))
	wantBytes(t, "none", AppendSupportedCommand(nil, nil, true), unhex(t, "00 01 0000"))
	s := SupportedTMFs{AbortTask: true, AbortTaskSet: true, ClearTaskSet: true, UnitReset: true, TargetReset: true, NexusReset: true}
	wantBytes(t, "TMFs", s.Append(nil, false), unhex(t, "da 01 00 00"))
	wantBytes(t, "TMFs, extended", s.Append(nil, true), unhex(t, "da 01 00 0c 000000000000000000000000"))
}

func TestOverwrite(t *testing.T) {
	o := Overwrite{Invert: true, Test: 1, Count: 3, Pattern: []byte{1, 2, 3}}
	data := o.Append(nil)
	wantBytes(t, "list", data, unhex(t, "a3 00 0003 010203"))
	back, cc := ParseOverwrite(data, 512)
	if cc != nil {
		t.Fatal(cc)
	}
	if d := cmp.Diff(o, back); d != "" {
		t.Error(d)
	}
	for i := range data {
		if _, cc := ParseOverwrite(data[:i], 512); cc == nil || cc.Sense.ASC != ASCParameterListLength {
			t.Errorf("cut to %d bytes: %v", i, cc)
		}
	}
	for list, field := range map[string]uint16{"00 00 0001 00": 0, "01 00 0000 00": 2, "01 00 0201 00": 2} {
		if _, cc := ParseOverwrite(unhex(t, list), 512); cc == nil || cc.Sense.ASC != ASCInvalidFieldInParameterList || cc.Sense.Field != field {
			t.Errorf("%s: got %+v, want a pointer to byte %d", list, cc, field)
		}
	}
	for n, want := range map[int]bool{0: false, 4: false, 5: true, 516: true, 517: false} {
		if got := OverwriteListFits(n, 512); got != want {
			t.Errorf("list of %d bytes fits: %v", n, got)
		}
	}
}

func FuzzParseOverwrite(f *testing.F) {
	f.Add([]byte{1, 0, 0, 2, 0xaa, 0x55})
	f.Add([]byte{0x1f, 0, 2, 0, 0xaa})
	f.Fuzz(func(t *testing.T, in []byte) {
		o, cc := ParseOverwrite(in, 512)
		if cc == nil && (len(o.Pattern) == 0 || len(o.Pattern) > 512 || o.Count == 0) {
			t.Fatalf("took %+v", o)
		}
	})
}

func TestSenseRoundTrip(t *testing.T) {
	for _, s := range []Sense{
		{Key: IllegalRequest, ASC: ASCInvalidFieldInCDB, HasField: true, FieldCDB: true, Field: 2, Bit: 3},
		{Key: IllegalRequest, ASC: ASCInvalidFieldInParameterList, HasField: true, Field: 20, Bit: -1},
		{Key: NotReady, ASC: ASCSanitizeInProgress, HasProgress: true, Progress: 0x8000, Bit: -1},
		{Key: Miscompare, ASC: ASCMiscompare, HasInfo: true, Info: 511, Bit: -1},
		{Key: CopyAborted, HasCmdInfo: true, CmdInfo: 7, Bit: -1, Deferred: true},
	} {
		for _, desc := range []bool{false, true} {
			data := s.Append(nil, desc)
			back, err := ParseSense(data)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(s, back); d != "" {
				t.Errorf("descriptor format %v: %s", desc, d)
			}
			for i := range data {
				if _, err := ParseSense(data[:i]); i < 8 && !errors.Is(err, ErrShort) || i >= 8 && err != nil {
					t.Fatalf("cut to %d bytes: %v", i, err)
				}
			}
		}
	}
	if _, err := ParseSense(make([]byte, 18)); err == nil {
		t.Error("response code 00h was taken")
	}
}

func FuzzParseSense(f *testing.F) {
	s := Sense{Key: IllegalRequest, HasField: true, HasInfo: true, Info: 1 << 40, HasCmdInfo: true}
	f.Add(s.Append(nil, true))
	f.Add(s.Append(nil, false))
	f.Fuzz(func(t *testing.T, in []byte) {
		s, err := ParseSense(in)
		if err != nil {
			return
		}
		again, err := ParseSense(s.Append(nil, true))
		if d := cmp.Diff(s, again); err != nil || d != "" {
			t.Fatalf("%v %s", err, d)
		}
	})
}

func FuzzParseReplies(f *testing.F) {
	f.Add(AppendLUNs(nil, []san.LUN{0, 300}))
	f.Add(AppendLBAStatus(nil, []LBAStatus{{1, 2, 0}}))
	f.Fuzz(func(t *testing.T, in []byte) {
		_, _ = ParseLUNs(in)
		_, _ = ParseLBAStatus(in)
		_, _ = ParseCapacity16(in)
		_, _ = ParseBlockLimits(in)
		_, _ = ParseStandardInquiry(in)
	})
}
