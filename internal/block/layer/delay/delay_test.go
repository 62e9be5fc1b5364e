package delay_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"sango/internal/block"
	"sango/internal/block/blocktest"
	"sango/internal/block/layer/delay"
	"sango/internal/block/mem"
)

func memory(t testing.TB, s blocktest.Spec) block.Device {
	t.Helper()
	d, err := mem.New(mem.Options{Size: s.Size, BlockSize: s.BlockSize})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

var small = blocktest.Spec{Size: 1 << 20, BlockSize: 512}

func TestContract(t *testing.T) {
	blocktest.Run(t, blocktest.Driver{
		New: func(t testing.TB, s blocktest.Spec) block.Device { return delay.New(memory(t, s), delay.Options{}) },
	})
}

// Also while it delays, the layer keeps the contract.
func TestContractWhenSlow(t *testing.T) {
	slow := delay.Options{Latency: map[block.Op]time.Duration{block.OpWrite: time.Microsecond, block.OpRead: time.Microsecond}}
	blocktest.Run(t, blocktest.Driver{
		New:        func(t testing.TB, s blocktest.Spec) block.Device { return delay.New(memory(t, s), slow) },
		BlockSizes: []int{512},
	})
}

func TestLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := block.Check(delay.New(memory(t, small), delay.Options{Latency: map[block.Op]time.Duration{block.OpWrite: time.Hour}}), t)
		do := func(op block.Op, fl block.Flags) error { // block.Do has channels from outside the bubble
			done := make(chan error, 1)
			d.Submit(&block.Request{
				Op: op, Flags: fl, Len: 512, Bufs: [][]byte{make([]byte, 512)}, Done: func(r *block.Request) { done <- r.Err },
			})
			return <-done
		}
		begin := time.Now()
		if err := do(block.OpWrite, 0); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took != time.Hour {
			t.Errorf("the write took %v of the test's clock", took)
		}
		begin = time.Now()
		if err := do(block.OpRead, 0); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took != 0 {
			t.Errorf("the read took %v of the test's clock", took)
		}
		if err := do(block.OpWrite, block.NoWait); !errors.Is(err, block.ErrWouldBlock) {
			t.Errorf("with NoWait: %v", err)
		}
	})
}

func TestHold(t *testing.T) {
	l := delay.New(memory(t, small), delay.Options{})
	d := block.Check(l, t)
	l.Hold(block.OpWrite)
	ended := make(chan error, 3)
	for range 3 {
		d.Submit(&block.Request{
			Op: block.OpWrite, Len: 512, Bufs: [][]byte{make([]byte, 512)}, Done: func(r *block.Request) { ended <- r.Err },
		})
		<-l.Arrived()
	}
	if l.Held() != 3 || len(ended) != 0 {
		t.Fatalf("%d held, %d ended", l.Held(), len(ended))
	}
	if err := block.ReadAt(d, make([]byte, 512), 0); err != nil {
		t.Error(err)
	}
	l.Release()
	for range 3 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// Close lets go what is held, and waits for it.
func TestCloseReleases(t *testing.T) {
	l := delay.New(memory(t, small), delay.Options{})
	d := block.Check(l, t)
	l.Hold()
	ended := make(chan error, 1)
	d.Submit(&block.Request{Op: block.OpFlush, Done: func(r *block.Request) { ended <- r.Err }})
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if len(ended) != 1 {
		t.Error("the request has not ended")
	}
}
