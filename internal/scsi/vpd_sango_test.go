package scsi

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sango/internal/san"
)

func TestSangoPage(t *testing.T) {
	for _, tt := range []struct {
		page SangoPage
		data string
	}{
		{
			SangoPage{
				Fence: true, MaxInstances: 256, PingTime: 4500 * time.Millisecond, MaxAge: 3 * time.Second,
				Instance: san.Instance{Group: 0x0102030405060708, Run: 0x090a0b0c0d0e0f10, Login: 0x11121314},
				Boot:     san.UUID{0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x2b, 0x2c, 0x2d, 0x2e, 0x2f, 0x30},
			},
			`00 c0 003c 53414e474f202020 01 03 0100 00001194 00000bb8
			 0102030405060708090a0b0c0d0e0f1011121314 2122232425262728292a2b2c2d2e2f30 00000000`,
		},
		{
			SangoPage{Fence: true, MaxInstances: 1},
			`00 c0 003c 53414e474f202020 01 01 0001 00000000 00000000
			 0000000000000000000000000000000000000000 00000000000000000000000000000000 00000000`,
		},
	} {
		data := tt.page.Append(nil, PeripheralDisk)
		wantBytes(t, "page", data, unhex(t, tt.data))
		back, err := ParseSangoPage(append(data, 1, 2)) // what follows is not looked at
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(tt.page, back); d != "" {
			t.Error(d)
		}
		for i := range data {
			if _, err := ParseSangoPage(data[:i]); !errors.Is(err, ErrShort) {
				t.Fatalf("cut to %d bytes: %v", i, err)
			}
		}
	}
	// Times are bounds: they are rounded up, and kept in what the field holds.
	p := SangoPage{PingTime: time.Millisecond + 1, MaxAge: 1 << 62}
	got, err := ParseSangoPage(p.Append(nil, PeripheralDisk))
	if err != nil || got.PingTime != 2*time.Millisecond || got.MaxAge != (1<<32-1)*time.Millisecond {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestSangoPageOfOthers(t *testing.T) {
	good := (&SangoPage{Fence: true}).Append(nil, PeripheralDisk)
	for name, change := range map[string]func([]byte){
		"another page":      func(p []byte) { p[1] = 0xc1 },
		"a shorter one":     func(p []byte) { p[3] = 59 },
		"another signature": func(p []byte) { p[11] = 0 },
		"another version":   func(p []byte) { p[12] = 2 },
	} {
		p := append([]byte(nil), good...)
		change(p)
		if got, err := ParseSangoPage(p); err == nil || errors.Is(err, ErrShort) {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}

func FuzzParseSangoPage(f *testing.F) {
	p := SangoPage{Fence: true, MaxInstances: 9, PingTime: time.Second, Instance: san.Instance{Group: 1, Run: 2, Login: 3}}
	f.Add(p.Append(nil, PeripheralDisk))
	p.Boot = san.UUID{1, 15: 2}
	f.Add(p.Append(nil, PeripheralDisk))
	f.Fuzz(func(t *testing.T, in []byte) {
		p, err := ParseSangoPage(in)
		if err != nil {
			return
		}
		again, err := ParseSangoPage(p.Append(nil, PeripheralDisk))
		if d := cmp.Diff(p, again); err != nil || d != "" {
			t.Fatal(err, d)
		}
	})
}
