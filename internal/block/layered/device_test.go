package layered

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"sango/internal/block"
	"sango/internal/san"
)

// loopDevice makes a block device out of a file.
func loopDevice(t *testing.T, size int64) string {
	t.Helper()
	back, err := os.Create(t.TempDir() + "/back")
	must(t, err)
	t.Cleanup(func() { back.Close() })
	must(t, back.Truncate(size))
	ctl, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		t.Fatalf("this machine lets the test make no block device: run it as root, with the loop driver: %v", err)
	}
	must(t, err)
	defer ctl.Close()
	for range 100 { // others may take the free one first
		n, err := unix.IoctlRetInt(int(ctl.Fd()), unix.LOOP_CTL_GET_FREE)
		must(t, err)
		name := fmt.Sprintf("/dev/loop%d", n)
		dev, err := os.OpenFile(name, os.O_RDWR, 0)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			t.Fatalf("this machine lets the test make no block device: run it as root, with the loop driver: %v", err)
		}
		must(t, err)
		err = unix.IoctlSetInt(int(dev.Fd()), unix.LOOP_SET_FD, int(back.Fd()))
		if errors.Is(err, unix.EBUSY) {
			dev.Close()
			continue
		}
		if err != nil {
			dev.Close()
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := unix.IoctlSetInt(int(dev.Fd()), unix.LOOP_CLR_FD, 0); err != nil {
				t.Error(err)
			}
			dev.Close()
		})
		return name
	}
	t.Fatal("no free loop device")
	return ""
}

// TestAdoptDevice uses a block device as the lowest layer: its size, discard,
// zeroes, and growing past its end, where a layer of our own goes on top.
func TestAdoptDevice(t *testing.T) {
	const size = 8 << 20
	name := loopDevice(t, size)
	s := openStore(t, t.TempDir(), Options{})
	id := san.NewUUID()
	if err := s.Create(CreateSpec{ID: id, Size: 2 * size, BlockSize: 512, Adopt: name}); !errors.Is(err, ErrTooBig) {
		t.Fatalf("larger than the device: %v", err)
	}
	must(t, s.Create(CreateSpec{ID: id, BlockSize: 512, Adopt: name}))
	dev, err := s.Open(id)
	must(t, err)
	d := block.Check(dev, t)
	if got := d.Info().Size; got != size {
		t.Fatalf("size %d", got)
	}
	fill(t, d, 0, size, 1)
	must(t, block.Do(d, block.OpDiscard, 0, 1<<20, 1<<20))
	expect(t, d, 1<<20, 1<<20, 0)
	must(t, block.Do(d, block.OpWriteZeroes, block.FUA, 512, 512))
	expect(t, d, 512, 512, 0)
	must(t, block.Do(d, block.OpWriteZeroes, block.MayUnmap, 4<<20, 4096))
	expect(t, d, 4<<20, 4096, 0)
	must(t, s.Snapshot(id, "a"))
	fill(t, d, 0, 512, 2)
	must(t, block.WriteAt(d, make([]byte, 4096), 8192, block.Atomic))
	must(t, s.Resize(id, 2*size))
	fill(t, d, 2*size-512, 512, 3)
	expect(t, d, size, size-512, 0)
	must(t, s.DeleteSnapshot(id, "a")) // not into the device: it has no room
	s.waitJobs(id)
	must(t, block.Flush(d))
	must(t, d.Close())
	dev, err = s.Open(id)
	must(t, err)
	expect(t, dev, 0, 512, 2)
	expect(t, dev, 512, 512, 0)
	expect(t, dev, 1024, 7168, 1)
	expect(t, dev, 2*size-512, 512, 3)
	must(t, dev.Close())
}

func TestInfoTellsWhetherDataIsShared(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	id, clone := san.NewUUID(), san.NewUUID()
	if err := s.Create(CreateSpec{ID: id, Size: 1 << 20, BlockSize: 512}); err != nil {
		t.Fatal(err)
	}
	d, err := s.Open(id)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if d.Info().Caps.Shared {
		t.Error("a volume of one layer says that it shares data")
	}
	if err := s.Snapshot(id, "one"); err != nil {
		t.Fatal(err)
	}
	if !d.Info().Caps.Shared {
		t.Error("a volume with a snapshot says that it shares no data")
	}
	if err := s.Clone(id, "one", clone); err != nil {
		t.Fatal(err)
	}
	c, err := s.Open(clone)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if !c.Info().Caps.Shared {
		t.Error("a clone says that it shares no data")
	}
}
