package api

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"connectrpc.com/connect"

	v1 "sango/internal/api/gen/sango/v1"
	"sango/internal/san"
)

// A socket address holds 107 bytes; directories may be deeper.
func TestSocketInADeepDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("deep/", 40))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second finds the socket of the first
		l, err := Listen(dir)
		if err != nil {
			t.Fatal(err)
		}
		if st, err := os.Stat(SocketPath(dir)); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("socket: %v, %v; want mode 0600", st.Mode(), err)
		}
		c, err := dial(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		l.Close()
	}
	if _, err := dial(t.Context(), dir); !errors.Is(err, san.ErrUnavailable) {
		t.Errorf("dial of a dead socket: %v", err)
	}
}

func TestNobodyServes(t *testing.T) {
	c := NewClient(t.TempDir())
	defer c.Close()
	_, err := c.ListVolumes(t.Context(), connect.NewRequest(&v1.ListVolumesRequest{}))
	if !errors.Is(err, san.ErrUnavailable) || !strings.HasPrefix(err.Error(), "no sango is serving ") {
		t.Errorf("unary call: %v", err)
	}
	s, err := c.ExportVolume(t.Context(), connect.NewRequest(&v1.ExportVolumeRequest{}))
	if err == nil {
		s.Receive()
		err = s.Err()
	}
	if err = FromWire(err); !errors.Is(err, san.ErrUnavailable) {
		t.Errorf("stream: %v", err)
	}
}

func TestErrorsKeepTheirKind(t *testing.T) {
	for _, k := range kinds {
		err := FromWire(toWire(san.Errorf(k.kind, "what was wrong with %s", "it")))
		if !errors.Is(err, k.kind) || err.Error() != "what was wrong with it" {
			t.Errorf("%v became %v", k.kind, err)
		}
		wrapped := FromWire(connect.NewError(k.code, errors.New("text")))
		if !errors.Is(wrapped, k.kind) || wrapped.Error() != "text" {
			t.Errorf("code %v became %v", k.code, wrapped)
		}
	}
	if err := FromWire(toWire(errors.New("plain"))); err == nil || err.Error() != "plain" {
		t.Errorf("a plain error became %v", err)
	}
	if toWire(nil) != nil || FromWire(nil) != nil {
		t.Error("nil became an error")
	}
}
