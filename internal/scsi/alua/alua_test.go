package alua

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sango/internal/scsi"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var groups = []Group{
	{ID: 1, State: Optimized, Preferred: true, Supported: SupportsOptimized | SupportsTransitioning, Status: StatusImplicit, Ports: []uint16{1, 0x102}},
	{ID: 0x203, State: Transitioning, Supported: SupportsNonOptimized},
}

func TestPortGroups(t *testing.T) {
	const body = "80 81 0001 00 02 00 02 00000001 00000102 0f 02 0203 00 00 00 00"
	for _, tt := range []struct {
		f          Format
		transition uint8
		want       string
	}{
		{LengthOnly, 0, "00000018" + body},
		{Extended, 30, "0000001c 10 1e 0000" + body},
	} {
		got := Append(nil, tt.f, tt.transition, groups)
		if want := unhex(t, tt.want); !bytes.Equal(got, want) {
			t.Errorf("format %d:\ngot  % x\nwant % x", tt.f, got, want)
		}
		back, transition, err := Parse(got)
		if err != nil || transition != tt.transition {
			t.Fatalf("format %d: transition %d, %v", tt.f, transition, err)
		}
		if d := cmp.Diff(groups, back); d != "" {
			t.Error(d)
		}
		for i := range got {
			if _, _, err := Parse(got[:i]); !errors.Is(err, scsi.ErrShort) {
				t.Fatalf("cut to %d bytes: %v", i, err)
			}
		}
	}
}

func TestSupportedHas(t *testing.T) {
	for _, s := range []State{Optimized, NonOptimized, Standby, Unavailable, LBADependent, Offline, Transitioning} {
		if Supported(0xdf).Has(s) == false || Supported(0).Has(s) {
			t.Errorf("%v", s)
		}
	}
	if Supported(0xff).Has(5) {
		t.Error("state 5 is reserved")
	}
}

func TestSet(t *testing.T) {
	list := []Change{{1, Optimized, 4}, {0x203, Standby, 8}}
	data := AppendSet(nil, list)
	if want := unhex(t, "00000000 00000001 02000203"); !bytes.Equal(data, want) {
		t.Errorf("got % x, want % x", data, want)
	}
	for i := range len(data) + 1 {
		got, cc := ParseSet(data[:i])
		switch {
		case i == 0 || i == 4:
			if cc != nil || len(got) != 0 {
				t.Errorf("%d bytes: got %v, %v", i, got, cc)
			}
		case i%4 == 0:
			if d := cmp.Diff(list[:i/4-1], got); cc != nil || d != "" {
				t.Errorf("%d bytes: %v %s", i, cc, d)
			}
		case cc == nil || cc.Sense.ASC != scsi.ASCParameterListLength:
			t.Errorf("%d bytes: got %v, want PARAMETER LIST LENGTH ERROR", i, cc)
		}
	}
	for list, field := range map[string]uint16{
		"00000000 00000001 0f000002": 8, // transitioning cannot be asked for
		"00000000 0e000001":          4,
		"00000000 00000001 01000001": 10, // the same group again
	} {
		if _, cc := ParseSet(unhex(t, list)); cc == nil || cc.Sense.ASC != scsi.ASCInvalidFieldInParameterList || cc.Sense.Field != field {
			t.Errorf("%s: got %+v, want a pointer to byte %d", list, cc, field)
		}
	}
}

func FuzzParseSet(f *testing.F) {
	f.Add(AppendSet(nil, []Change{{ID: 1}, {ID: 2, State: Standby}}))
	f.Fuzz(func(t *testing.T, in []byte) {
		list, cc := ParseSet(in)
		if cc != nil {
			return
		}
		again, cc := ParseSet(AppendSet(nil, list))
		if cc != nil || len(again) != len(list) {
			t.Fatalf("%v %v", again, cc)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add(Append(nil, LengthOnly, 0, groups))
	f.Add(Append(nil, Extended, 30, groups))
	f.Fuzz(func(t *testing.T, in []byte) {
		list, _, err := Parse(in)
		if err != nil {
			return
		}
		again, _, err := Parse(Append(nil, Extended, 1, list))
		if d := cmp.Diff(list, again); err != nil || d != "" {
			t.Fatalf("%v %s", err, d)
		}
	})
}
