package cli

import (
	"fmt"
	"strings"
	"testing"

	v1 "sango/internal/api/gen/sango/v1"
	"sango/internal/gateway"
)

// doctor names the volumes that no gateway can open, and no others.
func TestDoctorNamesWhatNobodyCanOpen(t *testing.T) {
	f := unopened(&v1.Cluster{Volumes: []*v1.Ownership{
		{Volume: "a", State: "active", Owner: "gw1", Failed: "gw2"},
		{Volume: "b", State: "none", Reason: "failed", Failed: "gw2", Problem: "no such volume"},
		{Volume: "c", State: "none", Reason: "left"},
	}})
	if len(f) != 1 || f[0].Check != "volume b" || f[0].State != gateway.FindingFailed ||
		f[0].Detail != "gateway gw2 could not open it: no such volume" || !strings.Contains(f[0].Advice, "sango volume delete b") {
		t.Errorf("%+v", f)
	}
}

// Members that were not asked are not taken for ones that are gone.
func TestDoctorOfMembersThatAreNotAsked(t *testing.T) {
	all := membersFound([]*v1.Member{{Name: "gw1", State: "leader"}, {Name: "gw2", State: "unasked"}, {Name: "gw3", State: "unasked"}})
	if len(all) != 3 || all[0].Check != "metadata member gw2" || !strings.Contains(all[0].Advice, "client:") {
		t.Fatalf("%+v", all)
	}
	if f := all[2]; f.State != gateway.FindingOK || f.Detail != "1 of 3 members answer, 2 were not asked" {
		t.Errorf("%+v", f)
	}
}

// That nobody has seen to it that a dead gateway can't write is told where a
// volume waits for that.
func TestDoctorOfDeadGateways(t *testing.T) {
	if f := gatewayFinding(&v1.Gateway{Name: "gw2", State: "dead"}); f.State != gateway.FindingWarning || strings.Contains(f.Detail+f.Advice, "off") {
		t.Errorf("%+v", f)
	}
	if f := gatewayFinding(&v1.Gateway{Name: "gw2", State: "dead", Volumes: 1}); f.State != gateway.FindingWarning || !strings.Contains(f.Advice, "confirm-dead gw2") {
		t.Errorf("%+v", f)
	}
	if f := gatewayFinding(&v1.Gateway{Name: "gw2", State: "joining"}); f.State != gateway.FindingWarning || f.Advice == "" {
		t.Errorf("%+v", f)
	}
}

// Who empties a gateway to stop it is told where its member is needed.
func TestDrainTellsOfNeededMember(t *testing.T) {
	of := func(states ...string) (all []*v1.Member) {
		for i, s := range states {
			all = append(all, &v1.Member{Name: fmt.Sprint("gw", i+1), State: s})
		}
		return all
	}
	for _, c := range []struct {
		all  []*v1.Member
		want bool
	}{
		{of("leader"), false},
		{of("leader", "follower", "follower"), false},
		{of("follower", "leader", "silent"), true},
		{of("silent", "leader", "follower"), false},
		{of("leader", "follower"), true},
		{of("leader", "follower", "learner"), true},
	} {
		if got := needed(c.all, "gw1"); (got != "") != c.want {
			t.Errorf("%v: %q", c.all, got)
		}
	}
	if got := needed(of("leader", "follower", "silent"), "gw4"); got != "" { // it has none
		t.Error(got)
	}
}
