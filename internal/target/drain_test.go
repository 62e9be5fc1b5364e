package target

import (
	"net/netip"
	"slices"
	"testing"

	"sango/internal/iscsi"
)

// While a server drains, logins are sent on to where their target is served, if
// anybody knows; each initiator to the same portal.
func TestDrainSendsLoginsOn(t *testing.T) {
	other := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.2:3260"), netip.MustParseAddrPort("192.0.2.3:3261")}
	s := start(t, func(_ *Config, d *directory) {
		d.elsewhere = append([]netip.AddrPort{{}, netip.MustParseAddrPort("0.0.0.0:3260"), netip.MustParseAddrPort("[2001:db8::1]:3260")}, other...)
	})
	first := connect(t, s)
	if err := s.drainOne(t, first); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for n := range 20 {
		for range 2 {
			i := dial(t, s)
			if st := i.login(isid(byte(n)), names(hostName, targetName)...); st != iscsi.LoginMovedTemporarily {
				t.Fatalf("login while draining: %v", st)
			}
			to := i.agreed(iscsi.KeyTargetAddress)
			if !slices.ContainsFunc(other, func(p netip.AddrPort) bool { return p.String() == to }) || len(i.answers) != 1 {
				t.Fatalf("sent on to %v", i.answers)
			}
			if seen[to]++; n == 0 && len(seen) > 1 {
				t.Error("one initiator is sent to two portals")
			}
			i.closed()
		}
	}
	if len(seen) != len(other) {
		t.Errorf("initiators are not spread: %v", seen)
	}
	// Who asks where else to go is told, and what is not there is not moved.
	asks := dial(t, s)
	if st := asks.login(isid(1), iscsi.Pair{Key: iscsi.KeyInitiatorName, Value: hostName}, iscsi.Pair{Key: iscsi.KeySessionType, Value: "Discovery"}); st != iscsi.LoginSuccess {
		t.Errorf("discovery while draining: %v", st)
	}
	if err := s.Drain(longTime(t)); err != nil {
		t.Errorf("a discovery session holds it up: %v", err)
	}
	s.Suspend()
	if st := dial(t, s).login(isid(1), iscsi.Pair{Key: iscsi.KeyInitiatorName, Value: hostName}, iscsi.Pair{Key: iscsi.KeySessionType, Value: "Discovery"}); st != iscsi.LoginUnavailable {
		t.Errorf("discovery without a right to serve: %v", st)
	}
	s.Resume()
	if st := dial(t, s).login(isid(1), names(hostName, targetName+"2")...); st != iscsi.LoginNotFound {
		t.Errorf("login to what is not there: %v", st)
	}
	s.Undrain()
	connect(t, s).ready()

	s = start(t, func(_ *Config, d *directory) {
		d.elsewhere = []netip.AddrPort{netip.MustParseAddrPort("[2001:db8::1]:3260")}
	})
	if err := s.drainOne(t, connect(t, s)); err != nil {
		t.Fatal(err)
	}
	if st := dial(t, s).login(isid(1), names(hostName, targetName)...); st != iscsi.LoginUnavailable {
		t.Errorf("login that has nowhere to go: %v", st)
	}
}

// drainOne drains s, whose one session is i.
func (s *setup) drainOne(t *testing.T, i *initiator) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- s.Drain(longTime(t)) }()
	i.leave()
	return <-done
}

// leave logs out when it is asked to.
func (i *initiator) leave() {
	i.t.Helper()
	h, _ := i.recv()
	if a, err := iscsi.ParseAsync(&h); err != nil || a.Event != iscsi.AsyncLogout {
		i.t.Errorf("%v: %+v", err, a)
	}
	i.logout(iscsi.LogoutRequest{})
	i.loggedOut()
}

// AskLogout asks those that it is to, who may come back, and waits for nobody.
func TestAskLogout(t *testing.T) {
	s := start(t)
	i, other := connect(t, s), dial(t, s)
	if st := other.login(isid(2), names(hostName, targetName)...); st != iscsi.LoginSuccess {
		t.Fatal(st)
	}
	if n := s.AskLogout(func(i SessionInfo) bool { return i.ISID == "800000000001" }); n != 1 {
		t.Errorf("%d sessions were asked", n)
	}
	i.leave()
	other.ready()
	connect(t, s).ready()
}

// Who logs in again and is sent on finds nothing of the old session left: what
// that left unanswered is sent again elsewhere at once (DESIGN R4 e).
func TestDrainSendsOnAfterTheOldSession(t *testing.T) {
	s := start(t, func(_ *Config, d *directory) {
		d.elsewhere = []netip.AddrPort{netip.MustParseAddrPort("192.0.2.2:3260")}
	})
	old := connect(t, s)
	old.ready()
	arrived := s.dev.Hold()
	old.command(command{cdb: write10(0, 8), write: true, expected: 4096, data: pattern(4096)})
	<-arrived
	s.reg.refuse(draining, true)
	i := dial(t, s)
	answered := make(chan iscsi.LoginStatus, 1)
	go func() { answered <- i.login(isid(1), names(hostName, targetName)...) }()
	old.closed()
	select {
	case st := <-answered:
		t.Errorf("sent on with %v while a write of the old session is under way", st)
	default:
	}
	s.dev.Release()
	if st := <-answered; st != iscsi.LoginMovedTemporarily {
		t.Errorf("login while draining: %v", st)
	}
}
