package layered

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"syscall"
	"testing"

	"sango/internal/block"
	"sango/internal/block/layered/vfs"
	"sango/internal/san"
)

// TestNoSpace fills the store: each operation either works or ends with
// NoSpace, everything acknowledged stays, and work goes on when there is room.
func TestNoSpace(t *testing.T) {
	for room := int64(0); room < 4*clusterSize; room += 4096 - 512 {
		w := newWorld(t, 1)
		if err := w.open(); err != nil {
			t.Fatal(err)
		}
		id, err := w.create(6 * cl)
		if err := do(err,
			func() error { return w.write(id, 0, cl, 0) },
			func() error { return w.snapshot(id, "a") },
			func() error { return w.write(id, 3, 5, 0) }); err != nil {
			t.Fatal(err)
		}
		w.fs.SetCapacity(w.fs.Used() + room)
		refused := 0
		for _, fn := range []func() error{
			func() error { return w.write(id, cl+3, 5, 0) },
			func() error { return w.write(id, 2*cl-8, 2*cl, block.Atomic) },
			func() error { return w.change(id, block.OpWriteZeroes, 0, 3*cl, cl) },
			func() error { return w.snapshot(id, "b") },
			func() error { return w.write(id, 5, cl, 0) },
			func() error { return w.flush(id) },
			func() error { return w.change(id, block.OpDiscard, 0, 0, cl) },
			func() error { return w.deleteSnapshot(id, "a") },
		} {
			switch err := fn(); {
			case err == nil:
				continue
			case classify(err) != block.NoSpace:
				t.Fatalf("room %d: %v", room, err)
			}
			refused++
			// What was refused is there in part at most, and not an atomic write.
			stray, where, atomic := w.stray, w.where, w.atomic[1] > 0
			w.forgetOp()
			got, err := readStamps(w.devs[id])
			if err != nil {
				t.Fatal(err)
			}
			c := w.vols[id]
			for b, s := range got {
				in := b >= where[0] && b < where[0]+where[1]
				if s != c.now[b] && (!in || s != stray || atomic) {
					t.Fatalf("room %d: block %d holds stamp %d, want %d", room, b, s, c.now[b])
				}
				if in {
					c.power[b] = append(c.power[b], stray)
				}
			}
			c.now = got
		}
		if room == 0 && refused == 0 {
			t.Fatal("nothing was refused")
		}
		w.fs.SetCapacity(0)
		if err := do(w.afterlife(),
			func() error { return w.flush(id) },
			func() error { return w.recoverAfter(true) },
			w.close, w.checkStore); err != nil {
			t.Fatalf("room %d: %v", room, err)
		}
	}
}

// TestSyncFails lets a sync fail: the volume serves nothing any more until it
// is opened again, whatever later syncs would say.
func TestSyncFails(t *testing.T) {
	for _, snapshot := range []bool{false, true} {
		w := newWorld(t, 1)
		if err := w.open(); err != nil {
			t.Fatal(err)
		}
		id, err := w.create(2 * cl)
		if err == nil && snapshot {
			err = w.snapshot(id, "a")
		}
		if err := do(err, func() error { return w.write(id, 0, 9, 0) }); err != nil {
			t.Fatal(err)
		}
		w.fs.FailSync(func(string) error { return syscall.EIO })
		if err := block.Flush(w.devs[id]); block.ClassOf(err) != block.Failed {
			t.Fatalf("flush that fails: %v", err)
		}
		w.fs.FailSync(nil)
		if err := block.Flush(w.devs[id]); block.ClassOf(err) != block.Failed {
			t.Fatalf("flush after that: %v", err)
		}
		if err := block.ReadAt(w.devs[id], make([]byte, 512), 0); block.ClassOf(err) != block.Failed {
			t.Fatalf("read after that: %v", err)
		}
		if err := w.s.Snapshot(id, "b"); block.ClassOf(err) != block.Failed {
			t.Fatalf("snapshot after that: %v", err)
		}
		if err := do(w.reopen(id), func() error { return w.write(id, 3, 9, block.FUA) }, w.close); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSyncOfManifestFails: whether the change is there is unknown, so the
// volume stops.
func TestSyncOfManifestFails(t *testing.T) {
	w := newWorld(t, 1)
	if err := w.open(); err != nil {
		t.Fatal(err)
	}
	id, err := w.create(2 * cl)
	if err != nil {
		t.Fatal(err)
	}
	w.fs.FailSync(func(name string) error {
		if name == w.s.volumeDir(id)+"/"+manifestName+tmpSuffix {
			return syscall.EIO
		}
		return nil
	})
	err = w.s.Snapshot(id, "a")
	if !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	w.fs.FailSync(nil)
	if err := do(w.reopen(id), func() error { return w.snapshot(id, "a") }, w.close); err != nil {
		t.Fatal(err)
	}
}

// TestNoSpaceIsInTheLog looks for one line that says what to do.
func TestNoSpaceIsInTheLog(t *testing.T) {
	var log bytes.Buffer
	w := newWorld(t, 1)
	if err := w.open(); err != nil {
		t.Fatal(err)
	}
	w.s.log = slog.New(slog.NewTextHandler(&log, nil))
	id, err := w.create(6 * cl)
	if err != nil {
		t.Fatal(err)
	}
	w.fs.SetCapacity(w.fs.Used())
	for range 3 {
		if err := w.write(id, 0, cl, 0); classify(err) != block.NoSpace {
			t.Fatal(err)
		}
		w.forgetOp()
	}
	if n := strings.Count(log.String(), "is full"); n != 1 || !strings.Contains(log.String(), "free space") {
		t.Errorf("%d lines: %s", n, log.String())
	}
}

// TestDeleteWithoutSpace: on a full disk a creation leaves nothing that can't be
// removed, and a delete gives its space back.
func TestDeleteWithoutSpace(t *testing.T) {
	w := newWorld(t, 1)
	if err := w.open(); err != nil {
		t.Fatal(err)
	}
	id := san.NewUUID()
	if err := w.s.Create(CreateSpec{ID: id, Size: 6 * clusterSize, BlockSize: 4096}); err != nil {
		t.Fatal(err)
	}
	before := w.fs.Used()
	w.fs.SetCapacity(before)
	next := san.NewUUID()
	if err := w.s.Create(CreateSpec{ID: next, Size: 6 * clusterSize, BlockSize: 4096}); classify(err) != block.NoSpace {
		t.Fatalf("a volume on a full disk: %v", err)
	}
	if err := w.s.Delete(next); err != nil && !errors.Is(err, ErrNotFound) {
		t.Errorf("what a creation left behind: %v", err)
	}
	if _, err := w.fs.Stat(w.s.volumeDir(next)); !errors.Is(err, vfs.ErrNotExist) {
		t.Errorf("it is there still: %v", err)
	}
	if err := w.s.Delete(id); err != nil {
		t.Error(err)
	}
	if now := w.fs.Used(); now >= before {
		t.Errorf("%d bytes are used, %d before", now, before)
	}
}
