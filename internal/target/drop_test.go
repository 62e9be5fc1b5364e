package target

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"sango/internal/iscsi"
)

// granting is a directory that stops after it has decided about a login, until
// it is told to go on.
type granting struct {
	*directory
	decided, answer chan struct{}
}

func (d *granting) Login(initiator string, from netip.Addr, target string) (Grant, error) {
	g, err := d.directory.Login(initiator, from, target)
	d.decided <- struct{}{}
	<-d.answer
	return g, err
}

// What the directory granted to a login that is not over can be withdrawn: the
// session never opens.
func TestDropMeetsALoginUnderWay(t *testing.T) {
	s := start(t)
	d := &granting{s.dir, make(chan struct{}), make(chan struct{})}
	slow := *s
	slow.Server, slow.addr = another(t, s, Config{}, d)
	i := dial(t, &slow)
	text := iscsi.Keys(names(hostName, targetName)).Append(nil)
	r := iscsi.LoginRequest{Transit: true, Current: iscsi.Operational, Next: iscsi.FullFeature, ISID: isid(1), ITT: 1, CmdSN: 1, DataLen: len(text)}
	var h iscsi.BHS
	r.Put(&h)
	i.send(&h, text)
	<-d.decided
	dropped := make(chan error, 1)
	asked := make(chan SessionInfo, 1)
	go func() {
		dropped <- slow.Drop(longTime(t), func(i SessionInfo) bool { asked <- i; return true }, "access withdrawn")
	}()
	if got := <-asked; got.Initiator != hostName || got.Target != targetName || !got.Login {
		t.Errorf("asked about %+v", got)
	}
	close(d.answer)
	if err := <-dropped; err != nil {
		t.Error(err)
	}
	i.closed()
	if n := len(slow.Sessions()); n != 0 {
		t.Errorf("%d sessions", n)
	}
}

// All sessions are told at once: one whose tasks do not end keeps no other
// open.
func TestDropDoesNotWaitForOneBeforeTheNext(t *testing.T) {
	s := start(t)
	var all []*initiator
	for n := range byte(3) {
		i := dial(t, s)
		if st := i.login(isid(n), names(hostName, targetName)...); st != iscsi.LoginSuccess {
			t.Fatal(st)
		}
		i.ready()
		all = append(all, i)
	}
	arrived := s.dev.Hold()
	for _, i := range all {
		i.command(command{cdb: write10(0, 8), write: true, expected: 4096, data: pattern(4096)})
	}
	<-arrived
	dropped := make(chan error, 1)
	go func() { dropped <- s.Drop(longTime(t), everySession, "test") }()
	for _, i := range all {
		i.closed()
	}
	s.dev.Release()
	if err := <-dropped; err != nil {
		t.Error(err)
	}
}

// A login that waits for the end of the session it replaces ends when it is
// dropped, though that session's tasks go on.
func TestDropMeetsAReinstatement(t *testing.T) {
	s := start(t)
	old := connect(t, s)
	old.ready()
	arrived := s.dev.Hold()
	old.command(command{cdb: write10(0, 8), write: true, expected: 4096, data: pattern(4096)})
	<-arrived
	i := dial(t, s)
	answered := make(chan iscsi.LoginStatus, 1)
	go func() { answered <- i.login(isid(1), names(hostName, targetName)...) }()
	old.closed()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := s.Drop(ctx, func(i SessionInfo) bool { return i.Login }, "access withdrawn")
	if err == nil {
		t.Error("Drop did not meet the login")
	}
	if st := <-answered; st != iscsi.LoginUnavailable {
		t.Errorf("the login ended with %v", st)
	}
	s.dev.Release()
}

// A login is told to come again when the tasks of the session that it replaces
// do not end in time (DESIGN R4 e).
func TestReinstatementDoesNotWaitForEver(t *testing.T) {
	s := start(t, func(c *Config, _ *directory) { c.LoginTimeout = 500 * time.Millisecond })
	old := connect(t, s)
	old.ready()
	arrived := s.dev.Hold()
	old.command(command{cdb: write10(0, 8), write: true, expected: 4096, data: pattern(4096)})
	<-arrived
	if st := dial(t, s).login(isid(1), names(hostName, targetName)...); st != iscsi.LoginUnavailable {
		t.Errorf("the login ended with %v", st)
	}
	s.dev.Release()
	for st := iscsi.LoginUnavailable; st != iscsi.LoginSuccess; {
		if st = dial(t, s).login(isid(1), names(hostName, targetName)...); st != iscsi.LoginSuccess && st != iscsi.LoginUnavailable {
			t.Fatal(st)
		}
	}
}
