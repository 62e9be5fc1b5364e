package iscsi

import (
	"bytes"
	"testing"
)

var ahsVectors = []struct {
	wire []byte
	want AHS
}{
	{[]byte{0, 5, 2, 0, 0, 0, 0x20, 0}, AHS{Type: AHSBidiExpected, Data: []byte{0, 0, 0x20, 0}}},
	{[]byte{0, 17, 1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, AHS{Type: AHSExtendedCDB, Data: []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}}},
	{[]byte{0, 3, 1, 0, 1, 2, 0, 0}, AHS{Type: AHSExtendedCDB, Data: []byte{1, 2}}},
	{[]byte{0, 1, 1, 7}, AHS{Type: AHSExtendedCDB, Specific: 7}},
}

func TestAHS(t *testing.T) {
	for _, v := range ahsVectors {
		a, rest, err := NextAHS(append(bytes.Clone(v.wire), 0xff, 0xff))
		if err != nil || a.Type != v.want.Type || a.Specific != v.want.Specific || !bytes.Equal(a.Data, v.want.Data) || len(rest) != 2 {
			t.Errorf("%x: %+v, %d left, %v", v.wire, a, len(rest), err)
		}
		if got := AppendAHS(nil, v.want); !bytes.Equal(got, v.wire) {
			t.Errorf("wrote %x, want %x", got, v.wire)
		}
		for i := range v.wire {
			if _, _, err := NextAHS(v.wire[:i]); err == nil {
				t.Errorf("%x cut to %d bytes was taken", v.wire, i)
			}
		}
	}
}

func TestAHSLengthZero(t *testing.T) {
	if _, _, err := NextAHS([]byte{0, 0, 1, 0}); err == nil {
		t.Error("a segment of length 0 was taken")
	}
	if _, _, err := NextAHS([]byte{0, 4, 2, 0, 0, 0, 0, 0}); err == nil {
		t.Error("a bidirectional length of 3 bytes was taken")
	}
}

func FuzzAHS(f *testing.F) {
	for _, v := range ahsVectors {
		f.Add(v.wire)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > MaxAHS {
			return
		}
		for rest := b; len(rest) > 0; {
			a, next, err := NextAHS(rest)
			if err != nil {
				return
			}
			again, _, err := NextAHS(AppendAHS(nil, a))
			if err != nil || again.Type != a.Type || again.Specific != a.Specific || !bytes.Equal(again.Data, a.Data) {
				t.Fatalf("%+v came back as %+v, %v", a, again, err)
			}
			if len(next) >= len(rest) {
				t.Fatal("no progress")
			}
			rest = next
		}
	})
}
