package nbd

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// unhex reads hex, blanks ignored; 'text' stands for its bytes.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	var out []byte
	for i, part := range strings.Split(s, "'") {
		if i%2 == 1 {
			out = append(out, part...)
			continue
		}
		b, err := hex.DecodeString(strings.Join(strings.Fields(part), ""))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b...)
	}
	return out
}

type message interface{ Append([]byte) []byte }

// vector checks that wire reads as want, that want writes as wire, and that no
// shorter message is taken where fixed, nor makes trouble elsewhere.
func vector[T message](t *testing.T, wire string, want T, parse func([]byte) (T, error)) {
	t.Helper()
	b := unhex(t, wire)
	got, err := parse(b)
	if err != nil {
		t.Fatalf("parse: %v", err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("parsed: %s", d)
	}
	if d := cmp.Diff(b, want.Append(nil)); d != "" {
		t.Errorf("wrote: %s", d)
	}
	if d := cmp.Diff(append([]byte{7}, b...), want.Append([]byte{7})); d != "" {
		t.Errorf("wrote behind something: %s", d)
	}
}

// truncated checks that every part of wire, and wire with a byte more, is
// refused.
func truncated[T any](t *testing.T, wire string, parse func([]byte) (T, error)) {
	t.Helper()
	b := unhex(t, wire)
	for i := range b {
		wrong(t, b[:i], parse)
	}
	wrong(t, append(b[:len(b):len(b)], 0), parse)
}

// refused checks that wire is refused.
func refused[T any](t *testing.T, wire string, parse func([]byte) (T, error)) {
	t.Helper()
	wrong(t, unhex(t, wire), parse)
}

func wrong[T any](t *testing.T, b []byte, parse func([]byte) (T, error)) {
	t.Helper()
	v, err := parse(b)
	var p *ProtocolError
	if !errors.As(err, &p) || !strings.HasPrefix(err.Error(), "nbd: ") {
		t.Errorf("%x was read as %+v, %v; want a protocol error", b, v, err)
	}
}
