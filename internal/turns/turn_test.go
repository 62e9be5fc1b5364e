package turns

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sango/internal/vecio"
)

// reader is what the users of this package have in their sockets.
type reader struct {
	conn *net.TCPConn
	turn Turn
	busy bool
}

// newReader returns one and the far end of its connection.
func newReader(t *testing.T, of *Readers) (*reader, *net.TCPConn) {
	t.Helper()
	near, far := tcpPair(t)
	return &reader{conn: near, turn: of.Turn()}, far
}

// raw calls f with the socket until it returns true, as read does.
func (r *reader) raw(t *testing.T, f func(fd uintptr, now time.Time) bool) error {
	t.Helper()
	raw, err := r.conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	return raw.Read(func(fd uintptr) bool { return f(fd, time.Now()) })
}

// read reads up to 10 bytes, and spins for them.
func (r *reader) read(t *testing.T) (n int, err error) {
	t.Helper()
	v, _ := vecio.Append(nil, [][]byte{make([]byte, 10)})
	var errno unix.Errno
	err = r.raw(t, func(fd uintptr, now time.Time) bool {
		if r.turn.Begin(now); r.turn.Over(fd, now, r.busy) {
			r.turn.Wait()
			return false
		}
		n, errno = vecio.Read(fd, v)
		if errno == unix.EAGAIN {
			n, errno, _, _ = r.turn.Spin(fd, v, now)
		}
		if errno == unix.EAGAIN {
			r.turn.Wait()
			return false
		}
		return true
	})
	if err == nil && errno != 0 {
		err = errno
	}
	return n, err
}

// A reader whose turn is over waits for once, and gets what was there already.
func TestReaderWhoseTurnIsOverGetsWhatIsThere(t *testing.T) {
	r, far := newReader(t, NewReaders(2))
	for i := range 100 {
		if _, err := far.Write(make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
		long := time.Now().Add(-time.Hour)
		r.turn.Begin(long)
		r.turn.began = long
		_ = r.conn.SetReadDeadline(time.Now().Add(time.Minute))
		if n, err := r.read(t); n != 10 || err != nil {
			t.Fatalf("read %d: %d bytes, %v", i, n, err)
		}
		if r.turn.began.Equal(long) {
			t.Fatalf("read %d went on with its turn", i)
		}
	}
	if n := r.turn.of.Awake(); n != 1 {
		t.Errorf("%d readers are awake", n)
	}
}

// How long a turn is depends on the reader and on who else is awake.
func TestTurnsAreLongWhileProcessorsAreToSpare(t *testing.T) {
	of := NewReaders(2)
	r, _ := newReader(t, of)
	other := of.Reader()
	now := time.Now()
	r.turn.Begin(now)
	for _, c := range []struct {
		after         time.Duration
		busy, crowded bool
		want          bool
	}{
		{Short, true, true, false},
		{Short + 1, false, false, false},
		{Short + 1, true, false, true},
		{Short + 1, false, true, true},
		{Long, false, false, false},
		{Long + 1, false, false, true},
	} {
		if c.crowded {
			other.Wake()
		}
		if err := r.raw(t, func(fd uintptr, _ time.Time) bool {
			if got := r.turn.Over(fd, now.Add(c.after), c.busy); got != c.want {
				t.Errorf("%+v: %v", c, got)
			}
			return true
		}); err != nil {
			t.Fatal(err)
		}
		other.Wait()
	}
}

// A spin finds what comes while it lasts, and says until when the socket was
// empty.
func TestSpinFindsWhatComes(t *testing.T) {
	r, far := newReader(t, NewReaders(2))
	v, _ := vecio.Append(nil, [][]byte{make([]byte, 10)})
	if err := r.raw(t, func(fd uintptr, now time.Time) bool {
		r.turn.Begin(now)
		r.turn.misses = 5
		if _, err := far.Write(make([]byte, 10)); err != nil {
			t.Error(err)
		}
		for readable := false; !readable; {
			k, err := unix.IoctlGetInt(int(fd), unix.SIOCINQ)
			readable = k == 10 || err != nil
		}
		n, errno, empty, at := r.turn.Spin(fd, v, now)
		if n != 10 || errno != 0 || !empty.Equal(now) || at.Before(now) {
			t.Errorf("%d bytes, %v, empty %v later, read %v later", n, errno, empty.Sub(now), at.Sub(now))
		}
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if r.turn.misses != 0 {
		t.Error("it counts as a spin in vain")
	}
}

// A spin that finds nothing ends, and the socket was empty until then.
func TestSpinEnds(t *testing.T) {
	r, _ := newReader(t, NewReaders(2))
	v, _ := vecio.Append(nil, [][]byte{make([]byte, 10)})
	if err := r.raw(t, func(fd uintptr, now time.Time) bool {
		r.turn.Begin(now)
		if _, errno, empty, at := r.turn.Spin(fd, v, now); errno != unix.EAGAIN || !empty.After(now) || !at.Equal(empty) {
			t.Errorf("%v, empty %v later, read %v later", errno, empty.Sub(now), at.Sub(now))
		}
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if r.turn.misses != 1 {
		t.Errorf("%d spins in vain", r.turn.misses)
	}
}

// Nobody spins beside others, or where there is one processor.
func TestNoSpinBesideOthers(t *testing.T) {
	for processors, others := range map[int]int{1: 0, 2: 1} {
		of := NewReaders(processors)
		of.Modest = true
		r, _ := newReader(t, of)
		for range others {
			other := of.Reader()
			other.Wake()
		}
		if err := r.raw(t, func(fd uintptr, now time.Time) bool {
			r.turn.Begin(now)
			if _, errno, empty, at := r.turn.Spin(fd, nil, now); errno != unix.EAGAIN || !empty.Equal(now) || !at.Equal(now) {
				t.Errorf("%d processors: it spun: %v", processors, errno)
			}
			return true
		}); err != nil {
			t.Fatal(err)
		}
		if r.turn.misses != 1 {
			t.Errorf("%d processors: %d spins in vain", processors, r.turn.misses)
		}
	}
}

// A reader without anything to read waits, and nothing of that allocates.
func TestTurnsAllocateNothing(t *testing.T) {
	r, _ := newReader(t, NewReaders(2))
	v, _ := vecio.Append(nil, [][]byte{make([]byte, 10)})
	_ = r.conn.SetReadDeadline(time.Now().Add(time.Millisecond))
	if _, err := r.read(t); !errors.Is(err, os.ErrDeadlineExceeded) || r.turn.of.Awake() != 0 {
		t.Fatalf("read of nothing: %v, %d readers are awake", err, r.turn.of.Awake())
	}
	_ = r.conn.SetReadDeadline(time.Time{})
	if err := r.raw(t, func(fd uintptr, _ time.Time) bool {
		if n := testing.AllocsPerRun(100, func() {
			now := time.Now()
			r.turn.Begin(now)
			r.turn.Over(fd, now.Add(time.Hour), true)
			_, _, _, _ = r.turn.Spin(fd, v, now)
			r.turn.Wait()
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
		return true
	}); err != nil {
		t.Fatal(err)
	}
}
