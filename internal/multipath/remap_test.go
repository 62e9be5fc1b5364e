package multipath

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"sango/internal/block"
	"sango/internal/block/mem"
	"sango/internal/lun"
	"sango/internal/san"
)

// An administrator puts another volume at the LUN while requests are on their
// way: none of them may reach it.
func TestAnotherVolumeAtTheLUN(t *testing.T) {
	r := newRig(t, mem.Options{BlockSize: 512}, lun.TargetOptions{})
	u, other := newUnit(t, mem.Options{Size: rigSize, BlockSize: 512}, 0x7777)
	c := r.config()
	c.Queue = 200 * time.Millisecond
	d, err := Open(soon(t), c)
	if err != nil {
		t.Fatal(err)
	}
	bothUp(t, d)
	const writers = 32
	ended := make(chan error, writers)
	ones := bytes.Repeat([]byte{1}, 4096)
	for w := range writers {
		go func() {
			for {
				if err := block.WriteAt(d, ones, int64(w)<<12, 0); err != nil {
					ended <- err
					return
				}
			}
		}()
	}
	old := r.units[0]
	for range 100 { // let writes flow
		if err := block.WriteAt(d, ones, 1<<20, 0); err != nil {
			t.Fatal(err)
		}
	}
	r.target.SetMap(map[san.LUN]lun.MapEntry{0: {Unit: u}})
	r.units[0], r.units[1] = lun.MapEntry{Unit: u}, old // to be closed
	for range writers {
		if err := <-ended; err == nil {
			t.Error("a write of a volume that is gone succeeded")
		}
	}
	if err := d.Close(); err != nil && !errors.Is(err, ErrUnfenced) { // no path is left to fence by
		t.Error(err)
	}
	got := make([]byte, 2<<20)
	if err := block.ReadAt(other, got, 0); err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(got, []byte{1}); n > 0 {
		t.Errorf("%d bytes of another volume were overwritten", n)
	}
}
