package target

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pair returns both ends of a TCP connection, the first as a socket.
func pair(t *testing.T) (*socket, *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	far, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	near, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSocket(near.(*net.TCPConn), newReaders())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.close(); far.Close() })
	return s, far.(*net.TCPConn)
}

// Bytes are as old as the last moment at which the socket was seen empty, not
// as young as the read that finds them (DESIGN R4 b).
func TestArrivalTime(t *testing.T) {
	s, far := pair(t)
	_ = s.tcp.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	buf := [][]byte{make([]byte, 64)}
	if _, err := s.read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read of nothing: %v", err)
	}
	empty := s.seenEmpty
	if empty.IsZero() || time.Since(empty) <= 0 {
		t.Fatalf("seen empty at %v", empty)
	}
	if _, err := far.Write(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	for !readable(t, s) {
	}
	before := time.Now()
	_ = s.tcp.SetReadDeadline(time.Time{})
	n, err := s.read(buf)
	if n != 64 || err != nil || !s.arrival.Equal(empty) {
		t.Errorf("first read: %d bytes, %v, arrival %v after the socket was seen empty", n, err, s.arrival.Sub(empty))
	}
	if !s.seenEmpty.Equal(empty) {
		t.Error("a read that took all it asked for says that the socket was empty")
	}
	if n, err := s.read(buf); n != 36 || err != nil || !s.arrival.Equal(empty) {
		t.Errorf("second read: %d bytes, %v", n, err)
	}
	if s.seenEmpty.Before(before) {
		t.Error("a read that took less than it asked for did not note that the socket was empty")
	}
}

func readable(t *testing.T, s *socket) bool {
	t.Helper()
	n := 0
	if err := s.raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.SIOCINQ) }); err != nil {
		t.Fatal(err)
	}
	return n == 100
}

// The kernel hands out bytes after a reset; hungUp tells that they are not to
// be executed (DESIGN R4 a).
func TestBytesAfterReset(t *testing.T) {
	s, far := pair(t)
	if s.hungUp() {
		t.Error("a healthy connection hung up")
	}
	if _, err := far.Write(make([]byte, 48)); err != nil {
		t.Fatal(err)
	}
	_ = far.SetLinger(0)
	far.Close()
	for !s.hungUp() {
	}
	if n, err := s.read([][]byte{make([]byte, 64)}); n != 48 || err != nil {
		t.Logf("this kernel does not: %d bytes, %v", n, err)
	}
}

// A write without wait takes what fits and then nothing; one with wait goes on
// when the peer reads.
func TestWriteWithoutWait(t *testing.T) {
	s, far := pair(t)
	vec := [][]byte{make([]byte, 1<<20), nil, make([]byte, 1<<20)}
	total := 0
	for {
		n, err := s.write(vec, false)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
		total += n
	}
	if got := s.unacked(); got == 0 || got > int64(total) {
		t.Errorf("%d of %d bytes are not acknowledged", got, total)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1<<20)
		for left := total + 1; left > 0; {
			n, err := far.Read(buf)
			if err != nil {
				return
			}
			left -= n
		}
	}()
	if n, err := s.write([][]byte{{1}}, true); n != 1 || err != nil {
		t.Errorf("waiting write: %d, %v", n, err)
	}
	<-done
}

// The vector that vectored hands to the kernel is an array of struct iovec as
// <linux/uio.h> has it: a pointer and a length, each of the machine's word.
func TestIovecLayout(t *testing.T) {
	const word = unsafe.Sizeof(uintptr(0))
	var v [2]unix.Iovec
	if got := unsafe.Sizeof(v); got != 4*word {
		t.Errorf("two vectors take %d bytes, want %d", got, 4*word)
	}
	if got := unsafe.Offsetof(v[0].Base); got != 0 {
		t.Errorf("iov_base is at %d", got)
	}
	if got := unsafe.Offsetof(v[0].Len); got != word {
		t.Errorf("iov_len is at %d, want %d", got, word)
	}
	if got := unsafe.Sizeof(v[0].Len); got != word {
		t.Errorf("iov_len has %d bytes, want %d", got, word)
	}
}

// Under a load that never leaves the socket empty the arrival time goes on: it
// is never later than the bytes came, and no older than what was there before
// them took to read.
func TestArrivalWhereTheSocketIsNeverEmpty(t *testing.T) {
	s, far := pair(t)
	_ = s.tcp.SetReadDeadline(time.Now().Add(time.Minute))
	send := func() {
		if _, err := far.Write(make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
	}
	read := func(n int) time.Time {
		b := make([]byte, n)
		for got := 0; got < n; {
			m, err := s.read([][]byte{b[got:]})
			if err != nil {
				t.Fatal(err)
			}
			got += m
		}
		return s.arrival
	}
	empty := time.Now().Add(-time.Hour)
	s.seenEmpty = empty
	for send(); !readable(t, s); {
	}
	for range 2 {
		if at := read(50); !at.Equal(empty) {
			t.Fatalf("what was there has the arrival time %v after the socket was empty", at.Sub(empty))
		}
		send()
	}
	now := time.Now()
	if at := read(100); !at.After(empty) || at.After(now) {
		t.Errorf("what came later has the arrival time %v after the socket was empty", at.Sub(empty))
	}
}
