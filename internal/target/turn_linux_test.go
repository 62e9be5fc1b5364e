package target

import (
	"errors"
	"syscall"
	"testing"
	"time"

	"sango/internal/turns"
	"sango/internal/vecio"
)

// begun has the reader of s begin a turn at a time.
func begun(s *socket, at time.Time) {
	s.turn.end(at)
	s.turn.begin(at)
}

// over reports whether the turn of s is over at the time now.
func over(t *testing.T, s *socket, now time.Time) (yes bool) {
	t.Helper()
	if err := s.raw.Control(func(fd uintptr) { yes = s.turn.over(fd, now) }); err != nil {
		t.Fatal(err)
	}
	return yes
}

// A reader that has gone on for its time waits once although something is
// there to read, and the kernel tells of that again.
func TestTurnEnds(t *testing.T) {
	s, far := pair(t)
	buf := [][]byte{make([]byte, 1)}
	if _, err := far.Write(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		now := time.Now()
		if begun(s, now.Add(-time.Hour)); !over(t, s, now) {
			t.Fatal("a turn lasts an hour")
		}
		_ = s.tcp.SetReadDeadline(now.Add(time.Minute))
		if n, err := s.read(buf); n != 1 || err != nil {
			t.Fatalf("%d bytes, %v", n, err)
		}
		if over(t, s, now) {
			t.Error("the reader did not wait")
		}
	}
	if n, err := s.read(buf); n != 1 || err != nil {
		t.Fatalf("%d bytes, %v", n, err)
	}
}

// A reader spins when one PDU came at a time, and soon.
func TestWhenToSpin(t *testing.T) {
	s, _ := pair(t)
	s.turn = turn{Turn: turns.NewReaders(2).Turn()}
	s.turn.begin(time.Now())
	s.readVec, _ = vecio.Append(nil, [][]byte{make([]byte, 1)})
	spun := func() (yes bool) {
		t.Helper()
		now := time.Now()
		if err := s.raw.Control(func(fd uintptr) {
			_, _, at := s.spin(fd, now)
			if yes = at.After(now); !s.seenEmpty.Equal(at) {
				t.Error("seenEmpty is not when the socket was last seen empty")
			}
		}); err != nil {
			t.Fatal(err)
		}
		return yes
	}
	for range lullWaits - 1 {
		if s.turn.lull.Came(); spun() {
			t.Fatal("it spins too soon")
		}
	}
	if !spun() {
		t.Error("it does not spin")
	}
	s.turn.lull.Came()
	s.turn.lull.Came()
	if spun() {
		t.Error("it spins under load")
	}
	for range lullWaits {
		s.turn.lull.Wait()
	}
	now := time.Now()
	s.turn.end(now)
	if s.turn.begin(now.Add(soonTime)); s.turn.lull.Waits() < lullWaits {
		t.Error("it does not spin after a short wait")
	}
	s.turn.end(now)
	if s.turn.begin(now.Add(soonTime + 1)); s.turn.lull.Waits() != 0 {
		t.Error("it spins after a long wait")
	}
}

// Nobody spins while more readers are awake than that leaves room for.
func TestNoSpinBesideOthers(t *testing.T) {
	s, _ := pair(t)
	readers := turns.NewReaders(2)
	other := readers.Reader()
	other.Wake()
	s.turn = turn{Turn: readers.Turn()}
	now := time.Now()
	s.turn.begin(now)
	for range lullWaits {
		s.turn.lull.Wait()
	}
	if err := s.raw.Control(func(fd uintptr) {
		if _, _, at := s.spin(fd, now); !at.Equal(now) || s.seenEmpty != now {
			t.Error("it spun")
		}
	}); err != nil {
		t.Fatal(err)
	}
}

// A reader whose turn is over learns at once of a reset that came before.
func TestTurnEndsAtReset(t *testing.T) {
	for range 10 { // whether the runtime knew of it before is a matter of luck
		s, far := pair(t)
		_ = far.SetLinger(0)
		far.Close()
		for !s.hungUp() {
		}
		_ = s.tcp.SetReadDeadline(time.Now().Add(10 * time.Second))
		begun(s, time.Now().Add(-time.Hour))
		if n, err := s.read([][]byte{make([]byte, 1)}); n != 0 || !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("%d bytes, %v", n, err)
		}
	}
}
