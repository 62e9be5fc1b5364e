package vecio

import (
	"bytes"
	"errors"
	"io"
	"net"
	"path/filepath"
	"syscall"
	"testing"
)

// pair returns the two ends of a connection.
func pair(t *testing.T) (a, b *net.UnixConn) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	d, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); d.Close() })
	return c.(*net.UnixConn), d.(*net.UnixConn)
}

func TestWriter(t *testing.T) {
	a, b := pair(t)
	raw, err := a.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	w := NewWriter(raw)
	if n, err := w.Write([][]byte{[]byte("one "), nil, []byte("two")}, false); n != 7 || err != nil {
		t.Fatalf("%d bytes, %v", n, err)
	}
	sent := []byte("one two")
	// A full connection takes nothing, which is no error.
	piece := bytes.Repeat([]byte("x"), 64<<10)
	for {
		n, err := w.Write([][]byte{piece}, false)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
		sent = append(sent, piece[:n]...)
	}
	// With wait it takes something as soon as there is room.
	got := make(chan []byte, 1)
	go func() {
		p := make([]byte, len(sent)+1)
		_, _ = io.ReadFull(b, p)
		got <- p
	}()
	if n, err := w.Write([][]byte{[]byte("!")}, true); n != 1 || err != nil {
		t.Fatalf("%d bytes, %v", n, err)
	}
	if p := <-got; !bytes.Equal(p, append(sent, '!')) {
		t.Error("other bytes arrive")
	}
	src := [][]byte{[]byte("a"), []byte("b")}
	if n := testing.AllocsPerRun(10, func() { _, _ = w.Write(src, true) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(src, true); !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("after the end: %v", err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(src, true); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
