package attach

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sango/internal/san"
)

func testDir(t *testing.T) Dir {
	t.Helper()
	// Short, for the paths of sockets.
	path, err := os.MkdirTemp("", "sango-attach-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(path) })
	d, err := UseDir(path)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestStateComesBack(t *testing.T) {
	d := testDir(t)
	if _, ok, err := d.load("x"); ok || err != nil {
		t.Fatalf("a state that is not there: %v, %v", ok, err)
	}
	s := State{Name: "x", Source: "mem:1M,block=512", As: AsUblk, Group: 1<<64 - 1, Run: 1<<63 + 1, Device: 3, Boot: "b", Size: 1 << 20, BlockSize: 512, Volume: "v"}
	for range 2 {
		if err := d.save(&s); err != nil {
			t.Fatal(err)
		}
		s.Run++
	}
	s.Run--
	got, ok, err := d.load("x")
	if d := cmp.Diff(s, got); err != nil || !ok || d != "" {
		t.Error(ok, err, d)
	}
	names, err := d.names()
	if err != nil || len(names) != 1 || names[0] != "x" {
		t.Errorf("names: %v, %v", names, err)
	}
	if err := d.forget("x"); err != nil {
		t.Error(err)
	}
	if err := d.forget("x"); err != nil {
		t.Errorf("again: %v", err)
	}
	left, err := os.ReadDir(d.Path())
	if err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// A state that can't be read is never taken for none: sessions of earlier runs
// would not be fenced.
func TestStateIsDamaged(t *testing.T) {
	d := testDir(t)
	for _, text := range []string{"", "{", "{}", `{"name":"y","group":"1"}`, `{"name":"x","group":"0"}`} {
		if err := os.WriteFile(filepath.Join(d.Path(), "x.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := d.load("x"); !errors.Is(err, san.ErrRefused) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestLock(t *testing.T) {
	d := testDir(t)
	l, err := d.take("x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.take("x"); !errors.Is(err, san.ErrRefused) || !strings.Contains(err.Error(), "process") {
		t.Errorf("taken twice: %v", err)
	}
	l.release(true)
	// Whoever waits for a lock file that goes does not get a dead one.
	var wg sync.WaitGroup
	var mu sync.Mutex // held by whoever has the lock
	for range 8 {
		wg.Go(func() {
			for range 200 {
				l, err := d.take("x")
				if err != nil {
					continue
				}
				if !mu.TryLock() {
					t.Error("two have the lock")
					return
				}
				mu.Unlock()
				l.release(true)
			}
		})
	}
	wg.Wait()
}

func TestInitiatorNameIsMadeOnce(t *testing.T) {
	d := testDir(t)
	var wg sync.WaitGroup
	names := make([]string, 8)
	for i := range names {
		wg.Go(func() {
			n, err := d.initiator()
			if err != nil {
				t.Error(err)
			}
			names[i] = n
		})
	}
	wg.Wait()
	for _, n := range names {
		if n != names[0] || !regexp.MustCompile(`^iqn\.2026-11\.io\.sango:host-[0-9a-f]{12}$`).MatchString(n) {
			t.Errorf("the host is called %q and %q", names[0], n)
		}
	}
	entries, err := os.ReadDir(d.Path())
	if err != nil || len(entries) != 1 {
		t.Errorf("left: %v, %v", entries, err)
	}
	if err := os.WriteFile(filepath.Join(d.Path(), hostName), []byte("my host\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := d.initiator(); !errors.Is(err, san.ErrInvalid) {
		t.Errorf("a wrong name: %v", err)
	}
}

// A process that was killed could not take its sockets away.
func TestDetachOfDeadLeavesNothing(t *testing.T) {
	d := testDir(t)
	boot, err := bootID()
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(d.Path(), "nbd")
	if err := d.save(&State{Name: "x", Source: "mem:16M,block=512", As: AsSocket, Group: 9, Run: 1, Device: noDevice, Boot: boot, Socket: socket}); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{socket, d.Socket("x")} {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		l.Close()
	}
	if err := d.Detach(t.Context(), "x", true); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(d.Path()); err != nil || len(entries) > 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
}
