package layered

import (
	"errors"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"sango/internal/block"
	"sango/internal/block/layered/vfs"
	"sango/internal/san"
)

// failing returns a volume of four clusters over a snapshot, all of it stable.
func failing(t *testing.T) (*world, *device, *content) {
	t.Helper()
	w := newWorld(t, 1)
	if err := w.open(); err != nil {
		t.Fatal(err)
	}
	id, err := w.create(4 * cl)
	if err := do(err,
		func() error { return w.write(id, 0, 4*cl, 0) },
		func() error { return w.snapshot(id, "a") }); err != nil {
		t.Fatal(err)
	}
	e := w.s.entries[id]
	return w, e.device, w.vols[id]
}

// TestFailedSyncIsBelievedByNobody: the kernel may forget what it failed to
// write, so that not even the same boot counts on it afterwards. Most of all
// what was copied up stays what it was.
func TestFailedSyncIsBelievedByNobody(t *testing.T) {
	w, d, before := failing(t)
	id, v := d.v.id, d.v
	if err := w.write(id, 3, 4, 0); err != nil {
		t.Fatal(err)
	}
	w.fs.FailSync(func(string) error { return syscall.EIO })
	if err := block.Flush(w.devs[id]); block.ClassOf(err) != block.Failed {
		t.Fatalf("flush that fails: %v", err)
	}
	w.fs.FailSync(nil)
	name := segmentName(v.dir, v.man.Live, 0)
	if err := w.devs[id].Close(); err != nil {
		t.Fatal(err)
	}
	f, err := w.fs.Open(name, vfs.ReadWrite)
	must(t, err)
	must(t, f.Punch(0, clusterSize)) // the kernel forgets
	must(t, f.Close())
	must(t, w.openVolume(id))
	got, err := readStamps(w.devs[id])
	must(t, err)
	for b, s := range got {
		if s != before.now[b] {
			t.Fatalf("block %d holds stamp %d, want %d as before", b, s, before.now[b])
		}
	}
	w.vols[id] = before
	must(t, do(w.afterlife(), func() error { return w.recoverAfter(true) }, w.close, w.checkStore))
}

// TestFlushWaitsForOneThatFails: the second sync would succeed, and lie.
func TestFlushWaitsForOneThatFails(t *testing.T) {
	w, d, _ := failing(t)
	id := d.v.id
	must(t, w.write(id, 3, 4, 0))
	var once sync.Once
	w.fs.FailSync(func(string) (err error) {
		once.Do(func() { err = syscall.EIO })
		return err
	})
	d.v.flushing.Lock()
	errs := make(chan error, 2)
	for range cap(errs) {
		go func() { errs <- block.Flush(w.devs[id]) }()
	}
	for d.v.busy.Load() < int64(cap(errs)) {
		runtime.Gosched()
	}
	d.v.flushing.Unlock()
	for range cap(errs) {
		if err := <-errs; block.ClassOf(err) != block.Failed {
			t.Errorf("a flush says %v", err)
		}
	}
	must(t, w.close())
}

// TestForcedWriteWaitsForOneThatFails: the kernel tells of a failure once, so
// the second write would be believed kept.
func TestForcedWriteWaitsForOneThatFails(t *testing.T) {
	w := newWorld(t, 1)
	must(t, w.open())
	id, err := w.create(4 * cl)
	must(t, err)
	v := w.s.entries[id].device.v
	var once sync.Once
	w.fs.FailSync(func(string) (err error) {
		once.Do(func() { err = syscall.EIO })
		return err
	})
	v.flushing.Lock()
	errs := make(chan error, 2)
	for i := range cap(errs) {
		go func() { errs <- block.WriteAt(w.devs[id], make([]byte, 4096), int64(i)*4096, block.FUA) }()
	}
	for v.busy.Load() < int64(cap(errs)) {
		runtime.Gosched()
	}
	v.flushing.Unlock()
	for range cap(errs) {
		if err := <-errs; block.ClassOf(err) != block.Failed {
			t.Errorf("a write with FUA says %v", err)
		}
	}
	must(t, w.close())
}

// TestNoSpaceForSlot: an atomic write that has no room for its slot or its mark
// is refused, and the volume goes on.
func TestNoSpaceForSlot(t *testing.T) {
	for room := int64(0); room < 512<<10; room += 3 << 9 * 7 {
		w, d, _ := failing(t)
		id := d.v.id
		must(t, w.write(id, 0, 4*cl, 0)) // all there, so that only the slot and the log need room
		must(t, w.flush(id))
		w.fs.SetCapacity(w.fs.Used() + room)
		for b := 0; b < 3; b++ {
			if err := w.write(id, b*cl+5, cl, block.Atomic); err != nil && block.ClassOf(err) != block.NoSpace {
				t.Fatalf("room %d: %v", room, err)
			}
			w.forgetOp()
			if _, err := readStamps(w.devs[id]); err != nil {
				t.Fatalf("room %d: %v", room, err)
			}
		}
		w.fs.SetCapacity(0)
		must(t, do(w.afterlife(), func() error { return w.recoverAfter(true) }, w.close, w.checkStore))
	}
}

// TestReadWhileZeroedIsWritten: a cluster that was discarded reads as zeros
// until its next first write has ended, not as what the snapshot holds.
func TestReadWhileZeroedIsWritten(t *testing.T) {
	w, d, _ := failing(t)
	id := d.v.id
	must(t, w.change(id, block.OpDiscard, 0, cl, 2*cl))
	x := d.v.live.chain[0].idx
	s, n, _, err := x.claim(1, 2)
	if err != nil || s != zeroed || n != 2 {
		t.Fatalf("claim: %v, %d clusters, %v", s, n, err)
	}
	p := make([]byte, clusterSize)
	must(t, block.ReadAt(w.devs[id], p, clusterSize))
	if !allZero(p) {
		t.Error("a discarded cluster that is being written shows what was there before the discard")
	}
	must(t, x.settle(1, 2, zeroed))
	must(t, w.close())
}

// TestResizeDuringMerge lets the live layer grow after a merge of it was
// prepared.
func TestResizeDuringMerge(t *testing.T) {
	w, d, _ := failing(t)
	id, v := d.v.id, d.v
	must(t, w.write(id, 3, 4, 0))
	resume := v.jobs.pause()
	m := v.man.clone()
	m.Snapshots = nil
	must(t, v.commit(m))
	delete(w.vols[id].snaps, "a")
	merge, err := v.beginMerge()
	must(t, err)
	must(t, w.resize(id, 9*cl))
	must(t, w.write(id, 8*cl, cl, 0))
	if err := merge.run(t.Context()); !errors.Is(err, errStale) {
		t.Errorf("the merge says %v", err)
	}
	must(t, v.mergeAll(t.Context()))
	resume()
	must(t, do(w.afterlife(), func() error { return w.recoverAfter(false) }, w.close, w.checkStore))
}

// TestCloseFlushes: also while somebody reads a snapshot.
func TestCloseFlushes(t *testing.T) {
	w, d, _ := failing(t)
	id := d.v.id
	if _, err := w.s.OpenSnapshot(id, "a"); err != nil {
		t.Fatal(err)
	}
	must(t, w.write(id, 3, 4, 0))
	must(t, w.devs[id].Close())
	delete(w.devs, id)
	w.vols[id].settle()
	must(t, w.recoverAfter(true))
	must(t, w.close())
}

// TestUnfinishedClone: what a clone that was cut short holds of its origin's
// layers is given up when the store opens, so that they can be merged again.
// A file with no other name stays, as do directories that are volumes.
func TestUnfinishedClone(t *testing.T) {
	w, d, _ := failing(t)
	id := d.v.id
	must(t, w.write(id, 3, 4, 0))
	_, err := w.clone(id, "a")
	must(t, err)
	lower := d.v.live.chain[1].rec
	unfinished := w.s.volumeDir(w.id())
	must(t, w.fs.Mkdir(unfinished))
	must(t, w.fs.Link(lower.files(d.v.dir)[0], lower.files(unfinished)[0]))
	f, err := w.fs.Open(unfinished+"/alone", vfs.Create)
	must(t, err)
	must(t, f.Close())
	must(t, w.recoverAfter(false))
	info, err := w.fs.Stat(lower.files(d.v.dir)[0])
	must(t, err)
	if info.Links != 2 { // the volume's and its clone's
		t.Errorf("the layer has %d names, want 2", info.Links)
	}
	if _, err := w.fs.Stat(unfinished + "/alone"); err != nil {
		t.Error(err)
	}
	must(t, w.close())
}

// TestDeletionCutShortTwice: a process dies in a deletion, the next one gives
// up what is left of the volume, and then the power fails: the manifest must
// not come back alone.
func TestDeletionCutShortTwice(t *testing.T) {
	for k := 1; k < 40; k++ {
		for seed := range uint64(8) {
			w := newWorld(t, seed)
			must(t, w.open())
			id, err := w.create(2 * cl)
			must(t, do(err,
				func() error { return w.write(id, 0, cl, 0) },
				func() error { return w.snapshot(id, "a") },
				func() error { _, err := w.clone(id, "a"); return err }))
			w.fs.CrashAt(k)
			err = w.delete(id)
			if died := w.fs.Crashed(); !died && err != nil {
				t.Fatal(err)
			}
			w.fs.CrashAt(0)
			must(t, do(w.recoverAfter(false), func() error { return w.recoverAfter(true) }, w.close, w.checkStore))
		}
	}
}

// TestFailedSyncIsToldOfByTheNextOpen: whoever opens the volume after a sync that
// failed is told so, whether it was closed or its process died, and by every
// open until another one fails.
func TestFailedSyncIsToldOfByTheNextOpen(t *testing.T) {
	for _, died := range []bool{false, true} {
		w, d, _ := failing(t)
		id := d.v.id
		if lost := w.devs[id].Info().Lost; !lost.IsZero() {
			t.Fatalf("lost at first: %v", lost)
		}
		var last san.UUID
		for range 2 {
			must(t, w.write(id, 3, 4, 0))
			w.fs.FailSync(func(string) error { return syscall.EIO })
			if died {
				if err := block.Flush(w.devs[id]); block.ClassOf(err) != block.Failed {
					t.Fatalf("flush that fails: %v", err)
				}
				w.fs.FailSync(nil)
				w.fs.Restart(false)
				must(t, w.open())
			} else {
				if err := w.devs[id].Close(); err == nil { // nobody asked for a flush
					t.Fatal("a close that can't flush says nothing")
				}
				w.fs.FailSync(nil)
			}
			must(t, w.openVolume(id))
			lost := w.devs[id].Info().Lost
			if lost.IsZero() || lost == last {
				t.Fatalf("died %v: lost %v after %v", died, lost, last)
			}
			must(t, w.devs[id].Close())
			must(t, w.openVolume(id))
			if again := w.devs[id].Info().Lost; again != lost {
				t.Fatalf("died %v: lost %v, and then %v", died, lost, again)
			}
			last = lost
		}
		must(t, w.close())
	}
}
