package initiator

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"sango/internal/turns"
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

// over reports whether the turn of s is over at the time now.
func over(t *testing.T, s *tcpSocket, now time.Time) (yes bool) {
	t.Helper()
	if err := s.raw.Control(func(fd uintptr) { yes = s.turn.Over(fd, now, false) }); err != nil {
		t.Fatal(err)
	}
	return yes
}

// A reader whose turn is over waits for once, and gets what was there already.
func TestReaderWhoseTurnIsOverGetsWhatIsThere(t *testing.T) {
	s, far := pair(t)
	buf := [][]byte{make([]byte, 10)}
	for i := range 100 {
		if _, err := far.Write(make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		s.turn.Wait()
		if s.turn.Begin(now.Add(-time.Hour)); !over(t, s, now) {
			t.Fatal("a turn lasts an hour")
		}
		if n, err := s.read(buf, false); n != 10 || err != nil {
			t.Fatalf("read %d: %d bytes, %v", i, n, err)
		}
		if over(t, s, now) {
			t.Fatalf("read %d went on with its turn", i)
		}
	}
}

// A reader that expects something polls for it, and stops after a while.
func TestSpinEnds(t *testing.T) {
	s, _ := pair(t)
	s.turn = turns.NewReaders(2).Turn()
	buf := [][]byte{make([]byte, 10)}
	read := func(eager bool) (polled bool) { // or would have, if not for earlier ones
		t.Helper()
		before := s.turn.Reader
		_ = s.tcp.SetReadDeadline(time.Now().Add(time.Millisecond))
		if _, err := s.read(buf, eager); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("read of nothing: %v", err)
		}
		return s.turn.Reader != before
	}
	if read(false) {
		t.Error("a reader spun who expects nothing")
	}
	spins := 0
	for range 16 {
		if read(true) {
			spins++
		}
	}
	if spins == 0 {
		t.Error("a reader does not spin who expects something")
	}
}

// Readers that wait, and sessions that have ended, are not counted as awake.
func TestAwakeReadersAreCounted(t *testing.T) {
	before := readers.Awake()
	s, far := pair(t)
	if _, err := far.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.read([][]byte{make([]byte, 10)}, false); err != nil {
		t.Fatal(err)
	}
	if n := readers.Awake() - before; n != 1 {
		t.Errorf("%d readers awake after a read", n)
	}
	_ = s.tcp.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, _ = s.read([][]byte{make([]byte, 10)}, false)
	if n := readers.Awake() - before; n != 0 {
		t.Errorf("%d readers awake in a wait", n)
	}
	x := start(t).login()
	x.Abort(ErrClosed)
	<-x.Done()
	if n := readers.Awake() - before; n != 0 {
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
