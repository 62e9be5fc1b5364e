package turns

import (
	"errors"
	"io"
	"testing"
	"time"
)

func TestVectorReader(t *testing.T) {
	a, b := tcpPair(t)
	raw, err := a.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	r := NewVectorReader(raw)
	x, y := make([]byte, 3), make([]byte, 10)
	for range 100 { // far longer than a turn
		if _, err := b.Write([]byte("one two")); err != nil {
			t.Fatal(err)
		}
		got := 0
		for vec := [][]byte{x, y}; got < 7; {
			n, err := r.Read(vec)
			if err != nil {
				t.Fatal(err)
			}
			if got += n; got < 7 {
				vec = [][]byte{y[max(got-3, 0):]}
				if got < 3 {
					vec = [][]byte{x[got:], y}
				}
			}
		}
		if s := string(x) + string(y[:4]); s != "one two" {
			t.Fatalf("%q", s)
		}
	}
	if HungUp(raw) {
		t.Error("it hung up")
	}
	if _, err := b.Write([]byte("last")); err != nil {
		t.Fatal(err)
	}
	b.Close()
	for n := 0; n < 4; {
		m, err := r.Read([][]byte{y})
		if err != nil {
			t.Fatal(err)
		}
		n += m
	}
	if n, err := r.Read([][]byte{y}); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("%d, %v", n, err)
	}
	if !HungUp(raw) {
		t.Error("it did not hang up")
	}
}

func TestVectorReaderAllocatesNothing(t *testing.T) {
	a, b := tcpPair(t)
	raw, err := a.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	r := NewVectorReader(raw)
	vec, out := [][]byte{make([]byte, 1)}, []byte("x")
	if n := testing.AllocsPerRun(100, func() {
		if _, err := b.Write(out); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Read(vec); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// Poll gets what is there, and else nothing.
func TestVectorReaderPolls(t *testing.T) {
	a, b := tcpPair(t)
	raw, err := a.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	r := NewVectorReader(raw)
	x := make([]byte, 10)
	for _, want := range []string{"one", "two"} {
		if _, err := b.Write([]byte("now")); err != nil {
			t.Fatal(err)
		}
		if n, err := r.Read([][]byte{x}); err != nil || string(x[:n]) != "now" {
			t.Fatalf("%q, %v", x[:n], err)
		}
		r.began = time.Now() // the turn has just begun
		if n, err := r.Poll([][]byte{x}); n != 0 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		if _, err := b.Write([]byte(want)); err != nil {
			t.Fatal(err)
		}
		awaitInput(raw)
		r.began = time.Now().Add(-time.Minute)
		if n, err := r.Poll([][]byte{x}); n != 0 || err != nil {
			t.Fatalf("%d, %v, when the turn is over", n, err)
		}
		r.began = time.Now().Add(time.Minute)
		if n, err := r.Poll([][]byte{x}); err != nil || string(x[:n]) != want {
			t.Fatalf("%q, %v; want %q", x[:n], err, want)
		}
	}
	b.Close()
	awaitInput(raw)
	r.began = time.Now().Add(time.Minute)
	if n, err := r.Poll([][]byte{x}); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("%d, %v", n, err)
	}
}
