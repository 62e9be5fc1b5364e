package blocktest

import (
	"bytes"
	"math/rand/v2"
	"sync"
	"time"

	"sango/internal/block"
)

func closing(e *env) {
	d, _ := e.open(volume)
	e.must(block.WriteAt(d, pattern(e.bs, 1), 0, 0))
	e.must(d.Close())
	e.must(d.Close())
	p := make([]byte, e.bs)
	n := int64(e.bs)
	e.refused(block.ReadAt(d, p, 0), block.Closed, "read")
	e.refused(block.WriteAt(d, p, 0, 0), block.Closed, "write")
	e.refused(block.WriteAt(d, p, 0, block.NoWait), block.Closed, "write with NoWait")
	e.refused(block.Flush(d), block.Closed, "flush")
	e.refused(block.Do(d, block.OpDiscard, 0, 0, n), block.Closed, "discard")
	_, err := d.Status(0, n, 1)
	e.refused(err, block.Closed, "status")
}

// closeWaitsForDone: a request is in flight until its Done has returned.
func closeWaitsForDone(e *env) {
	d, bare := e.open(volume)
	entered, closed, leave := make(chan struct{}), make(chan struct{}), make(chan struct{})
	r := &block.Request{Op: block.OpWrite, Len: int64(e.bs), Bufs: [][]byte{pattern(e.bs, 1)}}
	r.Done = func(*block.Request) {
		close(entered)
		<-leave
	}
	go bare.Submit(r)
	<-entered
	go func() {
		defer close(closed)
		if err := d.Close(); err != nil {
			e.Error(err)
		}
	}()
	select {
	case <-closed:
		e.Error("Close returned while Done was running")
	case <-time.After(50 * time.Millisecond):
	}
	close(leave)
	<-closed
}

// closeUnderLoad: requests that race with Close either work or end with
// Closed.
func closeUnderLoad(e *env) {
	d, _ := e.open(volume)
	var wg sync.WaitGroup
	warm := make(chan struct{}, 64)
	for g := range 4 {
		wg.Go(func() {
			p := pattern(e.bs, byte(g))
			for i := int64(0); ; i++ {
				err := block.WriteAt(d, p, (i%64+int64(g)*64)*int64(e.bs), 0)
				if block.ClassOf(err) == block.Closed {
					return
				}
				if err != nil {
					e.Error(err)
					return
				}
				select {
				case warm <- struct{}{}:
				default:
				}
			}
		})
	}
	for range 32 {
		<-warm
	}
	e.must(d.Close())
	wg.Wait()
}

// concurrent: goroutines with a region each never see one another.
func concurrent(e *env) {
	d, _ := e.open(volume)
	const workers = 8
	region := int64(volume / workers)
	bs := int64(e.bs)
	var wg sync.WaitGroup
	for w := range int64(workers) {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 1))
			model := make([]byte, region)
			for i := range 60 {
				off := rng.Int64N(region/bs) * bs
				n := min((1+rng.Int64N(32))*bs, region-off)
				var err error
				switch rng.IntN(4) {
				case 0:
					got := make([]byte, n)
					err = block.ReadAt(d, got, w*region+off)
					if err == nil && !bytes.Equal(got, model[off:off+n]) {
						e.Errorf("worker %d reads something else than it wrote at %d+%d", w, off, n)
						return
					}
				case 1:
					err = block.Do(d, block.OpWriteZeroes, block.MayUnmap, w*region+off, n)
					if block.ClassOf(err) == block.Unsupported {
						err = nil
						break
					}
					clear(model[off : off+n])
				default:
					p := pattern(int(n), byte(i))
					err = block.WriteAt(d, p, w*region+off, 0)
					copy(model[off:], p)
				}
				if err != nil {
					e.Error(err)
					return
				}
			}
			e.expectIn(d, w*region, model)
		})
	}
	wg.Wait()
}

// expectIn is expect for goroutines other than the test's own.
func (e *env) expectIn(d block.Device, off int64, want []byte) {
	got := make([]byte, len(want))
	if err := block.ReadAt(d, got, off); err != nil {
		e.Error(err)
	} else if !bytes.Equal(got, want) {
		e.Errorf("region at %d differs at its end", off)
	}
}

// overlapping: requests for the same blocks at the same time end, and each
// byte is one that somebody wrote there.
func overlapping(e *env) {
	d, _ := e.open(volume)
	const writers = 4
	n := 8 * e.bs
	off := int64(64<<10 - 4*e.bs)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			p := bytes.Repeat([]byte{byte(w + 1)}, n)
			for i := range 40 {
				var err error
				if i%8 == 7 && d.Info().Caps.Discard != block.None {
					err = block.Do(d, block.OpDiscard, 0, off, int64(n))
				} else {
					err = block.WriteAt(d, p, off, 0)
				}
				if err != nil {
					e.Error(err)
					return
				}
				got := make([]byte, n)
				if err := block.ReadAt(d, got, off); err != nil {
					e.Error(err)
					return
				}
				for _, b := range got {
					if b > writers {
						e.Errorf("a byte %#02x was read that nobody wrote", b)
						return
					}
				}
			}
		})
	}
	wg.Wait()
}

func readOnly(e *env) {
	if e.drv.ReadOnly == nil {
		return
	}
	d := e.check(e.drv.ReadOnly(e, Spec{Size: volume, BlockSize: e.bs}))
	if !d.Info().Caps.ReadOnly {
		e.Fatal("the device does not say that it is read-only")
	}
	n := int64(e.bs)
	p := make([]byte, e.bs)
	e.must(block.ReadAt(d, p, 0))
	e.refused(block.WriteAt(d, p, 0, 0), block.ReadOnly, "write")
	e.refused(block.Do(d, block.OpDiscard, 0, 0, n), block.ReadOnly, "discard")
	e.refused(block.Do(d, block.OpWriteZeroes, 0, 0, n), block.ReadOnly, "write-zeroes")
	e.must(block.Flush(d))
}

func resize(e *env) {
	if e.drv.Resize == nil {
		return
	}
	d, bare := e.open(volume)
	tail := pattern(e.bs, 4)
	e.must(block.WriteAt(d, tail, volume-int64(e.bs), 0))
	e.refused(block.WriteAt(d, tail, volume, 0), block.Invalid, "write past the end")
	for _, size := range []int64{volume + int64(e.bs), volume * 3} {
		e.must(e.drv.Resize(bare, size))
		if got := d.Info().Size; got != size {
			e.Fatalf("size is %d after a resize to %d", got, size)
		}
		e.expect(d, volume-int64(e.bs), tail)
		e.expect(d, size-int64(e.bs), make([]byte, e.bs))
		e.refused(block.WriteAt(d, tail, size, 0), block.Invalid, "write past the new end")
	}
	e.must(block.WriteAt(d, tail, volume*3-int64(e.bs), 0))
	e.expect(d, volume*3-int64(e.bs), tail)
	if e.drv.Resize(bare, volume) == nil {
		e.Error("the volume shrank")
	}
}

func reopen(e *env) {
	if e.drv.Reopen == nil {
		return
	}
	d, bare := e.open(volume)
	p := pattern(256<<10, 5)
	e.must(block.WriteAt(d, p, 64<<10, 0))
	if d.Info().Caps.Discard != block.None {
		e.must(block.Do(d, block.OpDiscard, 0, 128<<10, 64<<10))
		clear(p[64<<10 : 128<<10])
	}
	for range 2 {
		e.must(d.Close())
		bare = e.drv.Reopen(e, bare)
		d = e.check(bare)
		if d.Info().Size != volume || d.Info().BlockSize != e.bs {
			e.Fatalf("reopened as %+v", d.Info())
		}
		e.expect(d, 64<<10, p)
		e.expect(d, 0, make([]byte, 64<<10))
	}
}

// large: both ends and the middle of the largest volume work, and emptying it
// does not take for ever.
func large(e *env) {
	if e.drv.MaxSize == 0 {
		return
	}
	size := e.drv.MaxSize / int64(e.bs) * int64(e.bs)
	d, _ := e.open(size)
	p := pattern(2*e.bs, 3)
	offs := []int64{0, size/2 - int64(e.bs), size - int64(len(p))}
	for _, off := range offs {
		e.must(block.WriteAt(d, p, off, 0))
	}
	for _, off := range offs {
		e.expect(d, off, p)
	}
	e.refused(block.WriteAt(d, p, size-int64(e.bs), 0), block.Invalid, "write across the end")
	if d.Info().Caps.Discard == block.Native {
		e.must(block.Do(d, block.OpDiscard, 0, 0, size))
		e.deallocated(d, 0, size)
		e.expect(d, offs[1], make([]byte, len(p)))
	}
}
