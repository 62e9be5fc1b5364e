package gateway

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func find(t *testing.T, all []Finding, check string) Finding {
	t.Helper()
	for _, f := range all {
		if f.Check == check {
			return f
		}
	}
	t.Fatalf("no finding about %s in %+v", check, all)
	return Finding{}
}

func TestDoctorFindsWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := l.Addr().String()
	future := time.Now().Add(time.Hour)
	name := filepath.Join(dir, "newer")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(name, future, future); err != nil {
		t.Fatal(err)
	}
	lock, err := TakeLock(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Release()
	all := Examine(t.Context(), dir, "", []string{taken, "198.51.100.1:3260", "nonsense"}, false)
	for check, want := range map[string]string{
		"portal " + taken:          "is taken",
		"portal 198.51.100.1:3260": "no address 198.51.100.1",
		"portal nonsense":          "IP:PORT",
		"lock":                     "in use by process",
		"clock jumps":              "set back",
	} {
		f := find(t, all, check)
		if f.State == FindingOK || !strings.Contains(f.Detail, want) || f.Advice == "" {
			t.Errorf("%s: %+v, want %q and advice", check, f, want)
		}
		if strings.HasPrefix(f.Detail, check) {
			t.Errorf("%s is told twice: %s", check, f.Detail)
		}
	}
	if f := find(t, all, "portal 198.51.100.1:3260"); strings.Contains(f.Advice, "stop") {
		t.Errorf("advice about an address that is not here: %s", f.Advice)
	}
	if f := find(t, all, "directory"); f.State != FindingOK {
		t.Errorf("directory: %+v", f)
	}
	if f := directoryFinding("directory", "/proc/sango"); f.State != FindingFailed || f.Advice == "" {
		t.Errorf("directory in /proc: %+v", f)
	}
	if f := directoryFinding("directory", "/dev/full"); f.State != FindingFailed {
		t.Errorf("a directory that is none: %+v", f)
	}
}

func TestClockWatchCountsJumps(t *testing.T) {
	w := clockWatch{log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	for _, c := range []struct{ monotonic, wall time.Duration }{
		{time.Second, time.Second},
		{time.Second, 1100 * time.Millisecond},
		{30 * time.Second, 30 * time.Second},
		{time.Second, time.Hour},
		{time.Second, -time.Hour},
	} {
		w.look(c.monotonic, c.wall)
	}
	if got := w.jumps.Load(); got != 2 {
		t.Errorf("%d jumps, want 2", got)
	}
}
