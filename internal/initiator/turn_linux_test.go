package initiator

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"
)

// pair returns both ends of a TCP connection, the first as a socket that
// shares.
func pair(t *testing.T) (*tcpSocket, net.Conn) {
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
	s := newTCPSocket(near)
	s.share(true)
	t.Cleanup(func() { s.share(false); near.Close(); far.Close() })
	return s, far
}

// A reader whose turn is over waits for once, and gets what was there already.
func TestReaderWhoseTurnIsOverGetsWhatIsThere(t *testing.T) {
	s, far := pair(t)
	buf := [][]byte{make([]byte, 10)}
	for i := range 100 {
		if _, err := far.Write(make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
		long := time.Now().Add(-time.Hour)
		s.turn.begin(long)
		s.turn.began = long
		if n, err := s.read(buf, false); n != 10 || err != nil {
			t.Fatalf("read %d: %d bytes, %v", i, n, err)
		}
		if s.turn.began.Equal(long) {
			t.Fatalf("read %d went on with its turn", i)
		}
	}
}

// A reader that finds nothing stops polling for it after a while, and polls
// less and less often when that is in vain.
func TestSpinsInVainBecomeRare(t *testing.T) {
	if spare == 0 {
		spare = 1
		t.Cleanup(func() { spare = 0 })
	}
	s, _ := pair(t)
	buf := [][]byte{make([]byte, 10)}
	var spins []int
	for i := range 16 {
		before := s.turn.misses
		_ = s.tcp.SetReadDeadline(time.Now().Add(time.Millisecond))
		if _, err := s.read(buf, true); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("read of nothing: %v", err)
		}
		if s.turn.misses != before {
			spins = append(spins, i)
		}
	}
	if len(spins) == 0 || len(spins) > 5 {
		t.Errorf("spun at the waits %v of 16", spins)
	}
	s.turn.skip = 0
	_ = s.tcp.SetReadDeadline(time.Now().Add(time.Millisecond))
	before := s.turn.misses
	if _, err := s.read(buf, false); !errors.Is(err, os.ErrDeadlineExceeded) || s.turn.misses != before {
		t.Errorf("a reader spun who expects nothing: %v", err)
	}
}

// Readers that wait, and sessions that have ended, are not counted as awake.
func TestAwakeReadersAreCounted(t *testing.T) {
	before := awake.Load()
	s, far := pair(t)
	if _, err := far.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.read([][]byte{make([]byte, 10)}, false); err != nil {
		t.Fatal(err)
	}
	if n := awake.Load() - before; n != 1 {
		t.Errorf("%d readers awake after a read", n)
	}
	_ = s.tcp.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, _ = s.read([][]byte{make([]byte, 10)}, false)
	if n := awake.Load() - before; n != 0 {
		t.Errorf("%d readers awake in a wait", n)
	}
	x := start(t).login()
	x.Abort(ErrClosed)
	<-x.Done()
	if n := awake.Load() - before; n != 0 {
		t.Errorf("%d readers awake after the end of a session", n)
	}
}

// Whether the reader polls follows from what is under way; an idle session
// never does.
func TestEagerFollowsTheLoad(t *testing.T) {
	for name, c := range map[string]struct {
		active, waiting, owed int
		want                  bool
	}{
		"idle":                {0, 0, 0, false},
		"one":                 {1, 0, 4096, true},
		"one not yet sent":    {0, 1, 0, true},
		"many":                {32, 0, 32 * 4096, false},
		"many waiting":        {1, 10, 4096, false},
		"long reads":          {8, 0, 8 << 20, true},
		"long and short ones": {16, 0, 1 << 20, false},
	} {
		s := &Session{active: c.active, owed: c.owed}
		s.stats.Waiting = c.waiting
		if got := s.eager(); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestOneProcessorHasNoneToSpareForSpinning(t *testing.T) {
	for n, want := range map[int]int32{1: 0, 2: 1, 4: 1, 8: 2, 64: 16} {
		if got := spareReaders(n); got != want {
			t.Errorf("%d processors: %d", n, got)
		}
	}
}
