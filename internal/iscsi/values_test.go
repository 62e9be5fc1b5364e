package iscsi

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
)

func TestParseNumber(t *testing.T) {
	for s, want := range map[string]uint64{"0": 0, "7": 7, "65536": 65536, "0x0": 0, "0x1F": 31, "0XfF": 255, "18446744073709551615": 1<<64 - 1, "0xffffffffffffffff": 1<<64 - 1} {
		if got, err := ParseNumber(s); err != nil || got != want {
			t.Errorf("%q: %d, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "0x", "01", "+1", "-1", " 1", "1 ", "1_0", "0x1_0", "a", "0b11", "0o7", "18446744073709551616", "1~2", "1.0", "Yes"} {
		if got, err := ParseNumber(s); !errors.Is(err, ErrValue) {
			t.Errorf("%q: %d, %v", s, got, err)
		}
	}
}

func TestParseBool(t *testing.T) {
	for s, want := range map[string]bool{"Yes": true, "No": false} {
		if got, err := ParseBool(s); err != nil || got != want || FormatBool(want) != s {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "yes", "NO", "1", "Yes,No"} {
		if _, err := ParseBool(s); !errors.Is(err, ErrValue) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestParseBinary(t *testing.T) {
	for s, want := range map[string][]byte{
		"0x01": {1}, "0X0aFF": {10, 255}, "0xabc": {0x0a, 0xbc}, "0bAQI=": {1, 2}, "0BAQI": {1, 2}, "0b////": {255, 255, 255}, "0x0000": {0, 0},
	} {
		got, err := ParseBinary(s, 4)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%q: %x, %v", s, got, err)
		}
		if again, err := ParseBinary(FormatBinary(want), 4); err != nil || !bytes.Equal(again, want) {
			t.Errorf("%x does not survive", want)
		}
	}
	for _, s := range []string{"", "0", "0x", "0b", "01", "1x00", "0xzz", "0b!!", "0bAQ=\n", "0bA", "0x0102030405", "0b" + base64.StdEncoding.EncodeToString(make([]byte, 5)), "0x" + strings.Repeat("0", 1<<20)} {
		if got, err := ParseBinary(s, 4); !errors.Is(err, ErrValue) {
			t.Errorf("%q: %x, %v", clip(s), got, err)
		}
	}
}

func FuzzBinary(f *testing.F) {
	f.Add("0x0102")
	f.Add("0bAQI=")
	f.Add("0b\r\n")
	f.Fuzz(func(t *testing.T, s string) {
		const limit = 64
		b, err := ParseBinary(s, limit)
		if err != nil {
			return
		}
		if len(b) == 0 || len(b) > limit {
			t.Fatalf("%d bytes", len(b))
		}
		if again, err := ParseBinary(FormatBinary(b), limit); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%x came back as %x, %v", b, again, err)
		}
	})
}

func TestCheckName(t *testing.T) {
	for _, s := range []string{"iqn.2026-11.io.sango:demo", "eui.02004567A425678D", "naa.52004567BA64678D", "anything", strings.Repeat("a", MaxName), "iqn.2026-11.io.sango:größe"} {
		if err := CheckName(s); err != nil {
			t.Errorf("%q: %v", clip(s), err)
		}
	}
	for _, s := range []string{"", "a b", "a\x00b", "a\nb", "a,b", "a=b", "a\"b", "a\xffb", strings.Repeat("a", MaxName+1)} {
		if err := CheckName(s); !errors.Is(err, ErrValue) {
			t.Errorf("%q: %v", clip(s), err)
		}
	}
}
