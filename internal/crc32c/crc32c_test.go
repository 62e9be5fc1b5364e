package crc32c

import (
	"hash/crc32"
	"math/rand/v2"
	"testing"
)

// Every length, start and earlier sum gives what the standard library gives.
func TestUpdate(t *testing.T) {
	t.Logf("wide: %v", wide)
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 9<<10)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	for n := range 5 << 10 {
		at, crc := r.IntN(4<<10), r.Uint32()
		p := b[at : at+n]
		if got, want := Update(crc, p), crc32.Update(crc, castagnoli, p); got != want {
			t.Fatalf("%d bytes from %d after %08x: %08x, want %08x", n, at, crc, got, want)
		}
	}
}

// One bit anywhere, of the message or of the register, counts.
func TestUpdateOfOneBit(t *testing.T) {
	b := make([]byte, wideMin+stride+5)
	for i := range 8 * len(b) {
		b[i/8] ^= 1 << (i % 8)
		if got, want := Update(0, b), crc32.Checksum(b, castagnoli); got != want {
			t.Fatalf("bit %d: %08x, want %08x", i, got, want)
		}
		b[i/8] = 0
	}
	for i := range 32 {
		if got, want := Update(1<<i, b), crc32.Update(1<<i, castagnoli, b); got != want {
			t.Fatalf("bit %d of the register: %08x, want %08x", i, got, want)
		}
	}
}

// The parts that a sum is made of don't matter.
func TestUpdateInParts(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	b := make([]byte, 100_000)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	want := crc32.Checksum(b, castagnoli)
	for range 100 {
		var got uint32
		for p := b; len(p) > 0; {
			n := min(len(p), 1+r.IntN(10_000))
			got = Update(got, p[:n])
			p = p[n:]
		}
		if got != want {
			t.Fatalf("%08x, want %08x", got, want)
		}
	}
}

func TestUpdateAllocatesNothing(t *testing.T) {
	b := make([]byte, 64<<10)
	if n := testing.AllocsPerRun(10, func() { Update(0, b) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzUpdate(f *testing.F) {
	f.Add(uint32(0), make([]byte, wideMin))
	f.Fuzz(func(t *testing.T, crc uint32, p []byte) {
		if got, want := Update(crc, p), crc32.Update(crc, castagnoli, p); got != want {
			t.Errorf("%08x, want %08x", got, want)
		}
	})
}

func BenchmarkUpdate(b *testing.B) {
	for _, c := range []struct {
		name string
		size int
	}{{"512", 512}, {"1k", 1 << 10}, {"4k", 4 << 10}, {"64k", 64 << 10}, {"1M", 1 << 20}} {
		p := make([]byte, c.size)
		run := func(name string, update func(uint32, []byte) uint32) {
			b.Run(c.name+"/"+name, func(b *testing.B) {
				b.SetBytes(int64(c.size))
				for b.Loop() {
					update(0, p)
				}
			})
		}
		run("this", Update)
		run("standard", func(crc uint32, p []byte) uint32 { return crc32.Update(crc, castagnoli, p) })
	}
}
