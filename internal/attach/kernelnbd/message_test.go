package kernelnbd

import (
	"bytes"
	"encoding/hex"
	"maps"
	"strings"
	"testing"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Netlink speaks the byte order of the machine: these vectors are those of a
// little-endian one, which all machines are that Sango is built for.
func TestEncode(t *testing.T) {
	tests := []struct {
		name string
		c    config
		want string
	}{
		{"connect any", config{
			index: Any, size: 1 << 30, blockSize: 4096, timeout: 3, deadTimeout: 3600, flags: 0x16d,
			backend: "vol", sockets: []uintptr{7, 9},
		}, `
			0c00 0200 0000004000000000
			0c00 0300 0010000000000000
			0c00 0400 0300000000000000
			0c00 0800 100e000000000000
			0c00 0500 6d01000000000000
			0800 0a00 766f6c00
			1c00 0780
			  0c00 0180 0800 0100 07000000
			  0c00 0180 0800 0100 09000000`},
		{"connect number 0", config{index: 0, size: 512}, "0800 0100 00000000 0c00 0200 0002000000000000"},
		{"replace", config{index: 5, sockets: []uintptr{3}}, "0800 0100 05000000 1000 0780 0c00 0180 0800 0100 03000000"},
		{"destroy", config{index: 1, client: clientDestroy}, "0800 0100 01000000 0c00 0600 0100000000000000"},
		{"disconnect", config{index: 2}, "0800 0100 02000000"},
	}
	for _, tt := range tests {
		got, err := tt.c.encode()
		if err != nil {
			t.Fatal(err)
		}
		if want := unhex(t, tt.want); !bytes.Equal(got, want) {
			t.Errorf("%s:\n got %x\nwant %x", tt.name, got, want)
		}
	}
}

func TestDecodeIndex(t *testing.T) {
	if n, err := decodeIndex(unhex(t, "0800 0100 0c000000")); n != 12 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	for _, bad := range []string{"", "0800 0200 0c000000", "0800 0100 0c00", "0600 0100 0c000000", "0200"} {
		if n, err := decodeIndex(unhex(t, bad)); err == nil {
			t.Errorf("%s is the number %d", bad, n)
		}
	}
}

// Two disks, as the kernel answers STATUS: without the flag for nesting.
const statusVector = `
	2c00 0900
	  1400 0100 0800 0100 00000000 0500 0200 01000000
	  1400 0100 0800 0100 03000000 0500 0200 00000000`

func TestDecodeStatus(t *testing.T) {
	got, err := decodeStatus(unhex(t, statusVector))
	if err != nil || !maps.Equal(got, map[int]bool{0: true, 3: false}) {
		t.Errorf("%v, %v", got, err)
	}
	whole := unhex(t, statusVector)
	for i := 1; i < len(whole)-3; i++ { // the last 3 are padding
		if got, err := decodeStatus(whole[:i]); err == nil {
			t.Errorf("the first %d bytes are %v", i, got)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(unhex(f, statusVector))
	f.Add(unhex(f, "0800 0100 0c000000"))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = decodeStatus(b) // must not panic
		_, _ = decodeIndex(b)
	})
}
