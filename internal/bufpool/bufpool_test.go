package bufpool

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

func TestGetSizes(t *testing.T) {
	for _, n := range []int{0, 1, 512, 513, 4096, 65536, MaxPooled, MaxPooled + 1} {
		b := Get(n)
		if len(b.B) != n {
			t.Errorf("Get(%d) has %d bytes", n, len(b.B))
		}
		b.Release()
	}
}

func TestRetainKeeps(t *testing.T) {
	b := Get(4096)
	b.B[0] = 0x11
	b.Retain()
	b.Release()
	if b.B[0] != 0x11 {
		t.Fatal("the buffer changed while a reference was held")
	}
	b.Release()
}

func TestGetDoesNotAllocate(t *testing.T) {
	Get(4096).Release()
	if n := testing.AllocsPerRun(100, func() { Get(4096).Release() }); n > 0.5 {
		t.Fatalf("%v allocations for a pooled buffer", n)
	}
}

// TestListIsItsBytes holds a List against a plain byte slice.
func TestListIsItsBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var l List
		defer l.Release()
		var want []byte
		for range rapid.IntRange(0, 4).Draw(t, "parts") {
			part := rapid.SliceOfN(rapid.Byte(), 0, 600).Draw(t, "part")
			b := Get(len(part))
			copy(b.B, part)
			l.Append(b)
			want = append(want, part...)
		}
		if n := rapid.IntRange(0, len(want)+10).Draw(t, "cut"); rapid.Bool().Draw(t, "truncate") {
			l.Truncate(n)
			want = want[:min(n, len(want))]
		}
		if l.Len() != len(want) || !bytes.Equal(bytes.Join(l.Vec(), nil), want) {
			t.Fatalf("list holds %d bytes %x, want %x", l.Len(), bytes.Join(l.Vec(), nil), want)
		}
		off := rapid.IntRange(0, len(want)).Draw(t, "off")
		n := rapid.IntRange(0, len(want)-off).Draw(t, "n")
		if got := bytes.Join(l.Slice(nil, off, n), nil); !bytes.Equal(got, want[off:off+n]) {
			t.Fatalf("Slice(%d, %d) = %x, want %x", off, n, got, want[off:off+n])
		}
	})
}

func TestListGrowSplitsIntoPooledParts(t *testing.T) {
	var l List
	l.Grow(2*MaxPooled + 5)
	if l.Len() != 2*MaxPooled+5 || len(l.Vec()) != 3 {
		t.Fatalf("%d bytes in %d parts", l.Len(), len(l.Vec()))
	}
	l.Release()
	if l.Len() != 0 || len(l.Vec()) != 0 {
		t.Fatal("a released list is not empty")
	}
}
