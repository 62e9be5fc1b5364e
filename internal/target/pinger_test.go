package target

import (
	"errors"
	"testing"
	"time"

	"sango/internal/iscsi"
)

// pingAt drives a pinger whose tags count up.
type pingAt struct {
	t     *testing.T
	p     pinger
	start time.Time
	tags  iscsi.TTT

	behind time.Duration // how long ago the socket was seen empty
}

func newPingAt(t *testing.T) *pingAt {
	cfg, err := Config{}.Complete()
	if err != nil {
		t.Fatal(err)
	}
	a := &pingAt{t: t, start: time.Unix(1e9, 0)}
	a.p.interval, a.p.timeout = cfg.NopInterval, cfg.NopTimeout
	a.p.next = a.start.Add(a.p.interval)
	return a
}

// step checks what the pinger does at a time after the start.
func (a *pingAt) step(at time.Duration, acked int64, send bool, due time.Duration, want error) {
	a.t.Helper()
	got, when, err := a.p.step(a.start.Add(at), a.start.Add(at-a.behind), acked, func() iscsi.TTT { a.tags++; return a.tags })
	if got != send || when.Sub(a.start) != due || !errors.Is(err, want) {
		a.t.Errorf("at %v: send %v, due at %v, %v; want %v, %v, %v", at, got, when.Sub(a.start), err, send, due, want)
	}
}

const (
	ms  = time.Millisecond
	sec = time.Second
)

// A peer that is gone right after it answered is given up within 3 to 5 s
// (DESIGN R4 a), and one that stands still for 3 s is not.
func TestPingerLosesADeadPeer(t *testing.T) {
	a := newPingAt(t)
	a.step(0, 0, false, sec, nil)
	a.step(sec, 48, true, 4500*ms, nil)
	a.p.answered() // and dies
	a.step(sec+1*ms, 48, false, 2*sec, nil)
	a.step(2*sec, 48, true, 5500*ms, nil)
	a.step(5*sec, 48, false, 5500*ms, nil) // still for 3 s: waited for
	a.step(5499*ms, 48, false, 5500*ms, nil)
	a.step(5500*ms, 48, false, 5500*ms, errSilent) // 4.5 s after its last sign of life
}

// While the peer's kernel takes what lies before the ping, time starts anew;
// once the ping was taken, or nothing moves, it runs.
func TestPingerWaitsForASlowPath(t *testing.T) {
	a := newPingAt(t)
	a.step(sec, 100, true, 4500*ms, nil)
	a.step(4*sec, 200, false, 7500*ms, nil) // the ping is not even encoded
	a.p.sent.Store(1000)
	a.step(7*sec, 999, false, 10500*ms, nil)
	a.step(8*sec, 999, false, 10500*ms, nil)
	a.step(9*sec, 1000, false, 10500*ms, nil) // it was taken: the answer is the peer's turn
	a.step(10500*ms, 5000, false, 10500*ms, errSilent)
}

// When the process stood still past the deadline, what came meanwhile is read
// before the peer is given up; a peer that sends much but no answer is given
// up all the same.
func TestPingerReadsFirst(t *testing.T) {
	a := newPingAt(t)
	a.step(sec, 48, true, 4500*ms, nil)
	a.behind = 5 * sec
	a.step(6*sec, 48, false, 6*sec+readFirst, nil)
	a.p.answered() // it was there
	a.step(6*sec+ms, 48, true, 9501*ms, nil)
	a.step(12*sec, 48, false, 12*sec+readFirst, nil)
	a.behind = 0
	a.step(12*sec+readFirst, 48, false, 9501*ms, errSilent)

	a = newPingAt(t)
	a.step(sec, 48, true, 4500*ms, nil)
	a.behind = 7 * sec
	a.step(7999*ms, 48, false, 7999*ms+readFirst, nil)
	a.step(8*sec, 48, false, 4500*ms, errSilent)
}
