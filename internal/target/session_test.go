package target

import (
	"context"
	"net"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"sango/internal/iscsi"
	"sango/internal/san"
)

// logout sends a Logout Request.
func (i *initiator) logout(r iscsi.LogoutRequest) {
	i.t.Helper()
	r.ITT = i.itt
	i.itt++
	r.CmdSN, r.ExpStatSN = i.cmdSN, i.expStatSN
	if !r.Immediate {
		i.cmdSN++
	}
	var h iscsi.BHS
	r.Put(&h)
	i.send(&h, nil)
}

func (i *initiator) loggedOut() iscsi.LogoutResult {
	i.t.Helper()
	h, _ := i.recv()
	r, err := iscsi.ParseLogoutResponse(&h)
	if err != nil {
		i.t.Fatalf("%v: %x", err, h)
	}
	return r.Result
}

func TestLogout(t *testing.T) {
	for _, r := range []iscsi.LogoutRequest{
		{Reason: iscsi.LogoutSession}, {Reason: iscsi.LogoutSession, Immediate: true}, {Reason: iscsi.LogoutConnection},
	} {
		s := start(t)
		i := connect(t, s)
		i.ready()
		i.logout(r)
		if got := i.loggedOut(); got != iscsi.LogoutDone {
			t.Errorf("%+v: answered %d", r, got)
		}
		if got := i.closed(); len(got) != 0 {
			t.Errorf("%+v: %d PDUs came after it", r, len(got))
		}
	}
}

func TestLogoutRefused(t *testing.T) {
	s := start(t)
	i := connect(t, s)
	i.logout(iscsi.LogoutRequest{Reason: iscsi.LogoutConnection, CID: 9})
	if got := i.loggedOut(); got != iscsi.LogoutNoCID {
		t.Errorf("another connection: answered %d", got)
	}
	i.logout(iscsi.LogoutRequest{Reason: iscsi.LogoutRecovery})
	if got := i.loggedOut(); got != iscsi.LogoutNoRecovery {
		t.Errorf("recovery: answered %d", got)
	}
	i.ready()
}

// The answer to a logout waits for the tasks that are on the medium.
func TestLogoutWaitsForTasks(t *testing.T) {
	s := start(t)
	i := connect(t, s)
	i.ready()
	arrived := s.dev.Hold()
	i.command(command{cdb: write10(0, 8), write: true, expected: 4096, data: pattern(4096)})
	<-arrived
	i.logout(iscsi.LogoutRequest{Reason: iscsi.LogoutSession})
	var released atomic.Bool
	answered := make(chan iscsi.Opcode, 1)
	go func() {
		h, _, _ := i.next()
		if !released.Load() {
			t.Error("an answer came while a write was on the medium")
		}
		answered <- h.Opcode()
	}()
	c := s.all(true)[0]
	for taken := false; !taken; runtime.Gosched() {
		c.mu.Lock()
		taken = c.win.exp == i.cmdSN
		c.mu.Unlock()
	}
	s.roundTrips(isid(2))
	released.Store(true)
	s.dev.Release()
	if op := <-answered; op != iscsi.OpLogoutResponse {
		t.Errorf("a %v PDU came", op)
	}
}

// roundTrips exchanges PDUs on a session of its own: what the server could
// have done at once for another, it has done then.
func (s *setup) roundTrips(id san.ISID) {
	i := dial(s.t, s)
	if st := i.login(id, names(hostName, targetName)...); st != iscsi.LoginSuccess {
		s.t.Fatal(st)
	}
	for range 100 {
		i.ping()
	}
}

// A login under the same name ends the old session, and is answered when the
// old session's tasks have ended (DESIGN R4 e). Another ISID is another
// session.
func TestReinstatement(t *testing.T) {
	s := start(t)
	old := connect(t, s)
	old.ready()
	other := dial(t, s)
	if st := other.login(isid(7), names(hostName, targetName)...); st != iscsi.LoginSuccess {
		t.Fatal(st)
	}
	arrived := s.dev.Hold()
	old.command(command{cdb: write10(0, 8), write: true, expected: 4096, data: pattern(4096)})
	<-arrived
	i := dial(t, s)
	var released atomic.Bool
	answered := make(chan iscsi.LoginStatus, 1)
	go func() {
		st := i.login(isid(1), names(hostName, targetName)...)
		if !released.Load() {
			t.Errorf("the login was answered (%v) while a write of the old session was on the medium", st)
		}
		answered <- st
	}()
	for _, h := range old.closed() {
		if h.Opcode() != iscsi.OpNopIn {
			t.Errorf("the old session got a %v PDU", h.Opcode())
		}
	}
	s.roundTrips(isid(8))
	released.Store(true)
	s.dev.Release()
	if st := <-answered; st != iscsi.LoginSuccess {
		t.Fatalf("login ended with %v", st)
	}
	i.ready()
	other.ready()
}

// another starts a second server over d, and returns it and the address of its
// portal.
func another(t *testing.T, s *setup, cfg Config, d Directory) (*Server, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Logger = s.cfg.Logger
	srv, err := New(cfg, d)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l, 9) }()
	t.Cleanup(func() {
		srv.Close()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return srv, l.Addr().String()
}

// The same initiator port at another portal is another nexus, not a
// reinstatement.
func TestTwoPortals(t *testing.T) {
	s := start(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l, 2) }()
	t.Cleanup(func() {
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { s.Close() })
	i := connect(t, s)
	other := *s
	other.addr = l.Addr().String()
	j := connect(t, &other)
	for n, peer := range []*initiator{i, j} {
		peer.ready()
		if got, want := peer.agreed(iscsi.KeyTargetPortalGroupTag), strconv.Itoa(n+1); got != want {
			t.Errorf("portal %s says TargetPortalGroupTag=%s", want, got)
		}
	}
	if n := len(s.Sessions()); n != 2 {
		t.Errorf("%d sessions", n)
	}
}

// Drain asks for a logout, refuses new sessions meanwhile, and drops who stays.
func TestDrain(t *testing.T) {
	s := start(t, func(c *Config, _ *directory) { c.DrainTime = 200 * time.Millisecond })
	polite, deaf := connect(t, s), dial(t, s)
	if st := deaf.login(isid(2), names(hostName, targetName)...); st != iscsi.LoginSuccess {
		t.Fatal(st)
	}
	polite.ready()
	done := make(chan error, 1)
	go func() { done <- s.Drain(longTime(t)) }()
	h, _ := polite.recv()
	if a, err := iscsi.ParseAsync(&h); err != nil || a.Event != iscsi.AsyncLogout || a.Param1 != 0 || a.Param3 != 1 {
		t.Errorf("%v: %+v", err, a)
	}
	polite.ready() // it still serves
	if st := dial(t, s).login(isid(3), names(hostName, targetName)...); st != iscsi.LoginUnavailable {
		t.Errorf("login while draining: %v", st)
	}
	polite.logout(iscsi.LogoutRequest{})
	polite.loggedOut()
	var events []iscsi.AsyncEvent
	for _, h := range deaf.closed() {
		if a, err := iscsi.ParseAsync(&h); err == nil {
			events = append(events, a.Event)
		}
	}
	if len(events) != 2 || events[0] != iscsi.AsyncLogout || events[1] != iscsi.AsyncDropSession {
		t.Errorf("the one who stayed got %v", events)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	s.Undrain()
	connect(t, s).ready()
}

func everySession(SessionInfo) bool { return true }

func ofHost(name string) func(SessionInfo) bool {
	return func(i SessionInfo) bool { return i.Host == name }
}

// Sessions that are dropped are gone with their tasks when Drop returns.
func TestDrop(t *testing.T) {
	s := start(t)
	i := connect(t, s)
	if err := s.Drop(longTime(t), ofHost("nobody"), "test"); err != nil {
		t.Error(err)
	}
	i.ready()
	if err := s.Drop(longTime(t), ofHost("host"), "test"); err != nil {
		t.Error(err)
	}
	if n := len(s.Sessions()); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
	i.closed()
	i = connect(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	arrived := s.dev.Hold()
	i.ready()
	i.command(command{cdb: write10(0, 8), write: true, expected: 4096, data: pattern(4096)})
	<-arrived
	if err := s.Drop(ctx, everySession, "test"); err == nil {
		t.Error("Drop returned while a write was on the medium")
	}
	s.dev.Release()
}

func TestSessions(t *testing.T) {
	s := start(t)
	i := connect(t, s, iscsi.Pair{Key: iscsi.KeyDataDigest, Value: iscsi.DigestCRC32C})
	i.ready()
	i.write(0, pattern(4096), true, true, 65536, 65536)
	i.check(0, pattern(4096))
	all := s.Sessions()
	if len(all) != 1 {
		t.Fatalf("%d sessions", len(all))
	}
	got := all[0]
	if got.Initiator != hostName || got.Target != targetName || got.Host != "host" || got.TSIH != i.tsih || got.ISID != "800000000001" ||
		!got.DataDigest || got.HeaderDigest || got.BytesRead != 4096 || got.BytesWrite != 4096 || got.Commands < 3 || got.Tasks != 0 {
		t.Errorf("the session is described as %+v", got)
	}
}

// A host that closed its connection and comes back under another name does not
// meet what it held itself a moment ago, though the old session takes a while to
// end; but it does not wait for ever, nor for sessions that stand.
func TestLoginAwaitsSessionsThatWereLeft(t *testing.T) {
	s := start(t)
	stands := connect(t, s)
	stands.ready()
	old := beside(t, s, 2)
	arrived := s.dev.Hold()
	old.command(command{cdb: write10(0, 8), write: true, expected: 4096, data: pattern(4096)})
	<-arrived
	old.nc.Close()
	released := make(chan struct{})
	time.AfterFunc(20*time.Millisecond, func() { s.dev.Release(); close(released) })
	beside(t, s, 3)
	if n := len(s.Sessions()); n != 2 {
		t.Errorf("%d sessions when the login was answered, want 2", n)
	}
	<-released
	stuck := beside(t, s, 4)
	arrived = s.dev.Hold()
	stuck.command(command{cdb: write10(0, 8), write: true, expected: 4096, data: pattern(4096)})
	<-arrived
	stuck.nc.Close()
	i := dial(t, s)
	if st := i.login(isid(5), names(hostName, targetName)...); st != iscsi.LoginSuccess {
		t.Errorf("the login ended with %v", st)
	}
}
