package model

import (
	"testing"

	"sango/internal/san"
)

// Fences by drivers that hang keep no gateway from being fenced by command.
func TestHungDriversParkNoCommand(t *testing.T) {
	c := NewCoordinator(Config{TTL: 3 * Second, Gather: -1, Window: 2})
	c.Step(1, Snapshot{Rev: 1})
	c.Step(2, Elected{1})
	a := GatewayRecord{ID: "a", Incarnation: 1, Life: Alive}
	c.Step(3, change(2, a))
	rev := Revision(2)
	next := func() Revision { rev++; return rev }
	for _, f := range []Fencing{FenceDriver, FenceDriver, FenceDriver, FenceCommand} {
		v := VolumeRecord{ID: san.NewUUID(), Fencing: f}
		o := OwnerRecord{Volume: v.ID, State: Active, Owner: a.Member(), Epoch: 1}
		r := next()
		c.Step(4, Changed{[]Change{{r, o.Key(), o}, {r, v.Key(), v}}})
	}
	a.Life, a.Why = Dead, ReasonSilent
	var driver, command int
	for _, e := range c.Step(7, change(next(), a)) {
		if f, ok := e.(Fence); ok && f.Volume.IsZero() {
			command++
		} else if ok {
			driver++
		}
	}
	if driver != 2 || command != 1 {
		t.Errorf("%d fences by drivers, %d by command", driver, command)
	}
}
