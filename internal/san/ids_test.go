package san

import (
	"encoding/json"
	"testing"
)

func TestUUIDRoundTrip(t *testing.T) {
	u := NewUUID()
	if u.IsZero() || u[6]>>4 != 4 || u[8]>>6 != 2 {
		t.Fatalf("%s is not a version 4 UUID", u)
	}
	got, err := ParseUUID(u.String())
	if err != nil || got != u {
		t.Fatalf("ParseUUID(%s) = %v, %v", u, got, err)
	}
	b, err := json.Marshal(map[string]UUID{"id": u})
	if err != nil {
		t.Fatal(err)
	}
	var back map[string]UUID
	if err := json.Unmarshal(b, &back); err != nil || back["id"] != u {
		t.Fatalf("%s came back as %v, %v", b, back, err)
	}
}

func TestParseUUIDRefuses(t *testing.T) {
	for _, s := range []string{
		"", "x", "00000000000000000000000000000000",
		"00000000-0000-0000-0000-00000000000",
		"00000000-0000-0000-0000-00000000000g",
		"0000-0000-0000-0000-0000-00000000000",
		"00000000-0000-0000-0000--0000000000-",
	} {
		if u, err := ParseUUID(s); err == nil {
			t.Errorf("ParseUUID(%q) = %v, want an error", s, u)
		}
	}
}

func TestLUNField(t *testing.T) {
	for _, tc := range []struct {
		lun   LUN
		field [8]byte
	}{
		{0, [8]byte{0, 0}},
		{1, [8]byte{0, 1}},
		{255, [8]byte{0, 255}},
		{256, [8]byte{0x41, 0}},
		{MaxLUN, [8]byte{0x7f, 0xff}},
	} {
		if got := tc.lun.Field(); got != tc.field {
			t.Errorf("LUN %d: field %x, want %x", tc.lun, got, tc.field)
		}
		if got, err := ParseLUN(tc.field); err != nil || got != tc.lun {
			t.Errorf("ParseLUN(%x) = %d, %v, want %d", tc.field, got, err, tc.lun)
		}
	}
	// Flat space form of a small LUN is the same unit.
	if got, err := ParseLUN([8]byte{0x40, 7}); err != nil || got != 7 {
		t.Errorf("flat space 7 = %d, %v", got, err)
	}
	for _, f := range [][8]byte{
		{0, 1, 0, 1}, // a second level
		{1, 0},       // peripheral, bus 1
		{0x80, 0},    // logical unit addressing
		{0xc1, 0x01}, // well-known logical unit
		{0, 0, 0, 0, 0, 0, 0, 1},
	} {
		if got, err := ParseLUN(f); err == nil {
			t.Errorf("ParseLUN(%x) = %d, want an error", f, got)
		}
	}
}

func TestPortNames(t *testing.T) {
	i := InitiatorPort{Name: "iqn.1993-08.org.debian:01:a", ISID: ISID{0x80, 0, 0, 0, 0, 1}}
	if got, want := i.String(), "iqn.1993-08.org.debian:01:a,i,0x800000000001"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	p := TargetPort{Name: "iqn.2026-11.io.sango:demo", TPG: 3}
	if got, want := p.String(), "iqn.2026-11.io.sango:demo,t,0x0003"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
