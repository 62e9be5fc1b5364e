package meta

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A first start on a disk that is too small says so, where etcd would panic; a
// store that is there starts on a full disk too.
func TestStartNeedsRoom(t *testing.T) {
	dir := t.TempDir()
	small := func(string) (int64, error) { return 2 << 20, nil }
	err := checkStart(dir, small)
	if err == nil || !strings.Contains(err.Error(), "only 2M free") || !strings.Contains(err.Error(), "--dir") {
		t.Errorf("a first start with 2M: %v", err)
	}
	open(t, dir, Options{NoSync: true}).Close()
	if err := checkStart(dir, small); err != nil {
		t.Errorf("a later start with 2M: %v", err)
	}
}

// Files that etcd panics at are an error.
func TestPanicOfEtcdIsAnError(t *testing.T) {
	dir := t.TempDir()
	open(t, dir, Options{NoSync: true}).Close()
	logs, err := filepath.Glob(filepath.Join(dir, "etcd", "member", "wal", "*.wal"))
	if err != nil || len(logs) == 0 {
		t.Fatal(logs, err)
	}
	for _, name := range logs {
		if err := os.WriteFile(name, make([]byte, 4096), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Open(t.Context(), dir, Options{NoSync: true})
	if err == nil {
		s.Close()
		t.Fatal("a store with an empty log opened")
	}
	if !strings.Contains(err.Error(), "backup") {
		t.Errorf("%v, want advice", err)
	}
}

// What etcd says of ports that it does not have reaches no log.
func TestStartIsQuiet(t *testing.T) {
	var out bytes.Buffer
	s, err := Open(t.Context(), t.TempDir(), Options{NoSync: true, Log: slog.New(slog.NewTextHandler(&out, nil))})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if strings.Contains(out.String(), "recommended") {
		t.Errorf("the log says:\n%s", out.String())
	}
}
