package target

import (
	"fmt"
	"testing"

	"sango/internal/iscsi"
)

// text sends text and collects the answer, over as many PDUs as it takes.
func (i *initiator) text(keys ...iscsi.Pair) iscsi.Keys {
	i.t.Helper()
	out := iscsi.Keys(keys).Append(nil)
	itt := i.itt
	i.itt++
	ttt := iscsi.NoTTT
	var text []byte
	for {
		r := iscsi.TextRequest{Final: true, ITT: itt, TTT: ttt, CmdSN: i.cmdSN, ExpStatSN: i.expStatSN, DataLen: len(out)}
		i.cmdSN++
		var h iscsi.BHS
		r.Put(&h)
		i.send(&h, out)
		rh, data := i.recv()
		resp, err := iscsi.ParseTextResponse(&rh)
		if err != nil {
			i.t.Fatalf("%v: %x", err, rh)
		}
		text = append(text, data...)
		if resp.Final {
			keys, err := iscsi.ParseText(text)
			if err != nil {
				i.t.Fatal(err)
			}
			return keys
		}
		out, ttt = nil, resp.TTT
	}
}

func discover(t *testing.T, s *setup, initiator string, keys ...iscsi.Pair) *initiator {
	i := dial(t, s)
	st := i.login(isid(1), append([]iscsi.Pair{
		{Key: iscsi.KeyInitiatorName, Value: initiator}, {Key: iscsi.KeySessionType, Value: iscsi.TypeDiscovery},
	}, keys...)...)
	if st != iscsi.LoginSuccess {
		t.Fatal(st)
	}
	return i
}

func TestSendTargets(t *testing.T) {
	s := start(t, func(_ *Config, d *directory) {
		d.portals = append(d.portals, PortalAddr{Addr: "0.0.0.0:3260", TPG: 7}, PortalAddr{Addr: "[2001:db8::1]:3260", TPG: 8})
		for n := range 400 { // a long answer
			d.others = append(d.others, fmt.Sprintf("iqn.2026-11.test:other%03d", n))
		}
	})
	i := discover(t, s, hostName)
	got, err := iscsi.ParseTargets(i.text(iscsi.Pair{Key: iscsi.KeySendTargets, Value: "All"}))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 401 {
		t.Errorf("All: %d targets", len(got))
	}
	got, err = iscsi.ParseTargets(i.text(iscsi.Pair{Key: iscsi.KeySendTargets, Value: targetName}))
	if err != nil || len(got) != 1 || got[0].Name != targetName || len(got[0].Addresses) != 3 {
		t.Fatalf("one name: %+v, %v", got, err)
	}
	if a := got[0].Addresses; a[0].Addr != s.addr || a[0].TPG != 1 || a[1].Addr != "127.0.0.1:3260" || a[2].Addr != "[2001:db8::1]:3260" {
		t.Errorf("addresses are %+v", a)
	}
	if got := i.text(iscsi.Pair{Key: iscsi.KeySendTargets, Value: "iqn.2026-11.test:hidden"}); len(got) != 0 {
		t.Errorf("a name that is not there: %+v", got)
	}

	if got := discover(t, s, hostName+"3").text(iscsi.Pair{Key: iscsi.KeySendTargets, Value: "All"}); len(got) != 0 {
		t.Errorf("a stranger sees %+v", got)
	}

	n := connect(t, s)
	got, err = iscsi.ParseTargets(n.text(iscsi.Pair{Key: iscsi.KeySendTargets, Value: ""}))
	if err != nil || len(got) != 1 || got[0].Name != targetName {
		t.Errorf("nothing in a normal session: %+v, %v", got, err)
	}
	if v, _ := n.text(iscsi.Pair{Key: iscsi.KeySendTargets, Value: "All"}).Get(iscsi.KeySendTargets); v != iscsi.ValueReject {
		t.Errorf("All in a normal session: answered %q", v)
	}
	if n.max != n.exp+127 {
		t.Errorf("the window is [%d, %d]", n.exp, n.max)
	}
}

// A discovery session takes Text and Logout Requests and nothing else.
func TestDiscoverySessionTakesNoCommands(t *testing.T) {
	s := start(t)
	i := discover(t, s, hostName)
	sn := i.cmdSN
	i.command(command{cdb: make([]byte, 6)})
	if got := i.rejected(); got != iscsi.RejectProtocol {
		t.Errorf("rejected for %v", got)
	}
	i.cmdSN = sn
	i.logout(iscsi.LogoutRequest{})
	if got := i.loggedOut(); got != iscsi.LogoutDone {
		t.Errorf("logout: %d", got)
	}
}

// MaxRecvDataSegmentLength may be declared anew, and holds from then on.
func TestSegmentLengthDeclaredAnew(t *testing.T) {
	s := start(t)
	i := connect(t, s)
	i.ready()
	i.command(command{cdb: read10(0, 16), read: true, expected: 8192})
	if o := i.outcome(); len(o.pdus) != 1 {
		t.Errorf("%d Data-In PDUs", len(o.pdus))
	}
	i.text(iscsi.Pair{Key: iscsi.KeyMaxRecvSegment, Value: "1024"})
	i.command(command{cdb: read10(0, 16), read: true, expected: 8192})
	if o := i.outcome(); len(o.pdus) != 8 {
		t.Errorf("%d Data-In PDUs", len(o.pdus))
	}
}
