package target

import (
	"errors"
	"syscall"
	"testing"
	"time"
)

// A reader that has gone on for its time waits once although something is
// there to read, and the kernel tells of that again.
func TestTurnEnds(t *testing.T) {
	s, far := pair(t)
	buf := [][]byte{make([]byte, 1)}
	if _, err := far.Write(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		began := time.Now().Add(-time.Hour)
		s.turn.begin(began)
		s.turn.began = began
		_ = s.tcp.SetReadDeadline(time.Now().Add(time.Minute))
		if n, err := s.read(buf); n != 1 || err != nil {
			t.Fatalf("%d bytes, %v", n, err)
		}
		if s.turn.began.Equal(began) {
			t.Error("the reader did not wait")
		}
	}
	if n, err := s.read(buf); n != 1 || err != nil {
		t.Fatalf("%d bytes, %v", n, err)
	}
	if n := s.turn.of.awake.Load(); n != 1 {
		t.Errorf("%d readers are awake", n)
	}
}

// A reader spins when one PDU came at a time, and the rarer the more often it
// did so in vain.
func TestWhenToSpin(t *testing.T) {
	var u turn
	for range lullWaits - 1 {
		u.pdus = 1
		if u.calm() {
			t.Fatal("it spins too soon")
		}
	}
	if !u.calm() {
		t.Error("it does not spin")
	}
	for _, wait := range []int{0, 1, 3, 7} {
		u.miss()
		for range wait {
			if u.calm() {
				t.Fatal("it spins again too soon")
			}
		}
		if !u.calm() {
			t.Errorf("it does not spin after %d waits", wait)
		}
	}
	for range 2 * maxMisses {
		u.miss()
	}
	if u.skip != 1<<maxMisses-1 {
		t.Errorf("%d waits without a spin", u.skip)
	}
	u.skip, u.pdus = 0, 2
	if u.calm() {
		t.Error("it spins under load")
	}
}

// Nobody spins while more readers are awake than that leaves room for.
func TestNoSpinBesideOthers(t *testing.T) {
	s, _ := pair(t)
	now := time.Now()
	s.turn.begin(now)
	s.turn.lull = lullWaits
	s.turn.of.awake.Store(s.turn.of.spare + 1)
	raw, err := s.tcp.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) {
		if _, _, at := s.spin(fd, now); !at.Equal(now) || s.seenEmpty != now {
			t.Error("it spun")
		}
	})
	s.turn.end(now)
	s.turn.lull = lullWaits
	if s.turn.begin(now.Add(soonTime + 1)); s.turn.lull != 0 {
		t.Error("it spins after a long wait")
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
		s.turn.begin(time.Now())
		s.turn.began = time.Now().Add(-time.Hour)
		if n, err := s.read([][]byte{make([]byte, 1)}); n != 0 || !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("%d bytes, %v", n, err)
		}
	}
}
