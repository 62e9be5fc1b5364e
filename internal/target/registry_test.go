package target

import (
	"log/slog"
	"testing"

	"sango/internal/iscsi"
	"sango/internal/san"
)

func named(host string, n byte, discovery bool) *conn {
	return &conn{log: slog.New(slog.DiscardHandler), tpg: 1, identity: iscsi.Identity{
		Initiator: san.InitiatorPort{Name: host, ISID: isid(n)}, Target: targetName, Discovery: discovery,
	}}
}

func TestRegistry(t *testing.T) {
	r := newRegistry(2, 1<<20)
	add := func(c *conn) (*conn, iscsi.LoginStatus) { return r.add(c) }
	a := named("a", 1, false)
	if old, st := add(a); old != nil || st != iscsi.LoginSuccess || a.tsih == 0 {
		t.Fatalf("first session: %v, %v, TSIH %d", old, st, a.tsih)
	}
	again := named("a", 1, false)
	if old, _ := add(again); old != a || again.tsih != 0 {
		t.Error("the session of the same name was not found")
	}
	b := named("a", 2, false)
	if old, st := add(b); old != nil || st != iscsi.LoginSuccess || b.tsih == a.tsih {
		t.Errorf("second session: %v, %v, TSIH %d", old, st, b.tsih)
	}
	if _, st := add(named("a", 3, false)); st != iscsi.LoginOutOfResources {
		t.Errorf("third session of two: %v", st)
	}
	if _, st := add(named("a", 1, true)); st != iscsi.LoginSuccess {
		t.Errorf("discovery session: %v", st)
	}
	if !r.has(a.tsih, a.nexusID()) || r.has(a.tsih, b.nexusID()) || r.has(0, a.nexusID()) {
		t.Error("has does not tell sessions apart")
	}
	r.remove(again) // never had one
	r.remove(a)
	r.remove(a)
	if old, st := add(again); old != nil || st != iscsi.LoginSuccess {
		t.Errorf("after the old one was gone: %v, %v", old, st)
	}
	r.refuse(draining, true)
	if _, st := add(named("z", 1, false)); st != iscsi.LoginUnavailable {
		t.Errorf("while draining: %v", st)
	}
	r.refuse(draining, false)
	r.last = 0xfffe // handles wrap around, and skip 0 and those in use
	z, y := named("z", 1, false), named("z", 2, false)
	add(z)
	add(y)
	if z.tsih != 0xffff || y.tsih == 0 || y.tsih == again.tsih || y.tsih == b.tsih {
		t.Errorf("TSIHs are %d and %d", z.tsih, y.tsih)
	}
}
