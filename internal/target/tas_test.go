package target

import (
	"testing"

	"sango/internal/iscsi"
	"sango/internal/scsi"
)

// wantTaskAborted waits for TASK ABORTED of command itt.
func (i *initiator) wantTaskAborted(itt iscsi.ITT) {
	i.t.Helper()
	if o := i.outcome(); o.itt != itt || scsi.Status(o.status) != scsi.TaskAborted || len(o.sense)+len(o.data) > 0 {
		i.t.Errorf("the aborted command ended with %+v", o)
	}
}

// A write that another session aborts while its data is on the way ends with
// TASK ABORTED when all that it was asked for has come, of which nothing is
// written. Who aborted it does not wait for that.
func TestTaskAbortedWaitsForData(t *testing.T) {
	for _, f := range []iscsi.TaskFunction{iscsi.ClearTaskSet, iscsi.LogicalUnitReset} {
		s := start(t)
		i := connect(t, s, iscsi.Pair{Key: iscsi.KeyMaxOutstandingR2T, Value: "2"}, iscsi.Pair{Key: iscsi.KeyMaxBurst, Value: "4096"},
			iscsi.Pair{Key: iscsi.KeyFirstBurst, Value: "4096"})
		i.ready()
		other := beside(t, s, 2)
		itt := i.command(command{cdb: write10(0, 24), write: true, expected: 12288})
		first, second := i.r2t(), i.r2t()
		i.data(itt, first.TTT, 0, 0, false, pattern(2048))
		i.ping()
		if got := other.managed(other.manage(iscsi.TaskRequest{Function: f})); got != iscsi.TaskComplete {
			t.Errorf("%v: answered %d", f, got)
		}
		i.ping() // no answer yet
		i.data(itt, first.TTT, 1, 2048, true, pattern(2048))
		i.ping() // nor another R2T
		i.data(itt, second.TTT, 0, 4096, true, pattern(4096))
		i.wantTaskAborted(itt)
		i.ping()
		if i.max != i.exp+127 {
			t.Errorf("%v: the window is [%d, %d]: the aborted task kept its credit", f, i.exp, i.max)
		}
		if f == iscsi.LogicalUnitReset {
			i.command(command{cdb: make([]byte, 6)})
			if o := i.outcome(); o.key()[0] != 6 {
				t.Errorf("no unit attention after the reset: %+v", o)
			}
		}
		// The tag may be used again.
		i.command(command{cdb: write10(8, 8), write: true, expected: 4096, itt: itt})
		again := i.r2t()
		i.data(itt, again.TTT, 0, 0, true, pattern(4096))
		if o := i.outcome(); o.itt != itt || o.status != 0 {
			t.Errorf("%v: the next task with that tag ended with %+v", f, o)
		}
		i.check(0, make([]byte, 4096))
		i.check(8, pattern(4096))
	}
}

// The same with data that was announced.
func TestTaskAbortedWaitsForUnsolicitedData(t *testing.T) {
	s := start(t)
	i := connect(t, s, iscsi.Pair{Key: iscsi.KeyInitialR2T, Value: "No"})
	i.ready()
	other := beside(t, s, 2)
	itt := i.command(command{cdb: write10(0, 8), write: true, expected: 4096, data: pattern(1024), more: true})
	i.ping()
	if got := other.managed(other.manage(iscsi.TaskRequest{Function: iscsi.ClearTaskSet})); got != iscsi.TaskComplete {
		t.Errorf("answered %d", got)
	}
	i.ping()
	i.data(itt, iscsi.NoTTT, 0, 1024, true, make([]byte, 3072))
	i.wantTaskAborted(itt)
	i.check(0, make([]byte, 4096))
}

// A host that sends nothing more may abort the command itself, and one that
// goes leaves nothing behind.
func TestTaskAbortedAndAbandoned(t *testing.T) {
	for _, f := range []iscsi.TaskFunction{iscsi.AbortTask, iscsi.AbortTaskSet, iscsi.LogicalUnitReset, 0} {
		s := start(t)
		i := connect(t, s)
		i.ready()
		other := beside(t, s, 2)
		sn := i.cmdSN
		itt := i.command(command{cdb: write10(0, 8), write: true, expected: 4096})
		r := i.r2t()
		if got := other.managed(other.manage(iscsi.TaskRequest{Function: iscsi.ClearTaskSet})); got != iscsi.TaskComplete {
			t.Errorf("%v: answered %d", f, got)
		}
		if f == 0 {
			i.nc.Close()
			continue
		}
		q := iscsi.TaskRequest{Function: f}
		if f == iscsi.AbortTask {
			q.RefTag, q.RefCmdSN = itt, sn
		}
		if got := i.managed(i.manage(q)); got != iscsi.TaskComplete {
			t.Errorf("%v: answered %d", f, got)
		}
		i.data(itt, r.TTT, 0, 0, true, pattern(4096)) // nobody wants it now
		i.ping()
		if i.max != i.exp+127 {
			t.Errorf("%v: the window is [%d, %d]", f, i.exp, i.max)
		}
	}
}

// A command that executes ends with TASK ABORTED when it can no longer touch
// the medium, before the one who aborted it is answered; with TAS = 0 it does
// not end.
func TestTaskAbortedThatExecutes(t *testing.T) {
	for _, tas := range []bool{true, false} {
		s := start(t)
		i := connect(t, s)
		i.ready()
		other := beside(t, s, 2)
		if !tas {
			list := append([]byte{0, 0, 0, 0, 0x0a, 0x0a}, scsi.Control{QueueModifier: 1, BusyTimeout: 0xffff}.Params()...)
			other.command(command{cdb: []byte{0x15, 0x10, 0, 0, byte(len(list)), 0}, write: true, expected: uint32(len(list)), data: list})
			if o := other.outcome(); o.status != 0 {
				t.Fatalf("MODE SELECT ended with %+v", o)
			}
			i.command(command{cdb: make([]byte, 6)})
			if o := i.outcome(); o.key() != [3]byte{6, 0x2a, 1} {
				t.Errorf("no unit attention: %+v", o)
			}
		}
		arrived := s.dev.Hold()
		itt := i.command(command{cdb: write10(0, 8), write: true, expected: 4096, data: pattern(4096)})
		<-arrived
		tmf := other.manage(iscsi.TaskRequest{Function: iscsi.LogicalUnitReset})
		other.ping() // no answer yet
		i.ping()
		s.dev.Release()
		if got := other.managed(tmf); got != iscsi.TaskComplete {
			t.Errorf("answered %d", got)
		}
		if tas {
			i.wantTaskAborted(itt)
		}
		i.ping()
		if i.max != i.exp+127 {
			t.Errorf("the window is [%d, %d]: the aborted task kept its credit", i.exp, i.max)
		}
	}
}
