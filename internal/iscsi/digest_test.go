package iscsi

import (
	"bytes"
	"encoding/hex"
	"testing"
)

// The examples of RFC 7143 appendix A.
func TestDigestExamples(t *testing.T) {
	up, down := make([]byte, 32), make([]byte, 32)
	for i := range up {
		up[i], down[i] = byte(i), byte(31-i)
	}
	read := header(t, `01c00000 00000000 00000000 00000000 14000000 00000400 00000014 00000018
		28000000 00000000 02000000 00000000`)
	for _, c := range []struct {
		data []byte
		want string
	}{
		{make([]byte, 32), "aa36918a"},
		{bytes.Repeat([]byte{0xff}, 32), "43aba862"},
		{up, "4e79dd46"},
		{down, "5cdb3f11"},
		{read[:], "563a96d9"},
	} {
		var got [DigestLen]byte
		PutDigest(got[:], Digest(c.data))
		if hex.EncodeToString(got[:]) != c.want {
			t.Errorf("digest of %x is %x, want %s", c.data, got, c.want)
		}
		if GetDigest(got[:]) != Digest(c.data) {
			t.Errorf("GetDigest does not undo PutDigest")
		}
		if UpdateDigest(UpdateDigest(0, c.data[:7]), c.data[7:]) != Digest(c.data) {
			t.Errorf("a digest in parts differs")
		}
	}
}

func TestPadDigest(t *testing.T) {
	for n := range 9 {
		data := bytes.Repeat([]byte{0x5a}, n)
		padded := append(bytes.Clone(data), make([]byte, Pad(n))...)
		if got := PadDigest(Digest(data), n); got != Digest(padded) {
			t.Errorf("%d bytes: %08x, want %08x", n, got, Digest(padded))
		}
		if got := testing.AllocsPerRun(10, func() { PadDigest(0, n) }); got != 0 {
			t.Errorf("%d bytes: %v allocations", n, got)
		}
	}
}
