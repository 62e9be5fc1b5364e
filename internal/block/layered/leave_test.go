package layered

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"

	"sango/internal/block"
	"sango/internal/san"
)

// openFiles returns what this process has open of a volume.
func openFiles(t *testing.T, s *Store, id san.UUID) (list []string) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	for _, fd := range fds {
		if name, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(name, s.volumeDir(id)) {
			list = append(list, name)
		}
	}
	return list
}

// left fails if this process has anything to do with the volume.
func left(t *testing.T, s *Store, id san.UUID) {
	t.Helper()
	if list := openFiles(t, s, id); len(list) > 0 {
		t.Errorf("open: %q", list)
	}
	if !lockFree(t, s, id) {
		t.Error("it is locked")
	}
	if jobs := s.Jobs(); len(jobs) > 0 {
		t.Errorf("jobs: %+v", jobs)
	}
}

// layers makes snapshots of a volume with something to merge between them.
func layers(t *testing.T, s *Store, d block.Device, id san.UUID, names ...string) {
	t.Helper()
	for i, n := range names {
		fill(t, d, 0, 8<<20, byte(i+1))
		must(t, s.Snapshot(id, n))
	}
}

// When an owner closes a volume nothing of this process touches it any more,
// whatever was going on.
func TestLeave(t *testing.T) {
	for _, reading := range []bool{false, true} { // a snapshot
		s := openStore(t, t.TempDir(), Options{Rate: 1 << 20}) // merges that take long
		id := san.NewUUID()
		must(t, s.Create(CreateSpec{ID: id, Size: 16 << 20, BlockSize: 4096}))
		d, err := s.OpenAs(id, OpenOptions{Epoch: 1, Member: 1})
		must(t, err)
		layers(t, s, d, id, "a", "b", "c")
		must(t, s.DeleteSnapshot(id, "a"))
		if len(s.Jobs()) != 1 || len(openFiles(t, s, id)) == 0 {
			t.Fatalf("jobs: %+v, open: %q", s.Jobs(), openFiles(t, s, id))
		}
		var r block.Device
		users := 3 // the device, the merge, the list of changes
		if reading {
			r, err = s.OpenSnapshot(id, "c")
			must(t, err)
			expect(t, r, 0, 4096, 3)
			users++
		}
		leaveAmid(t, s, d, id, users)
		if reading {
			if err := block.ReadAt(r, make([]byte, 4096), 0); block.ClassOf(err) != block.Closed {
				t.Errorf("read of a snapshot after the owner left: %v", err)
			}
			must(t, r.Close())
		}
		// What only looks takes no lock.
		st, err := s.Stat(id)
		if err != nil || st.Job != nil {
			t.Errorf("job: %+v, %v", st.Job, err)
		}
		_, err = s.Snapshots(id)
		must(t, err)
		left(t, s, id)
	}
}

// leaveAmid closes a volume with so many users while operations on it go on.
func leaveAmid(t *testing.T, s *Store, d block.Device, id san.UUID, users int) {
	t.Helper()
	began, closing := make(chan struct{}), make(chan struct{})
	var ops sync.WaitGroup
	ops.Go(func() {
		n := 0
		if err := s.Changed(id, "b", "c", func(int64, int64) error {
			if n++; n == 1 {
				close(began)
				<-closing
			}
			return nil
		}); err != nil {
			t.Errorf("changed: %v", err)
		}
	})
	<-began
	const waiting = 4
	for i := range waiting {
		ops.Go(func() {
			if err := s.Snapshot(id, fmt.Sprint("x", i)); !errors.Is(err, ErrInUse) {
				t.Errorf("snapshot while the owner leaves: %v", err)
			}
		})
	}
	e := s.loadedEntry(id)
	until := func(done func() bool) {
		for {
			e.mu.Lock()
			ok := done()
			e.mu.Unlock()
			if ok {
				return
			}
			runtime.Gosched()
		}
	}
	until(func() bool { return e.refs == users+waiting })
	ops.Go(func() {
		until(func() bool { return e.leaving })
		if err := s.Snapshot(id, "late"); !errors.Is(err, ErrInUse) {
			t.Errorf("snapshot while the owner leaves: %v", err)
		}
		close(closing)
	})
	must(t, d.Close())
	left(t, s, id)
	ops.Wait()
}

// Where owners have had a volume, nobody merges before the next one does.
func TestOwnersMerge(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	id := san.NewUUID()
	must(t, s.Create(CreateSpec{ID: id, Size: 16 << 20, BlockSize: 4096}))
	d, err := s.OpenAs(id, OpenOptions{Epoch: 1, Member: 1})
	must(t, err)
	layers(t, s, d, id, "a", "b")
	must(t, d.Close())
	for _, name := range []string{"a", "b"} {
		must(t, s.DeleteSnapshot(id, name))
		left(t, s, id)
	}
	if st, err := s.Stat(id); err != nil || st.Layers == 1 {
		t.Errorf("%d layers, %v", st.Layers, err)
	}
	d, err = s.OpenAs(id, OpenOptions{Epoch: 2, Member: 2})
	must(t, err)
	s.waitJobs(id)
	if st, err := s.Stat(id); err != nil || st.Layers != 1 {
		t.Errorf("%d layers, %v", st.Layers, err)
	}
	expect(t, d, 0, 8<<20, 2)
	must(t, d.Close())
	left(t, s, id)
}

// A volume without an owner stays loaded for the readers of its snapshots, and
// for merges.
func TestStayWithoutOwner(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{Rate: 1 << 20})
	id, d := newVolume(t, s, 16<<20)
	layers(t, s, d, id, "a", "b")
	r, err := s.OpenSnapshot(id, "b")
	must(t, err)
	must(t, d.Close())
	expect(t, r, 0, 4096, 2)
	must(t, s.DeleteSnapshot(id, "a"))
	if len(s.Jobs()) != 1 {
		t.Errorf("jobs: %+v", s.Jobs())
	}
	s.SetRate(0)
	s.waitJobs(id)
	must(t, r.Close())
	left(t, s, id)
}
