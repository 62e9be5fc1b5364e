package layered

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"testing"

	"sango/internal/block"
	"sango/internal/san"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newVolume(t testing.TB, s *Store, size int64) (san.UUID, block.Device) {
	t.Helper()
	id := san.NewUUID()
	must(t, s.Create(CreateSpec{ID: id, Size: size, BlockSize: 512}))
	d, err := s.Open(id)
	must(t, err)
	return id, block.Check(d, t)
}

func fill(t testing.TB, d block.Device, off, n int64, b byte) {
	t.Helper()
	must(t, block.WriteAt(d, bytes.Repeat([]byte{b}, int(n)), off, 0))
}

func expect(t testing.TB, d block.Device, off, n int64, b byte) {
	t.Helper()
	p := make([]byte, n)
	must(t, block.ReadAt(d, p, off))
	if i := slices.IndexFunc(p, func(c byte) bool { return c != b }); i >= 0 {
		t.Fatalf("byte %d is %#x, want %#x", off+int64(i), p[i], b)
	}
}

func TestStoreErrors(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	id, d := newVolume(t, s, 1<<20)
	is := func(what string, err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	_, err := s.Open(id)
	is("open again", err, ErrInUse)
	_, err = s.Open(san.NewUUID())
	is("open of nothing", err, ErrNotFound)
	is("create again", s.Create(CreateSpec{ID: id, Size: 1 << 20, BlockSize: 512}), ErrInUse)
	is("delete of an open volume", s.Delete(id), ErrInUse)
	is("delete of nothing", s.Delete(san.NewUUID()), ErrNotFound)
	is("odd size", s.Create(CreateSpec{ID: san.NewUUID(), Size: 1000, BlockSize: 512}), ErrSpec)
	is("odd block size", s.Create(CreateSpec{ID: san.NewUUID(), Size: 1024, BlockSize: 1024}), ErrSpec)
	is("too large", s.Create(CreateSpec{ID: san.NewUUID(), Size: san.MaxVolumeSize + 512, BlockSize: 512}), ErrSpec)
	is("shrink", s.Resize(id, 512), ErrSpec)
	is("snapshot without name", s.Snapshot(id, ""), ErrSpec)
	must(t, s.Snapshot(id, "a"))
	is("snapshot again", s.Snapshot(id, "a"), ErrExists)
	is("rollback to nothing", s.Rollback(id, "x"), ErrNotFound)
	is("delete of no snapshot", s.DeleteSnapshot(id, "x"), ErrNotFound)
	is("clone of nothing", s.Clone(id, "x", san.NewUUID()), ErrNotFound)
	r, err := s.OpenSnapshot(id, "a")
	must(t, err)
	is("delete of a snapshot that is read", s.DeleteSnapshot(id, "a"), ErrInUse)
	if err := block.WriteAt(r, make([]byte, 512), 0, 0); block.ClassOf(err) != block.ReadOnly {
		t.Errorf("write to a snapshot: %v", err)
	}
	must(t, r.Close())
	must(t, d.Close())
	must(t, d.Close())
	is("create again", s.Create(CreateSpec{ID: id, Size: 1 << 20, BlockSize: 512}), ErrExists)
	must(t, s.Delete(id))
	_, err = s.Stat(id)
	is("stat of a deleted volume", err, ErrNotFound)
}

func TestEpoch(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	id := san.NewUUID()
	must(t, s.Create(CreateSpec{ID: id, Size: 1 << 20, BlockSize: 512}))
	d, err := s.OpenAs(id, OpenOptions{Epoch: 7})
	must(t, err)
	for epoch, want := range map[san.Epoch]block.Class{0: 0, 7: 0, 6: block.Fenced, 8: block.Fenced} {
		done := make(chan error, 1)
		d.Submit(&block.Request{Op: block.OpWrite, Len: 512, Bufs: [][]byte{make([]byte, 512)}, Epoch: epoch, Done: func(r *block.Request) { done <- r.Err }})
		if err := <-done; block.ClassOf(err) != want {
			t.Errorf("epoch %d: %v, want %v", epoch, err, want)
		}
	}
	must(t, d.Close())
	if _, err := s.OpenAs(id, OpenOptions{Epoch: 6}); !errors.Is(err, ErrFenced) {
		t.Fatalf("open under an earlier epoch: %v", err)
	}
	d, err = s.OpenAs(id, OpenOptions{Epoch: 8})
	must(t, err)
	must(t, d.Close())
	// The same for a volume that a reader of its snapshot keeps loaded.
	must(t, s.Snapshot(id, "a"))
	snap, err := s.OpenSnapshot(id, "a")
	must(t, err)
	if _, err := s.OpenAs(id, OpenOptions{Epoch: 7}); !errors.Is(err, ErrFenced) {
		t.Fatalf("open of a loaded volume under an earlier epoch: %v", err)
	}
	d, err = s.OpenAs(id, OpenOptions{Epoch: 9})
	must(t, err)
	must(t, d.Close())
	must(t, snap.Close())
	if _, err := s.OpenAs(id, OpenOptions{Epoch: 8}); !errors.Is(err, ErrFenced) {
		t.Fatalf("open under an epoch before that of a loaded volume: %v", err)
	}
}

// TestFence takes a volume from a process that holds it, by killing it.
func TestFence(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, Options{})
	must(t, s.Create(CreateSpec{ID: killVolume, Size: killWriters * killBlocks * 4096, BlockSize: 4096}))
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), killEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	_, err = out.Read(make([]byte, 1)) // it is writing
	must(t, err)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = io.Copy(io.Discard, out)
	}()
	if _, err := s.Open(killVolume); !errors.Is(err, ErrInUse) {
		t.Fatalf("open of a volume that another process has: %v", err)
	}
	d, err := s.OpenAs(killVolume, OpenOptions{Epoch: 2, Fence: true})
	must(t, err)
	<-gone
	if err := cmd.Wait(); err == nil {
		t.Error("the holder was not killed")
	}
	must(t, block.WriteAt(d, make([]byte, 4096), 0, block.FUA))
	must(t, d.Close())
}

func TestSharing(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	id, d := newVolume(t, s, 16<<20)
	fill(t, d, 0, 4<<20, 1)
	must(t, s.Snapshot(id, "a"))
	clones := []san.UUID{san.NewUUID(), san.NewUUID()}
	for _, c := range clones {
		must(t, s.Clone(id, "a", c))
	}
	must(t, block.Flush(d))
	stat := func(id san.UUID, used, shared int64) {
		t.Helper()
		st, err := s.Stat(id)
		must(t, err)
		near := func(got, want int64) bool { return got >= want && got < want+1<<20 }
		if !near(st.Used, used) || !near(st.Shared, shared) {
			t.Errorf("used %d, shared %d; want %d, %d", st.Used, st.Shared, used, shared)
		}
	}
	stat(id, 0, 4<<20)
	stat(clones[0], 0, 4<<20)
	must(t, d.Close())
	must(t, s.Delete(id))
	must(t, s.Delete(clones[0]))
	stat(clones[1], 4<<20, 0)
	d, err := s.Open(clones[1])
	must(t, err)
	s.waitJobs(clones[1]) // it is alone now: its stack collapses
	expect(t, d, 0, 4<<20, 1)
	st, err := s.Stat(clones[1])
	must(t, err)
	if st.Depth != 1 {
		t.Errorf("depth %d, want 1", st.Depth)
	}
	must(t, d.Close())
}

func TestChanged(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{Segment: 4 * clusterSize})
	id, d := newVolume(t, s, 10*clusterSize+512)
	changed := func(from, to string) (out string) {
		t.Helper()
		must(t, s.Changed(id, from, to, func(off, n int64) error {
			out += fmt.Sprintf(" %d+%d", off, n)
			return nil
		}))
		return out
	}
	is := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("changed%s, want%s", got, want)
		}
	}
	fill(t, d, 0, 3*clusterSize, 1)
	must(t, s.Snapshot(id, "a"))
	is(changed("a", ""), "")
	fill(t, d, 512, 512, 2)
	fill(t, d, 10*clusterSize, 512, 2)
	must(t, s.Snapshot(id, "b"))
	must(t, block.Do(d, block.OpDiscard, 0, clusterSize, clusterSize))
	is(changed("a", "b"), " 0+65536 655360+512")
	is(changed("b", "a"), " 0+65536 655360+512")
	is(changed("b", ""), " 65536+65536")
	is(changed("a", ""), " 0+131072 655360+512")
	must(t, s.Rollback(id, "a"))
	fill(t, d, 5*clusterSize, 512, 3)
	is(changed("b", ""), " 0+65536 327680+65536 655360+512")
	must(t, s.Resize(id, 11*clusterSize))
	is(changed("a", ""), " 327680+65536 655872+65024")
	must(t, d.Close())
}

func TestAdopt(t *testing.T) {
	dir := t.TempDir()
	raw := dir + "/raw"
	must(t, os.WriteFile(raw, bytes.Repeat([]byte{7}, 3*clusterSize+100), 0o600))
	s := openStore(t, dir+"/store", Options{})
	id, copied := san.NewUUID(), san.NewUUID()
	must(t, s.Create(CreateSpec{ID: id, BlockSize: 512, Adopt: raw}))
	d, err := s.Open(id)
	must(t, err)
	if got := d.Info().Size; got != 3*clusterSize {
		t.Fatalf("size %d", got)
	}
	expect(t, d, 0, 3*clusterSize, 7)
	fill(t, d, 512, 512, 8)
	second := san.NewUUID()
	if err := s.Create(CreateSpec{ID: second, BlockSize: 512, Adopt: raw}); !errors.Is(err, ErrInUse) {
		t.Fatalf("adopt the same file twice: %v", err)
	}
	must(t, s.Snapshot(id, "a"))
	fill(t, d, 512, 512, 9)
	must(t, s.Clone(id, "a", copied))
	must(t, s.Resize(id, 5*clusterSize))
	fill(t, d, 4*clusterSize, 512, 9)
	c, err := s.Open(copied)
	must(t, err)
	expect(t, c, 512, 512, 8)
	must(t, c.Close())
	must(t, s.Delete(copied))
	must(t, s.DeleteSnapshot(id, "a"))
	s.waitJobs(id)
	expect(t, d, 512, 512, 9)
	expect(t, d, 4*clusterSize, 512, 9)
	must(t, d.Close())
	must(t, s.Delete(id))
	b, err := os.ReadFile(raw)
	must(t, err)
	if len(b) != 5*clusterSize || b[512] != 9 || b[4*clusterSize] != 9 || b[0] != 7 {
		t.Errorf("the adopted file has %d bytes, starts %x, %x", len(b), b[0], b[512])
	}
}

// TestManyVolumes opens a store with many volumes without reading them.
func TestManyVolumes(t *testing.T) {
	w := newWorld(t, 1)
	must(t, w.open())
	id, err := w.create(cl)
	must(t, err)
	manifest, err := readManifest(w.fs, w.s.volumeDir(id))
	must(t, err)
	for range 10_000 {
		m := *manifest
		m.Volume = san.NewUUID()
		must(t, w.fs.Mkdir(w.s.volumeDir(m.Volume)))
		must(t, writeManifest(w.fs, w.s.volumeDir(m.Volume), &m))
	}
	must(t, w.close())
	before := w.fs.Ops()
	must(t, w.open())
	if n := w.fs.Ops() - before; n > 1 {
		t.Errorf("opening the store took %d writes and syncs", n)
	}
	ids, err := w.s.List()
	must(t, err)
	if len(ids) != 10_001 {
		t.Errorf("%d volumes", len(ids))
	}
	must(t, w.openVolume(id))
	must(t, w.close())
}

// TestLargeIndex touches a volume of 64 TiB all over and looks at the memory
// that its index takes, when it is written and when it is opened again.
func TestLargeIndex(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	id, d := newVolume(t, s, san.MaxVolumeSize)
	must(t, s.Snapshot(id, "a"))
	const step = san.MaxVolumeSize / 4096
	for off := int64(0); off < san.MaxVolumeSize; off += step {
		fill(t, d, off, 512, byte(off/step))
	}
	must(t, d.Close())
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	d, err := s.Open(id)
	must(t, err)
	if after := heap(); after > before+8<<20 {
		t.Errorf("an open volume takes %d bytes", after-before)
	}
	for off := int64(0); off < san.MaxVolumeSize; off += step {
		expect(t, d, off, 512, byte(off/step))
	}
	if after := heap(); after > before+16<<20 {
		t.Errorf("a volume that was read all over takes %d bytes", after-before)
	}
	must(t, d.Close())
}

// TestHotPathAllocatesNothing pins that reads and writes of a volume allocate
// nothing.
func TestHotPathAllocatesNothing(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	for _, snapshot := range []bool{false, true} {
		id := san.NewUUID()
		must(t, s.Create(CreateSpec{ID: id, Size: 1 << 20, BlockSize: 512}))
		if snapshot {
			must(t, s.Snapshot(id, "a"))
		}
		d, err := s.Open(id)
		must(t, err)
		p := make([]byte, 4096)
		must(t, block.WriteAt(d, p, 0, 0))
		must(t, block.ReadAt(d, p, 0))
		r := &block.Request{Len: 4096, Bufs: [][]byte{p}}
		r.Done = func(*block.Request) {}
		for _, op := range []block.Op{block.OpRead, block.OpWrite} {
			r.Op, r.Flags = op, block.NoWait
			if n := testing.AllocsPerRun(200, func() { d.Submit(r) }); n > 0 || r.Err != nil {
				t.Errorf("%s, snapshot %v: %v allocations, %v", op, snapshot, n, r.Err)
			}
		}
		must(t, d.Close())
	}
}
