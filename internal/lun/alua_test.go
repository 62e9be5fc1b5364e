package lun

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"sango/internal/san"
	"sango/internal/scsi"
	"sango/internal/scsi/alua"
	"sango/internal/scsi/pr"
)

// What is served through a port in each state is what SPC-4 lists (§5.15.2.4.2
// to §5.15.2.4.5, §5.15.2.5), FENCE, and what tells of commands and functions.
func TestCommandsInEachState(t *testing.T) {
	always := []scsi.OpCode{scsi.OpInquiry, scsi.OpReportLUNs, scsi.OpRequestSense, scsi.OpFence}
	maintenance := map[scsi.OpCode][]scsi.ServiceAction{
		scsi.OpMaintenanceIn:  {scsi.SAReportTargetPortGroups, scsi.SAReportOpCodes, scsi.SAReportTMFs},
		scsi.OpMaintenanceOut: {scsi.SASetTargetPortGroups},
	}
	standby := []scsi.OpCode{
		scsi.OpModeSense6, scsi.OpModeSense10, scsi.OpModeSelect6, scsi.OpModeSelect10, scsi.OpLogSense, scsi.OpSendDiagnostic,
		scsi.OpPersistReserveIn, scsi.OpPersistReserveOut, scsi.OpReserve6, scsi.OpRelease6,
	}
	tg := NewTarget("iqn.2026-11.test:target", TargetOptions{SetGroups: func(*Nexus, *Unit, []alua.Change) error { return nil }})
	u := testUnit(t, nil, func(v *san.Volume, _ *UnitOptions) { v.Removable = true })
	tg.SetMap(map[san.LUN]MapEntry{0: {Unit: u}})
	w := attach(t, tg, nexusName(1), "")
	for state, refusal := range map[AccessState]scsi.ASC{
		ActiveOptimized: 0, ActiveNonOptimized: 0, Standby: scsi.ASCPortStandby, Unavailable: scsi.ASCPortUnavailable,
		Transitioning: scsi.ASCAccessTransition,
	} {
		for _, c := range u.table.list {
			regroup(tg, []PortGroup{{ID: 1, State: state, Ports: []san.TPG{1}}})
			w.settle()
			want := refusal != 0 && !slices.Contains(always, c.op) && !slices.Contains(maintenance[c.op], c.sa) &&
				(state != Standby || !slices.Contains(standby, c.op))
			cdb := make([]byte, len(c.usage))
			cdb[0] = byte(c.op)
			if c.op.HasServiceAction() {
				cdb[1] = byte(c.sa)
			}
			task := w.run(w.newTask(cdb))
			k, a := sense(task)
			if got := k == scsi.NotReady && a == refusal; got != want {
				t.Errorf("%s through a port that is %v: %v %x/%04x, want a refusal: %v", c.name, state, task.Status, k, a, want)
			}
		}
	}
}

// The extended header tells how long an implicit transition may take.
func TestTransitionTime(t *testing.T) {
	for wait, want := range map[time.Duration]byte{0: 30, 7 * time.Second: 7, 7100 * time.Millisecond: 8, time.Hour: 255} {
		w := attach(t, oneUnit(testUnit(t, nil, func(_ *san.Volume, o *UnitOptions) { o.Transition = wait })), nexusName(1), "")
		for _, format := range []byte{0, 1} {
			task := w.run(w.in(256, 0xa3, format<<5|0x0a, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0))
			wantGood(t, task)
			_, got, err := alua.Parse(bytesIn(task))
			if err != nil || got != want*format {
				t.Errorf("%v, format %d: %d s, %v", wait, format, got, err)
			}
		}
	}
}

// A host that is refused is told so in words that make it go on, not ask again.
func TestExplicitGroupsRefused(t *testing.T) {
	for _, err := range []error{fmt.Errorf("again: %w", san.ErrRefused), errors.New("no")} {
		tg := NewTarget("iqn.2026-11.test:target", TargetOptions{SetGroups: func(*Nexus, *Unit, []alua.Change) error { return err }})
		tg.SetMap(map[san.LUN]MapEntry{0: {Unit: testUnit(t, nil, nil)}})
		w := attach(t, tg, nexusName(1), "")
		for range 3 {
			wantSense(t, w.setGroups(1, ActiveOptimized), scsi.IllegalRequest, scsi.ASCSetTargetPortGroupsFailed)
			wantGood(t, w.tur())
		}
	}
}

// setGroups sends a SET TARGET PORT GROUPS of one group.
func (w *wire) setGroups(id uint16, s AccessState) *Task {
	w.t.Helper()
	list := alua.AppendSet(nil, []alua.Change{{ID: id, State: s}})
	return w.run(w.out(len(list), 0xa4, 0x0a, 0, 0, 0, 0, 0, 0, 0, byte(len(list)), 0, 0), list...)
}

// A host moves the volume to the gateway that it prefers, in the middle of other
// commands: all nexuses on all gateways are told, but the one that asked.
// Reservations can forbid it, wherever the volume is.
func TestExplicitMove(t *testing.T) {
	g := newGang(t, 2, nil)
	calls := 0
	groups := func() []PortGroup {
		list := []PortGroup{{ID: 1, State: ActiveNonOptimized, Ports: []san.TPG{1}}, {ID: 2, State: ActiveNonOptimized, Ports: []san.TPG{2}}}
		list[g.owner].State = ActiveOptimized
		return list
	}
	set := func(n *Nexus, _ *Unit, c []alua.Change) error {
		calls++
		if c[0].State != ActiveOptimized {
			return errors.New("no")
		}
		g.move(int(c[0].ID) - 1)
		for _, x := range g.gates {
			x.unit.SetPortGroups(groups())
			x.unit.AccessChanged(func(id san.NexusID) bool { return id == n.ID() })
		}
		return nil
	}
	g.serve(0)
	var wires [2][2]*wire
	for at, x := range g.gates {
		x.unit.SetPortGroups(groups())
		x.target = NewTarget("iqn.2026-11.test:target", TargetOptions{SetGroups: set})
		x.target.SetMap(map[san.LUN]MapEntry{0: {Unit: x.unit}})
		for n := range wires[at] {
			wires[at][n] = g.attach(at, 2*at+n)
		}
	}
	a, b := wires[0][0], wires[1][0]
	for n, to := range []int{1, 0, 0, 1, 1} {
		asking := wires[n%2][0]
		asked := asking.put(9, byte(n)) // before it, by the same nexus
		wantGood(t, asking.setGroups(uint16(1+to), ActiveOptimized))
		wantGood(t, asking.wait(asked))
		if g.owner != to {
			t.Errorf("the volume is at gateway %d, want %d", g.owner, to)
		}
		for _, of := range wires {
			for _, w := range of {
				if w == asking {
					wantPending(t, w)
				} else {
					wantPending(t, w, scsi.ASCAccessStateChanged)
				}
			}
		}
	}
	a.mustPersist(pr.Register, 0, pr.Out{ActionKey: 1})
	a.mustPersist(pr.Reserve, pr.WriteExclusive, pr.Out{Key: 1})
	for _, to := range []int{0, 1} {
		before := calls
		wantConflict(t, b.setGroups(uint16(1+to), ActiveOptimized))
		if calls != before {
			t.Error("a reservation did not stop it")
		}
		wantGood(t, a.setGroups(uint16(1+to), ActiveOptimized))
		b.settle()
	}
}
