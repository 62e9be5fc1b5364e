// Package blocktest is the contract suite of block.Device: every driver and
// every layer passes it, and all devices run under block.Check. It has devices
// too, for tests and benchmarks of what stands above one.
package blocktest

import (
	"bytes"
	"testing"

	"sango/internal/block"
)

// Spec is the volume that a test wants.
type Spec struct {
	Size      int64 // bytes
	BlockSize int   // bytes
}

// Driver says how the suite gets devices. Hooks that are nil are left out of
// the suite.
type Driver struct {
	// New returns an open volume that reads as zeros. The suite closes it.
	New func(t testing.TB, s Spec) block.Device
	// Resize makes the volume behind a device from New or Reopen larger while it
	// is open.
	Resize func(d block.Device, size int64) error
	// Reopen opens the volume behind d, which the suite has closed, once more.
	// Its contents must have survived.
	Reopen func(t testing.TB, d block.Device) block.Device
	// ReadOnly returns an open volume that refuses changes.
	ReadOnly func(t testing.TB, s Spec) block.Device
	// MaxSize is the largest volume that the driver takes, in bytes; 0 leaves
	// the test of large volumes out.
	MaxSize int64
	// BlockSizes are those to test, in bytes; nil: 512 and 4096.
	BlockSizes []int
}

// Run runs the suite.
func Run(t *testing.T, d Driver) {
	sizes := d.BlockSizes
	if sizes == nil {
		sizes = []int{512, 4096}
	}
	for _, bs := range sizes {
		t.Run(map[int]string{512: "512", 4096: "4096"}[bs], func(t *testing.T) {
			for _, c := range cases {
				t.Run(c.name, func(t *testing.T) { c.run(&env{T: t, drv: d, bs: bs}) })
			}
		})
	}
}

var cases = []struct {
	name string
	run  func(*env)
}{
	{"NewReadsZeros", newReadsZeros},
	{"WriteRead", writeRead},
	{"Vectors", vectors},
	{"Bounds", bounds},
	{"Shape", shape},
	{"ZeroLength", zeroLength},
	{"Flush", flush},
	{"FUA", fua},
	{"NoWait", noWait},
	{"Discard", discard},
	{"WriteZeroes", writeZeroes},
	{"Atomic", atomicWrites},
	{"Status", status},
	{"StatusArguments", statusArguments},
	{"Close", closing},
	{"CloseWaitsForDone", closeWaitsForDone},
	{"CloseUnderLoad", closeUnderLoad},
	{"Concurrent", concurrent},
	{"Overlapping", overlapping},
	{"ReadOnly", readOnly},
	{"Resize", resize},
	{"Reopen", reopen},
	{"Large", large},
	{"History", history},
}

const volume = 2 << 20 // bytes of the volume in most tests

type env struct {
	*testing.T
	drv Driver
	bs  int
}

// open returns a new checked volume, and the bare one.
func (e *env) open(size int64) (dev, bare block.Device) {
	e.Helper()
	bare = e.drv.New(e, Spec{Size: size, BlockSize: e.bs})
	return e.check(bare), bare
}

func (e *env) check(bare block.Device) block.Device {
	e.Helper()
	d := block.Check(bare, e)
	e.Cleanup(func() {
		if err := d.Close(); err != nil {
			e.Errorf("close: %v", err)
		}
	})
	return d
}

func (e *env) must(err error) {
	e.Helper()
	if err != nil {
		e.Fatal(err)
	}
}

// refused asserts that err is of class c.
func (e *env) refused(err error, c block.Class, what string) {
	e.Helper()
	if got := block.ClassOf(err); got != c {
		e.Errorf("%s: got %v, want an error of class %q", what, err, c)
	}
}

// ramp is 1, 2, 3 … 251, again and again.
var ramp = func() (r [4096]byte) {
	for i := range r {
		r[i] = 1 + byte(i%251)
	}
	return r
}()

// pattern returns n bytes that differ from block to block and from seed to
// seed, none of them zero.
func pattern(n int, seed byte) []byte {
	b := make([]byte, n)
	for at := 0; at < n; at += len(ramp) {
		// Each piece starts elsewhere on the ramp, so that no two are alike.
		k := (at/len(ramp)*7 + int(seed)) % len(ramp)
		piece := b[at:min(n, at+len(ramp))]
		copy(piece[copy(piece, ramp[k:]):], ramp[:k])
	}
	for i := 0; i < n; i += 256 {
		b[i] = 1 + byte(i/256+int(seed))%255
	}
	return b
}

// expect asserts that the device holds want at off.
func (e *env) expect(d block.Device, off int64, want []byte) {
	e.Helper()
	got := make([]byte, len(want))
	for i := range got {
		got[i] = 0xee
	}
	e.must(block.ReadAt(d, got, off))
	if !bytes.Equal(got, want) {
		i := 0
		for got[i] == want[i] {
			i++
		}
		e.Fatalf("at %d: byte %d is %#02x, want %#02x", off, i, got[i], want[i])
	}
}
