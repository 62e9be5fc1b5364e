package layered

import (
	"errors"
	"os"
	"strings"
	"sync"
	"testing"

	"sango/internal/block/layered/crashfs"
	"sango/internal/san"
)

func TestIdentity(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, Options{})
	id := s.Identity()
	if id.IsZero() || id == openStore(t, t.TempDir(), Options{}).Identity() {
		t.Fatalf("identity %s", id)
	}
	if again := openStore(t, dir, Options{}).Identity(); again != id {
		t.Errorf("%s became %s", id, again)
	}
	// The store of a program that gave none.
	must(t, os.Remove(dir+"/"+identityName))
	given := openStore(t, dir, Options{}).Identity()
	if given.IsZero() || given == id {
		t.Errorf("identity %s", given)
	}
	if again := openStore(t, dir, Options{}).Identity(); again != given {
		t.Errorf("%s became %s", given, again)
	}
	for _, bad := range []string{"", "x\n", san.UUID{}.String() + "\n", given.String() + "\n\n"} {
		must(t, os.WriteFile(dir+"/"+identityName, []byte(bad), 0o600))
		if _, err := OpenStore(dir, Options{Log: quiet}); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), identityName) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// Gateways that open a new store at the same time agree on its identity.
func TestIdentityIsMadeOnce(t *testing.T) {
	for range 20 {
		dir := t.TempDir() + "/new/store"
		var ids [8]san.UUID
		var all sync.WaitGroup
		for i := range ids {
			all.Go(func() {
				s, err := OpenStore(dir, Options{Log: quiet})
				if err != nil {
					t.Error(err)
					return
				}
				ids[i] = s.Identity()
			})
		}
		all.Wait()
		for _, id := range ids {
			if id != ids[0] || id.IsZero() {
				t.Fatalf("identities %v", ids)
			}
		}
	}
}

func TestIdentityOfAnotherProcess(t *testing.T) {
	s, dir := shared(t)
	if p := other(t, dir, 1, 1); p.said != "open "+s.Identity().String() {
		t.Errorf("it said %q, this store is %s", p.said, s.Identity())
	}
}

// The store is made in a process that dies at each point; what an open has
// told is there after a power cut.
func TestIdentityOutlivesCrashes(t *testing.T) {
	for _, power := range []bool{false, true} {
		for n := 1; ; n++ {
			fsys := crashfs.New(uint64(n))
			fsys.CrashAt(n)
			_, err := OpenStore("/store", Options{FS: fsys, Log: quiet})
			crashed := fsys.Crashed()
			if err == nil == crashed {
				t.Fatalf("step %d: crashed %v, %v", n, crashed, err)
			}
			fsys.Restart(power)
			var id san.UUID
			for range 3 {
				s, err := OpenStore("/store", Options{FS: fsys, Log: quiet})
				if err != nil {
					t.Fatalf("step %d: %v", n, err)
				}
				if !id.IsZero() && id != s.Identity() {
					t.Fatalf("step %d: %s became %s", n, id, s.Identity())
				}
				id = s.Identity()
				fsys.Restart(true)
			}
			if !crashed {
				break
			}
		}
	}
}
