package cli

import (
	"fmt"
	"strings"
	"testing"
)

// The table of a cluster shows what is not as it should be, in words.
func TestStatusOfGateways(t *testing.T) {
	two, one, none, load := int32(2), int32(1), int32(0), int64(20500)
	v := statusView{
		Coordinator: "gw1", Moving: &two, Layout: &layoutView{Version: 3, Newest: 4, WaitsFor: []string{"gw1", "gw3"}},
		Gateways: []gatewayView{
			{Name: "gw1", State: "serving", Incarnation: 7, Version: "1.2", Volumes: &two, Load: &load, Coordinator: true},
			{Name: "gw2", State: "dead", Incarnation: 6, Volumes: &one, Reason: "silent", Drained: true},
			{Name: "gw3", State: "dead", Incarnation: 5, Version: "1.1", Volumes: &none, Reason: "left", Harmless: true},
			{Name: "gw4", State: "joining", Version: "1.3"},
			{Name: "gw5", State: "dead", Incarnation: 4, Volumes: &none, Reason: "suspected"},
		},
		Owners: []ownershipView{
			{Volume: "a", State: "active", Owner: "gw1", Epoch: 3, Reason: "asked", Asked: "administrator"},
			{Volume: "b", State: "active", Owner: "gw1", Epoch: 3, Reason: "asked", Asked: "gw1 iqn.x"},
			{Volume: "c", State: "moving", Owner: "gw1", To: "gw2", Epoch: 4, Reason: "later reason"},
			{Volume: "d", State: "released", To: "gw1", Epoch: 5, Reason: "failed", Failed: "gw3", Problem: "a bad block"},
			{Volume: "e", State: "lost", Owner: "gw2", Epoch: 6, Reason: "new"},
			{Volume: "f", State: "none"},
			{Volume: "g", State: "none", Epoch: 8, Reason: "failed", Failed: "gw1", Problem: "no such volume"},
		},
	}
	var b strings.Builder
	fields(&b, togetherFields(v)...)
	togetherTable(&b, v)
	want := `coordinator  gw1
versions     mixed: 1.2 (gw1), 1.3 (gw4)
metadata     layout 3; the next when gw1, gw3 know it too, or are removed

NAME  STATE    VOLUMES  LOAD   INCARNATION  VERSION  PORTALS  STARTED  NOTES
gw1   serving  2        20500  7            1.2      -        -        coordinates
gw2   dead     1        -      6            -        -        -        no heartbeat came, may not be off, to stay empty
gw3   dead     0        -      5            1.1      -        -        it was stopped
gw4   joining  -        -      0            1.3      -        -        -
gw5   dead     0        -      4            -        -        -        most others did not reach it

VOLUME  OWNER       EPOCH  SINCE  BECAUSE
a       gw1         3      -      an administrator asked for it
b       gw1         3      -      a host asked for it
c       gw1→gw2     4      -      later reason
d       →gw1        5      -      it could not be opened, or failed
e       gw2 (dead)  6      -      nobody had it
f       -           0      -      -
g       -           8      -      it could not be opened, or failed
PROBLEM  volume d: gateway gw3 could not open it: a bad block
PROBLEM  volume g: gateway gw1 could not open it: no such volume; it is tried again, with pauses of up to a minute ('sango doctor' says what to do)
PROBLEM  gateway gw2 is dead, and its volumes (1) wait until it is certain that it can't write; if that does not end and it is off, say so with 'sango gateway confirm-dead gw2'
`
	if b.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", b.String(), want)
	}

	v.Owners, v.Coordinator = v.Owners[2:3], ""
	for i := range manyVolumes {
		v.Owners = append(v.Owners, ownershipView{Volume: fmt.Sprint("v", i), State: "active", Owner: "gw1"})
	}
	b.Reset()
	fields(&b, togetherFields(v)...)
	togetherTable(&b, v)
	if s := b.String(); strings.Contains(s, "v7") || !strings.Contains(s, "gw1→gw2") || !strings.Contains(s, "50 volumes more are served") || !strings.Contains(s, "nobody at the moment") {
		t.Errorf("of many volumes:\n%s", s)
	}
}

// What is not known is no number.
func TestVolumeThatIsNotTold(t *testing.T) {
	n := int64(0)
	if got := known(nil) + " " + known(&n); got != "? 0B" {
		t.Error(got)
	}
	if got := traits(volumeView{Silent: "gateway gw2 does not answer", Problem: "x"}); got != "FAILED,SILENT" {
		t.Error(got)
	}
}
