package api

import (
	"strings"
	"testing"

	"sango/internal/meta"
	"sango/internal/san"
)

// A gateway without a fence command is warned of where volumes rely on one, and
// volumes that wait say what for.
func TestVolumesWaitForFences(t *testing.T) {
	known := []*meta.Gateway{{Name: "gw1", Capabilities: []string{meta.FenceCommand}}, {Name: "gw2"}, {Name: "gw3", Capabilities: []string{meta.FenceCommand}}}
	now := &meta.State{Coordinator: "gw2", Owners: map[san.UUID]*meta.Owner{}, Incarnations: map[string]*meta.Incarnation{
		"gw1": {Number: 1, Life: meta.Alive}, "gw2": {Number: 2, Life: meta.Alive}, "gw3": {Number: 3, Life: meta.Dead},
	}}
	var volumes []*san.Volume
	for name, f := range map[string]san.Fencing{"none": san.FenceNone, "command": san.FenceCommand, "driver": "", "served": san.FenceNone} {
		v := &san.Volume{ID: san.NewUUID(), Name: name, Driver: san.DriverLayered, Fencing: f}
		o := &meta.Owner{State: meta.OwnerActive, Gateway: "gw3", Incarnation: 3}
		if name == "served" {
			o.Gateway, o.Incarnation = "gw1", 1
		}
		volumes, now.Owners[v.ID] = append(volumes, v), o
	}
	all := agreedOn(known, now, volumes, Status{})
	if len(all.problems) != 1 || !strings.Contains(all.problems[0], "1 volumes rely on a fence command") || !strings.Contains(all.problems[0], "there is none at gw2") {
		t.Errorf("problems: %q", all.problems)
	}
	want := map[string]string{"none": "the word of a person", "command": "the coordinator, gateway gw2, has no fence command", "driver": "", "served": ""}
	for _, o := range all.Volumes {
		if w := want[o.GetVolume()]; !strings.Contains(o.GetProblem(), w) || w == "" && o.GetProblem() != "" {
			t.Errorf("volume %s: %q", o.GetVolume(), o.GetProblem())
		}
	}
	if len(all.failed) != 1 { // of which the coordinator may know more
		t.Errorf("who is asked: %v", all.failed)
	}
	now.Coordinator = "gw1"
	if all = agreedOn(known[:1], now, volumes, Status{}); len(all.problems) != 0 || len(all.failed) != 2 {
		t.Errorf("where all have one: %q, %v", all.problems, all.failed)
	}
}
