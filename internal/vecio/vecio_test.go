package vecio

import (
	"bytes"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestReadAndWrite(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	v, n := Append(nil, [][]byte{[]byte("one "), nil, []byte("two")})
	if len(v) != 2 || n != 7 {
		t.Errorf("%d slices, %d bytes", len(v), n)
	}
	if n, errno := Write(w.Fd(), v); n != 7 || errno != 0 {
		t.Errorf("write: %d, %v", n, errno)
	}
	a, b := make([]byte, 2), make([]byte, 100)
	v, _ = Append(v[:0], [][]byte{a, b})
	if n, errno := Read(r.Fd(), v); n != 7 || errno != 0 {
		t.Errorf("read: %d, %v", n, errno)
	}
	if got := string(a) + string(b[:5]); got != "one two" {
		t.Errorf("%q", got)
	}
}

func TestBounds(t *testing.T) {
	if _, errno := Read(0, nil); errno != unix.EINVAL {
		t.Error(errno)
	}
	b := bytes.Split(bytes.Repeat([]byte("ab,"), 2*MaxVec), []byte(","))
	if v, n := Append(nil, b); len(v) != MaxVec || n != 2*MaxVec {
		t.Errorf("%d slices, %d bytes", len(v), n)
	}
	w := make([]unix.Iovec, 0, MaxVec)
	if n := testing.AllocsPerRun(10, func() { w, _ = Append(w[:0], b) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
