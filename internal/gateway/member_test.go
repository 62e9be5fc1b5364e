package gateway

import (
	"slices"
	"testing"

	"sango/internal/cluster/model"
	"sango/internal/meta"
	"sango/internal/relay"
	"sango/internal/san"
)

// A member that lives stays a peer while its registration is away, where it was
// reached last; the relay would take it for over, for good. Others are not peers.
func TestPeersWithoutRegistration(t *testing.T) {
	v := newView(nil)
	m := &member{n: &Node{view: v}, self: model.Member{Gateway: "gw0", Incarnation: 4}}
	live := func(id model.GatewayID, n model.Incarnation) model.GatewayRecord {
		return model.GatewayRecord{ID: id, Incarnation: n, Life: model.Alive}
	}
	want := func(when string, peers ...relay.Peer) {
		t.Helper()
		if got := m.peers(); !slices.Equal(got, peers) {
			t.Errorf("%s: %v; want %v", when, got, peers)
		}
	}
	peer := func(n model.Incarnation, addr string) relay.Peer {
		return relay.Peer{Member: model.Member{Gateway: "gw1", Incarnation: n}, Addr: addr}
	}
	m.gateways = []model.GatewayRecord{live("gw0", 4), live("gw1", 5)}
	want("before it has registered")
	v.groups["gw1"] = &meta.Gateway{Relay: "b:1"}
	want("registered", peer(5, "b:1"))
	delete(v.groups, "gw1")
	want("its registration is away", peer(5, "b:1"))
	want("it still is", peer(5, "b:1"))
	v.groups["gw1"] = &meta.Gateway{Relay: "b:2"}
	want("registered anew", peer(5, "b:2"))
	delete(v.groups, "gw1")
	m.gateways[1] = live("gw1", 6)
	want("another incarnation, which has not registered")
	m.gateways[1].Incarnation, m.gateways[1].Life = 5, model.Dead
	want("dead")
}

// The ports of a member that lives are not taken for those of a dead one while its
// registration is away: what is held through them would end.
func TestPortsWithoutRegistration(t *testing.T) {
	v := newView(nil)
	m := &member{n: &Node{view: v}, self: model.Member{Gateway: "gw0", Incarnation: 4}}
	live := func(id model.GatewayID, n model.Incarnation) model.GatewayRecord {
		return model.GatewayRecord{ID: id, Incarnation: n, Life: model.Alive}
	}
	registered := func(p san.TPG) *meta.Gateway {
		return &meta.Gateway{Portals: []meta.Portal{{TPG: p}}}
	}
	want := func(when string, ports ...san.TPG) {
		t.Helper()
		of := m.known()
		for p := san.TPG(1); p <= 3; p++ {
			if of(p) != slices.Contains(ports, p) {
				t.Errorf("%s: port %d is known: %t", when, p, of(p))
			}
		}
	}
	m.PublishGateways([]model.GatewayRecord{live("gw0", 4), live("gw1", 5)})
	v.groups["gw0"] = registered(1)
	want("one that lives has not registered", 1)
	if !m.owed {
		t.Error("nobody looks at the rest later")
	}
	v.groups["gw1"] = registered(2)
	m.registered()
	if m.owed {
		t.Error("the rest is not looked at")
	}
	want("registered", 1, 3)
	delete(v.groups, "gw1")
	m.registered()
	want("its registration is away", 1, 3)
	if of := m.portsOf(model.Member{Gateway: "gw1", Incarnation: 5}); !of(2) || of(1) {
		t.Error("its ports are not known while its registration is away")
	}
	if port := (owner{m}).Port("gw1", san.TargetPort{TPG: 2}); !port {
		t.Error("its nexuses are refused while its registration is away")
	}
	m.PublishGateways([]model.GatewayRecord{live("gw0", 4), live("gw1", 6)})
	want("another incarnation, which has not registered", 1)
	m.PublishGateways([]model.GatewayRecord{live("gw0", 4), {ID: "gw1", Incarnation: 6, Life: model.Dead}})
	want("dead", 1, 2, 3)
}
