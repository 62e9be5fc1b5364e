package layered

import (
	"errors"
	"fmt"
	"testing"

	"sango/internal/block"
	"sango/internal/san"
)

// benchVolume is the size of volumes in benchmarks, in bytes: all of it in the
// page cache.
const benchVolume = 32 << 20

// filled makes a volume full of data. It is written in pieces of 4 KiB: the
// page cache keeps the folios that a file was filled with, and large ones make
// small writes several times as dear.
func filled(b *testing.B, s *Store) san.UUID {
	b.Helper()
	id := san.NewUUID()
	must(b, s.Create(CreateSpec{ID: id, Size: benchVolume, BlockSize: 512}))
	d, err := s.Open(id)
	must(b, err)
	fillVolume(b, d)
	must(b, d.Close())
	return id
}

func fillVolume(b *testing.B, d block.Device) {
	p := make([]byte, 4096)
	for i := range p {
		p[i] = byte(i)
	}
	for off := int64(0); off < benchVolume; off += int64(len(p)) {
		must(b, block.WriteAt(d, p, off, 0))
	}
}

// BenchmarkDevice reads and writes data in the page cache. With layers=2 there
// is a snapshot: reads find the data beneath it, writes go to clusters that
// are above it already. (These were copied up in one piece each, so that their
// folios are larger: writes of one layer and of two do not compare.)
func BenchmarkDevice(b *testing.B) {
	for _, op := range []block.Op{block.OpRead, block.OpWrite} {
		for _, size := range []int{4 << 10, 64 << 10, 1 << 20} {
			for _, layers := range []int{1, 2} {
				b.Run(fmt.Sprintf("op=%s/size=%dk/layers=%d", op, size>>10, layers), func(b *testing.B) {
					s := openStore(b, b.TempDir(), Options{})
					id := filled(b, s)
					if layers == 2 {
						must(b, s.Snapshot(id, "a"))
					}
					d, err := s.Open(id)
					must(b, err)
					if layers == 2 && op == block.OpWrite {
						fillVolume(b, d)
					}
					r := &block.Request{Op: op, Len: int64(size), Bufs: [][]byte{make([]byte, size)}, Done: func(*block.Request) {}}
					b.SetBytes(int64(size))
					b.ReportAllocs()
					for i := int64(0); b.Loop(); i++ {
						// Far from the last one, as random requests are.
						r.Off, r.Flags = i*(7<<20+int64(size))%benchVolume, block.NoWait
						if r.Off+r.Len > benchVolume {
							r.Off = 0
						}
						if d.Submit(r); errors.Is(r.Err, block.ErrWouldBlock) { // the page cache lost it
							r.Flags = 0
							d.Submit(r)
						}
						if r.Err != nil {
							b.Fatal(r.Err)
						}
					}
					must(b, d.Close())
				})
			}
		}
	}
}

// BenchmarkFirstWrite is the first write of 4 KiB to a cluster of a clone: the
// cluster is copied up.
func BenchmarkFirstWrite(b *testing.B) {
	s := openStore(b, b.TempDir(), Options{})
	id := filled(b, s)
	must(b, s.Snapshot(id, "a"))
	p := make([]byte, 4096)
	var (
		clone san.UUID
		d     block.Device
	)
	giveUp := func() {
		if d != nil {
			must(b, d.Close())
			must(b, s.Delete(clone))
		}
	}
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	for i := int64(0); b.Loop(); i++ {
		off := i * clusterSize % benchVolume
		if off == 0 { // all clusters have been written
			b.StopTimer()
			giveUp()
			clone = san.NewUUID()
			must(b, s.Clone(id, "a", clone))
			var err error
			d, err = s.Open(clone)
			must(b, err)
			b.StartTimer()
		}
		must(b, block.WriteAt(d, p, off, 0))
	}
	giveUp()
}
