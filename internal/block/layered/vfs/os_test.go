package vfs

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T) File {
	t.Helper()
	f, err := OS{}.Open(filepath.Join(t.TempDir(), "f"), Create)
	must(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

// TestVectors moves vectors longer than the kernel takes at once.
func TestVectors(t *testing.T) {
	f := open(t)
	var vec, back [][]byte
	for i := range 3*maxVec + 5 {
		vec = append(vec, bytes.Repeat([]byte{byte(i)}, 1+i%7))
		back = append(back, make([]byte, 1+i%7))
	}
	must(t, f.WriteVec(vec, 100))
	must(t, f.ReadVec(back, 100))
	if !bytes.Equal(bytes.Join(vec, nil), bytes.Join(back, nil)) {
		t.Error("read back something else")
	}
	must(t, f.WriteVecSync(vec, 0))
	must(t, f.TryReadVec(back, 0)) // what was just written is in the page cache
	if !bytes.Equal(bytes.Join(vec, nil), bytes.Join(back, nil)) {
		t.Error("read back something else")
	}
}

func TestReadPastEnd(t *testing.T) {
	f := open(t)
	must(t, f.WriteVec([][]byte{{1, 2, 3}}, 0))
	vec := [][]byte{{9, 9}, {9, 9}, {9, 9}}
	must(t, f.ReadVec(vec, 1))
	if got := bytes.Join(vec, nil); !bytes.Equal(got, []byte{2, 3, 0, 0, 0, 0}) {
		t.Errorf("read %v", got)
	}
	if err := f.TryReadVec(vec, 1); !errors.Is(err, ErrWouldBlock) {
		t.Errorf("a short read that may not wait: %v", err)
	}
}

func TestHoles(t *testing.T) {
	f := open(t)
	const k = 64 << 10
	must(t, f.Truncate(8*k))
	at := func(what string, got int64, err error, want int64) {
		t.Helper()
		if err != nil || got != want {
			t.Errorf("%s: %d, want %d (%v)", what, got, want, err)
		}
	}
	n, err := f.NextData(0)
	at("data in an empty file", n, err, 8*k)
	must(t, f.WriteVec([][]byte{bytes.Repeat([]byte{1}, 4*k)}, 2*k))
	must(t, f.Punch(3*k, k))
	n, err = f.NextData(0)
	at("data", n, err, 2*k)
	n, err = f.NextHole(2 * k)
	at("hole", n, err, 3*k)
	n, err = f.NextData(3 * k)
	at("data after the hole", n, err, 4*k)
	n, err = f.NextData(8 * k)
	at("data at the end", n, err, 8*k)
	info, err := f.Info()
	must(t, err)
	if info.Size != 8*k || info.Allocated < 3*k || info.Links != 1 || info.Dir || info.Device {
		t.Errorf("%+v", info)
	}
}

func TestLock(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	l, err := OS{}.Lock(name)
	must(t, err)
	if _, err := (OS{}).Lock(name); !errors.Is(err, ErrLocked) {
		t.Errorf("a second lock: %v", err)
	}
	must(t, l.Note([]byte("somebody")))
	must(t, l.Note([]byte("me")))
	b, err := os.ReadFile(name)
	must(t, err)
	if string(b) != "me" {
		t.Errorf("it says %q", b)
	}
	must(t, l.Close())
	l, err = OS{}.Lock(name)
	must(t, err)
	must(t, l.Close())
}

func TestBootID(t *testing.T) {
	a, err := OS{}.BootID()
	must(t, err)
	b, err := OS{}.BootID()
	must(t, err)
	if a != b || a == [16]byte{} {
		t.Errorf("boot ids %x, %x", a, b)
	}
}

// TestSyncError tells a failed sync from a failed write: /dev/full refuses
// the write.
func TestSyncError(t *testing.T) {
	f, err := OS{}.Open("/dev/full", ReadWrite)
	must(t, err)
	defer f.Close()
	var se *SyncError
	if err := f.WriteVecSync([][]byte{{1}}, 0); !IsFull(err) || errors.As(err, &se) {
		t.Errorf("a write without room: %v", err)
	}
}

// TestDeallocationWritesBack: what was written is not dropped from the page cache
// before it is in the file, since the deallocation may fail then (ext4 on a full
// disk). The kernel counts what it drops.
func TestDeallocationWritesBack(t *testing.T) {
	const size = 1 << 20
	f := open(t)
	dropped := func(deallocate func(off, n int64) error) int64 {
		t.Helper()
		must(t, f.WriteVec([][]byte{bytes.Repeat([]byte{1}, size)}, 0))
		before := cancelled(t)
		must(t, deallocate(0, size))
		return cancelled(t) - before
	}
	bare := func(off, n int64) error {
		return unix.Fallocate(f.(*osFile).fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
	}
	if dropped(bare) == 0 {
		t.Log("the filesystem of temporary files writes nothing back: there is nothing to lose")
		return
	}
	if n := dropped(f.Punch); n > 0 {
		t.Errorf("a punch dropped %d bytes that were not written back", n)
	}
	if n := dropped(f.Zero); n > 0 {
		t.Errorf("zeroing dropped %d bytes that were not written back", n)
	}
}

// cancelled returns how many bytes this process has written that were dropped
// before they were written back (proc_pid_io(5)).
func cancelled(t *testing.T) int64 {
	t.Helper()
	b, err := os.ReadFile("/proc/self/io")
	must(t, err)
	_, rest, ok := strings.Cut(string(b), "cancelled_write_bytes: ")
	if !ok {
		t.Fatalf("no count of dropped bytes in %q", b)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(rest), 10, 64)
	must(t, err)
	return n
}
