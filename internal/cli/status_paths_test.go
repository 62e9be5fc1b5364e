package cli

import (
	"fmt"
	"strings"
	"testing"

	v1 "sango/internal/api/gen/sango/v1"
)

// The paths to a volume are those of the hosts that see it, through each gateway
// in the state that hosts are told.
func TestPathsOfHosts(t *testing.T) {
	gateways := []gatewayView{{Name: "gw1", State: "serving"}, {Name: "gw2", State: "serving"}, {Name: "gw3", State: "dead"}, {Name: "gw4", State: "draining", Drained: true}}
	owners := []ownershipView{{Volume: "a", State: "active", Owner: "gw1"}, {Volume: "b", State: "lost", Owner: "gw3"}, {Volume: "c", State: "active", Owner: "gw1"}}
	targets := []*v1.Target{{Name: "t", Luns: []*v1.Lun{{Volume: "a"}, {Volume: "b", Hosts: []string{"web"}}}}}
	s := func(initiator, host string) *v1.Session {
		return &v1.Session{Target: "t", Initiator: initiator, Host: host}
	}
	p := pathsOf(gateways, owners, targets, map[string][]*v1.Session{"gw1": {s("i1", "web"), s("i1", "web"), s("i2", "")}, "gw2": {s("i1", "web")}, "gw4": nil})
	var b strings.Builder
	pathsTable(&b, &p)
	want := `
sessions of gw1  3
sessions of gw2  1
sessions of gw4  0

VOLUME  OPTIMIZED  NON-OPTIMIZED    TRANSITIONING            UNAVAILABLE
a       gw1 (2)    gw2 (1) gw4 (0)  -                        gw3 (0)
b       -          -                gw1 (1) gw2 (1) gw4 (0)  gw3 (0)
PROBLEM  i2 has no session of t with gw2
`
	if b.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", b.String(), want)
	}
	for i := range 2 * manyVolumes {
		name := fmt.Sprint("v", i)
		owners = append(owners, ownershipView{Volume: name, State: "active", Owner: "gw1"})
		targets[0].Luns = append(targets[0].Luns, &v1.Lun{Volume: name})
	}
	p = pathsOf(gateways, owners, targets, nil)
	b.Reset()
	pathsTable(&b, &p)
	if s := b.String(); strings.Contains(s, "v7") || !strings.Contains(s, "b       -") || !strings.Contains(s, "101 volumes more") {
		t.Errorf("of many volumes:\n%s", s)
	}
}
