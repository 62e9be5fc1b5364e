package target

import (
	"net"
	"testing"
	"time"

	"sango/internal/iscsi"
	"sango/internal/san"
)

func names(initiator, target string) []iscsi.Pair {
	return []iscsi.Pair{{Key: iscsi.KeyInitiatorName, Value: initiator}, {Key: iscsi.KeyTargetName, Value: target}}
}

func TestLoginRefused(t *testing.T) {
	s := start(t)
	for _, c := range []struct {
		name string
		keys []iscsi.Pair
		tsih uint16
		want iscsi.LoginStatus
	}{
		{"unknown target", names(hostName, targetName+"x"), 0, iscsi.LoginNotFound},
		{"unknown initiator", names(hostName+"x", targetName), 0, iscsi.LoginForbidden},
		{"no initiator name", names(hostName, targetName)[1:], 0, iscsi.LoginMissingParameter},
		{"no target name", names(hostName, targetName)[:1], 0, iscsi.LoginMissingParameter},
		{"a session that is not there", names(hostName, targetName), 77, iscsi.LoginNoSession},
	} {
		t.Run(c.name, func(t *testing.T) {
			i := dial(t, s)
			i.tsih = c.tsih
			if got := i.login(isid(1), c.keys...); got != c.want {
				t.Errorf("login ended with %v, want %v", got, c.want)
			}
			i.closed()
		})
	}
}

// A second connection for a session, and a login that wants to go on with an
// old one, are refused; the session stays.
func TestSecondConnectionRefused(t *testing.T) {
	s := start(t)
	i := connect(t, s)
	j := dial(t, s)
	j.tsih = i.tsih
	if got := j.login(isid(1), names(hostName, targetName)...); got != iscsi.LoginTooManyConns {
		t.Errorf("login ended with %v", got)
	}
	i.ready()
}

func TestLoginWithoutAccountsIsRefused(t *testing.T) {
	s := start(t, func(_ *Config, d *directory) { d.accounts = []san.CHAP{{User: "u", Secret: "secretsecret"}} })
	i := dial(t, s)
	if got := i.login(isid(1), names(hostName, targetName)...); got != iscsi.LoginAuthFailed {
		t.Errorf("login ended with %v", got)
	}
}

// What does not begin with a Login Request gets no answer at all.
func TestFirstPDUMustBeLogin(t *testing.T) {
	s := start(t)
	i := dial(t, s)
	i.command(command{cdb: make([]byte, 6)})
	if got := i.closed(); len(got) != 0 {
		t.Errorf("%d PDUs came", len(got))
	}
}

func TestLoginTimeout(t *testing.T) {
	s := start(t, func(c *Config, _ *directory) { c.LoginTimeout = 50 * time.Millisecond })
	dial(t, s).closed()
	i := dial(t, s)
	if _, err := i.nc.Write(make([]byte, 47)); err != nil { // nearly a header
		t.Fatal(err)
	}
	i.closed()
}

// A discovery session in which nothing is asked for ends, also when the peer
// sends a byte now and then.
func TestDiscoveryIdle(t *testing.T) {
	s := start(t, func(c *Config, _ *directory) { c.DiscoveryIdle = 50 * time.Millisecond })
	discover(t, s, hostName).closed()
	i := discover(t, s, hostName)
	if _, err := i.nc.Write(make([]byte, 47)); err != nil { // nearly a header
		t.Fatal(err)
	}
	i.closed()
}

func TestSessionsPerHost(t *testing.T) {
	s := start(t, func(c *Config, _ *directory) { c.SessionsPerHost = 2 })
	for n := range byte(2) {
		i := dial(t, s)
		if got := i.login(isid(n), names(hostName, targetName)...); got != iscsi.LoginSuccess {
			t.Fatalf("login %d ended with %v", n, got)
		}
	}
	if got := dial(t, s).login(isid(9), names(hostName, targetName)...); got != iscsi.LoginOutOfResources {
		t.Errorf("one session too many: %v", got)
	}
	if got := dial(t, s).login(isid(0), names(hostName+"2", targetName)...); got != iscsi.LoginSuccess {
		t.Errorf("another host: %v", got)
	}
	if got := dial(t, s).login(isid(1), names(hostName, targetName)...); got != iscsi.LoginSuccess {
		t.Errorf("reinstatement at the limit: %v", got)
	}
}

func TestTooManyConnections(t *testing.T) {
	s := start(t, func(c *Config, _ *directory) { c.Connections, c.Logins = 1, 8 })
	connect(t, s).ready()
	if got := dial(t, s).login(isid(2), names(hostName, targetName)...); got != iscsi.LoginOutOfResources {
		t.Errorf("login ended with %v", got)
	}
}

// Peers that connect and say nothing are bounded, and do not keep others from
// working.
func TestSilentPeers(t *testing.T) {
	s := start(t, func(c *Config, _ *directory) { c.LoginsPerAddress = 3 })
	i := connect(t, s)
	for range 3 {
		dial(t, s)
	}
	if nc, err := net.Dial("tcp", s.addr); err == nil { // the reset may be faster than the connect
		j := &initiator{t: t, nc: nc}
		j.closed()
		nc.Close()
	}
	i.ready()
}

// Discovery sessions, for which nobody has to prove anything, are bounded like
// logins: they cannot take the connections that hosts need.
func TestDiscoverySessionsAreBounded(t *testing.T) {
	s := start(t, func(c *Config, _ *directory) { c.LoginsPerAddress = 3 })
	i := connect(t, s)
	var all []*initiator
	for range 3 {
		all = append(all, discover(t, s, hostName))
	}
	if nc, err := net.Dial("tcp", s.addr); err == nil { // the reset may be faster than the connect
		j := &initiator{t: t, nc: nc}
		j.closed()
		nc.Close()
	}
	i.ready()
	all[0].logout(iscsi.LogoutRequest{})
	all[0].loggedOut()
	all[0].closed()
	if err := s.Drop(longTime(t), func(i SessionInfo) bool { return i.Discovery }, "test"); err != nil {
		t.Fatal(err)
	}
	discover(t, s, hostName)
}

// The sizes that were agreed on hold: a longer segment ends the connection.
func TestSegmentTooLong(t *testing.T) {
	s := start(t, func(c *Config, _ *directory) { c.MaxRecvDataSegment = 4096 })
	i := connect(t, s)
	i.ready()
	i.command(command{cdb: write10(0, 9), write: true, expected: 9 * 512, data: make([]byte, 9*512)})
	for _, h := range i.closed() {
		if h.Opcode() == iscsi.OpSCSIResponse {
			t.Error("the command was executed")
		}
	}
}
