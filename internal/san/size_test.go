package san

import (
	"errors"
	"testing"
)

func TestParseSize(t *testing.T) {
	for in, want := range map[string]int64{
		"0": 0, "1": 1, "4096": 4096, "1K": 1024, "1k": 1024, "512M": 512 << 20, "1G": 1 << 30,
		"1.5G": 3 << 29, "64T": 64 << 40, "1GiB": 1 << 30, "1GB": 1 << 30, "512B": 512, "2Ki": 2048, "0.5K": 512,
	} {
		if got, err := ParseSize(in); err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "K", "-1", "+1", "1X", "1.3", "1e3", "9999999P", "99999999999999999999", "1 G", "512I", "512iB", "..", "1.1.1G", "NaN", "infK"} {
		if got, err := ParseSize(in); !errors.Is(err, ErrInvalid) {
			t.Errorf("ParseSize(%q) = %d, %v; want an invalid error", in, got, err)
		}
	}
}

func TestFormatSize(t *testing.T) {
	for in, want := range map[int64]string{0: "0B", 512: "512B", 1024: "1K", 1536: "1.5K", 1 << 30: "1G", 64 << 40: "64T", 1<<30 + 1: "1G"} {
		if got := FormatSize(in); got != want {
			t.Errorf("FormatSize(%d) = %q, want %q", in, got, want)
		}
	}
}
