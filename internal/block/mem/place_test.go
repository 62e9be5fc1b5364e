package mem_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"sango/internal/block"
	"sango/internal/block/blocktest"
	"sango/internal/block/mem"
)

const chunk = 64 << 10

// TestContractInSlabs is the suite with every chunk that can be in a slab.
func TestContractInSlabs(t *testing.T) {
	slabs := new(mem.Slabs)
	drv := driver(0)
	drv.New = func(t testing.TB, s blocktest.Spec) block.Device {
		d := open(t, mem.Options{Size: s.Size, BlockSize: s.BlockSize})
		d.UseSlabs(slabs)
		return d
	}
	blocktest.Run(t, drv)
}

// stamp fills p with the number of its chunk and of the write.
func stamp(p []byte, i int64, write uint32) {
	for ; len(p) > 0; p = p[8:] {
		binary.LittleEndian.PutUint32(p, uint32(i)+1)
		binary.LittleEndian.PutUint32(p[4:], write)
	}
}

// TestSlotsAreTheirChunksAlone lets owners of chunks write, discard and compare
// them while others read: nobody may find what another chunk holds, an owner
// nothing but what it wrote. Slots change hands and move all the time.
func TestSlotsAreTheirChunksAlone(t *testing.T) {
	const owners, readers, chunks, steps = 4, 2, 512, 3000
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for name, slabs := range map[string]*mem.Slabs{"heap": new(mem.Slabs), "kernel": nil} {
		t.Run(name, func(t *testing.T) {
			d := open(t, mem.Options{Size: chunks * chunk, PhysicalBlock: 4096})
			d.UseSlabs(slabs)
			var work, look sync.WaitGroup
			done := make(chan struct{})
			for o := range owners {
				work.Go(func() { own(t, d, o, owners, chunks, steps, rand.New(rand.NewPCG(seed, uint64(o)))) })
			}
			for r := range readers {
				look.Go(func() {
					rnd := rand.New(rand.NewPCG(seed, uint64(owners+r)))
					p := make([]byte, chunk)
					for {
						select {
						case <-done:
							return
						default:
						}
						i := rnd.Int64N(chunks)
						if err := block.ReadAt(d, p, i*chunk); err != nil {
							t.Errorf("read: %v", err)
							return
						}
						for at := 0; at < chunk; at += 8 {
							if n := binary.LittleEndian.Uint32(p[at:]); n != 0 && n != uint32(i)+1 {
								t.Errorf("chunk %d shows %x at %d", i, p[at:at+8], at)
								return
							}
						}
					}
				})
			}
			work.Wait()
			close(done)
			look.Wait()
			if _, held := d.Slots(); held > 1024/4+128 {
				t.Errorf("%d free slots keep their memory", held)
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// own plays with the chunks of one owner, and compares them with a model.
func own(t *testing.T, d *mem.Device, o, owners, chunks, steps int, rnd *rand.Rand) {
	model := make([][]byte, chunks)
	got := make([]byte, chunk)
	for step := range steps {
		i := o + owners*rnd.IntN(chunks/owners)
		m, off := model[i], int64(i)*chunk
		if m == nil {
			m = make([]byte, chunk)
			model[i] = m
		}
		var err error
		at := rnd.IntN(16) * 4096
		// Waves of writes and of discards, so that slabs come and go.
		fill := step/(steps/6)%2 == 0
		switch k := rnd.IntN(10); {
		case k < 5 && fill:
			stamp(m, int64(i), uint32(step))
			err = block.WriteAt(d, m, off, 0)
		case k < 6:
			stamp(m[at:at+4096], int64(i), uint32(step))
			err = block.WriteAt(d, m[at:at+4096], off+int64(at), 0)
		case k < 7:
			clear(m[at : at+4096])
			err = block.Do(d, block.OpWriteZeroes, 0, off+int64(at), 4096)
		case k < 9 || !fill:
			clear(m)
			err = block.Do(d, block.OpDiscard, 0, off, chunk)
		}
		if err == nil {
			err = block.ReadAt(d, got, off)
		}
		if err != nil {
			t.Errorf("step %d: %v", step, err)
			return
		}
		if !bytes.Equal(got, m) {
			t.Errorf("step %d: chunk %d is not what its owner wrote", step, i)
			return
		}
	}
}

// TestScatteredDiscardGivesMemoryBack discards most chunks of a volume, but not
// all of any slab.
func TestScatteredDiscardGivesMemoryBack(t *testing.T) {
	const chunks = 2048
	d := open(t, mem.Options{Size: chunks * chunk})
	d.UseSlabs(new(mem.Slabs))
	p := make([]byte, chunk)
	for i := range int64(chunks) {
		stamp(p, i, 0)
		if err := block.WriteAt(d, p, i*chunk, 0); err != nil {
			t.Fatal(err)
		}
	}
	for i := range int64(chunks) {
		if i%16 != 0 {
			if err := block.Do(d, block.OpDiscard, 0, i*chunk, chunk); err != nil {
				t.Fatal(err)
			}
		}
	}
	if taken, held := d.Slots(); taken != chunks/16 || held > 64 {
		t.Errorf("%d slots in use, %d free ones keep their memory", taken, held)
	}
	want := make([]byte, chunk)
	for i := range int64(chunks) {
		clear(want)
		if i%16 == 0 {
			stamp(want, i, 0)
		}
		if err := block.ReadAt(d, p, i*chunk); err != nil || !bytes.Equal(p, want) {
			t.Fatalf("chunk %d has changed (error %v)", i, err)
		}
	}
}

// TestSmallOrSparseTakesNoSlab: a slab for a few blocks would be a waste.
func TestSmallOrSparseTakesNoSlab(t *testing.T) {
	d := open(t, mem.Options{Size: 1 << 30})
	p := make([]byte, chunk)
	for i := range int64(64) {
		if err := block.WriteAt(d, p, i*chunk, 0); err != nil {
			t.Fatal(err)
		}
	}
	for i := range int64(512) {
		if err := block.WriteAt(d, p[:4096], i*2<<20, 0); err != nil {
			t.Fatal(err)
		}
	}
	if taken, held := d.Slots(); taken+held != 0 {
		t.Errorf("%d slots in use, %d more", taken, held)
	}
	if err := block.WriteAt(d, p, 1<<20+chunk, 0); err != nil {
		t.Fatal(err)
	}
	if err := block.WriteAt(d, p, 7<<20, 0); err != nil {
		t.Fatal(err)
	}
	if taken, _ := d.Slots(); taken == 0 {
		t.Error("a chunk of a volume that is not small has no slot")
	}
}

// TestWithoutSlabs: where the system has none to give, volumes work as well.
func TestWithoutSlabs(t *testing.T) {
	d := open(t, mem.Options{Size: 1 << 20})
	slabs := new(mem.Slabs)
	d.UseSlabs(slabs)
	slabs.RefuseSlabs()
	p, got := make([]byte, 3*chunk), make([]byte, 3*chunk)
	stamp(p, 5, 6)
	if err := block.WriteAt(d, p, chunk, 0); err != nil {
		t.Fatal(err)
	}
	if err := block.ReadAt(d, got, chunk); err != nil || !bytes.Equal(got, p) {
		t.Fatalf("read something else (error %v)", err)
	}
	if err := block.Do(d, block.OpDiscard, 0, 0, 1<<20); err != nil || d.Used() != 0 {
		t.Fatalf("%d bytes are in use after the discard (error %v)", d.Used(), err)
	}
}

// TestCloseGivesSlabsBack, and so does forgetting to.
func TestCloseGivesSlabsBack(t *testing.T) {
	slabs := new(mem.Slabs)
	fill := func() *mem.Device {
		d := open(t, mem.Options{Size: 16 << 20})
		d.UseSlabs(slabs)
		if err := block.WriteAt(d, make([]byte, 16<<20), 0, 0); err != nil {
			t.Fatal(err)
		}
		return d
	}
	d := fill()
	if now, _ := slabs.Areas(); now != 4 {
		t.Fatalf("%d areas for 16 MiB", now)
	}
	for range 2 {
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if now, _ := slabs.Areas(); now != 0 {
			t.Fatalf("%d areas are left after Close", now)
		}
	}
	fill()
	for deadline := time.Now().Add(time.Minute); ; runtime.Gosched() {
		runtime.GC()
		if now, _ := slabs.Areas(); now == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("a device that nobody has any more keeps its slabs")
		}
	}
}
