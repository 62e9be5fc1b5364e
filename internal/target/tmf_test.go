package target

import (
	"testing"

	"sango/internal/iscsi"
	"sango/internal/scsi"
)

// manage sends a task management request and returns its tag.
func (i *initiator) manage(r iscsi.TaskRequest) iscsi.ITT {
	i.t.Helper()
	r.ITT = i.itt
	i.itt++
	r.CmdSN, r.ExpStatSN = i.cmdSN, i.expStatSN
	if !r.Immediate {
		i.cmdSN++
	}
	if r.RefTag == 0 {
		r.RefTag = iscsi.NoITT
	}
	var h iscsi.BHS
	r.Put(&h)
	i.send(&h, nil)
	return r.ITT
}

// managed waits for a task management response.
func (i *initiator) managed(itt iscsi.ITT) iscsi.TaskResult {
	i.t.Helper()
	h, _ := i.recv()
	r, err := iscsi.ParseTaskResponse(&h)
	if err != nil || r.ITT != itt {
		i.t.Fatalf("want the response to %#x: %v %x", itt, err, h)
	}
	return r.Result
}

// ABORT TASK of a command that executes is answered when the command can no
// longer touch the medium; the command gets no response.
func TestAbortTaskWaits(t *testing.T) {
	s := start(t)
	i := connect(t, s)
	i.ready()
	arrived := s.dev.Hold()
	sn := i.cmdSN
	itt := i.command(command{cdb: write10(0, 8), write: true, expected: 4096, data: pattern(4096)})
	<-arrived
	tmf := i.manage(iscsi.TaskRequest{Immediate: true, Function: iscsi.AbortTask, RefTag: itt, RefCmdSN: sn})
	i.ping() // no answer yet
	s.dev.Release()
	if got := i.managed(tmf); got != iscsi.TaskComplete {
		t.Errorf("answered %d", got)
	}
	i.ping()
	if i.max != i.exp+127 {
		t.Errorf("the window is [%d, %d]: the aborted task kept its credit", i.exp, i.max)
	}
}

// A task that gathers data is aborted at once; data that comes for it later is
// thrown away, and its tag may be used again.
func TestAbortTaskThatGathers(t *testing.T) {
	s := start(t)
	i := connect(t, s)
	i.ready()
	sn := i.cmdSN
	itt := i.command(command{cdb: write10(0, 8), write: true, expected: 4096})
	r := i.r2t()
	tmf := i.manage(iscsi.TaskRequest{Function: iscsi.AbortTask, RefTag: itt, RefCmdSN: sn})
	if got := i.managed(tmf); got != iscsi.TaskComplete {
		t.Errorf("answered %d", got)
	}
	i.data(itt, r.TTT, 0, 0, true, pattern(4096))
	i.command(command{cdb: write10(8, 8), write: true, expected: 4096, itt: itt})
	again := i.r2t()
	i.data(itt, r.TTT, 0, 0, true, make([]byte, 4096)) // late data of the first
	want := pattern(4096)
	i.data(itt, again.TTT, 0, 0, true, want)
	if o := i.outcome(); o.itt != itt || o.status != 0 {
		t.Errorf("the second task ended with %+v", o)
	}
	i.check(0, make([]byte, 4096))
	i.check(8, want)
}

func TestAbortTaskOfNothing(t *testing.T) {
	s := start(t)
	i := connect(t, s)
	i.ready()
	tmf := i.manage(iscsi.TaskRequest{Immediate: true, Function: iscsi.AbortTask, RefTag: 0x999, RefCmdSN: i.cmdSN - 1})
	if got := i.managed(tmf); got != iscsi.TaskNoSuchTask {
		t.Errorf("answered %d", got)
	}
}

// RefCmdSN fills the gap of a command that never came, for an immediate
// request and for one that waits behind the gap itself.
func TestAbortTaskPlugsGap(t *testing.T) {
	for _, immediate := range []bool{true, false} {
		s := start(t)
		i := connect(t, s)
		i.ready()
		lost := i.cmdSN
		i.cmdSN++
		behind := i.command(command{cdb: make([]byte, 6)})
		tmf := i.manage(iscsi.TaskRequest{Immediate: immediate, Function: iscsi.AbortTask, RefTag: 0x999, RefCmdSN: lost})
		if immediate {
			if got := i.managed(tmf); got != iscsi.TaskComplete {
				t.Errorf("answered %d", got)
			}
		}
		if o := i.outcome(); o.itt != behind || o.status != 0 {
			t.Errorf("the command behind the gap ended with %+v", o)
		}
		if !immediate {
			if got := i.managed(tmf); got != iscsi.TaskComplete {
				t.Errorf("answered %d", got)
			}
		}
		i.command(command{cdb: make([]byte, 6), at: &lost}) // too late now
		i.ping()
		if i.exp != i.cmdSN || i.max != i.exp+127 {
			t.Errorf("the window is [%d, %d], want it from %d", i.exp, i.max, i.cmdSN)
		}
	}
}

// A command that waits behind a gap is aborted before its turn.
func TestAbortTaskBehindGap(t *testing.T) {
	s := start(t)
	i := connect(t, s)
	i.ready()
	gap := i.cmdSN
	i.cmdSN++
	sn := i.cmdSN
	itt := i.command(command{cdb: write10(0, 1), write: true, expected: 512, data: pattern(512)})
	tmf := i.manage(iscsi.TaskRequest{Immediate: true, Function: iscsi.AbortTask, RefTag: itt, RefCmdSN: sn})
	if got := i.managed(tmf); got != iscsi.TaskComplete {
		t.Errorf("answered %d", got)
	}
	i.command(command{cdb: make([]byte, 6), at: &gap})
	i.outcome()
	i.check(0, make([]byte, 512))
	if i.exp != i.cmdSN || i.max != i.exp+127 {
		t.Errorf("the window is [%d, %d], want it from %d", i.exp, i.max, i.cmdSN)
	}
}

// ABORT TASK whose tag is that of a command waiting for its turn, but whose
// RefCmdSN is another number that did not come, leaves that command alone.
func TestAbortTaskOfAnotherNumber(t *testing.T) {
	s := start(t)
	i := connect(t, s)
	i.ready()
	first := i.cmdSN
	i.cmdSN += 2 // two are missing
	itt := i.command(command{cdb: make([]byte, 6)})
	last := i.cmdSN
	tmf := i.manage(iscsi.TaskRequest{Immediate: true, Function: iscsi.AbortTask, RefTag: itt, RefCmdSN: first + 1})
	if got := i.managed(tmf); got != iscsi.TaskNoSuchTask {
		t.Errorf("answered %d", got)
	}
	var sent []iscsi.ITT
	for n := range 2 {
		i.cmdSN = first + iscsi.CmdSN(n)
		sent = append(sent, i.command(command{cdb: make([]byte, 6)}))
	}
	i.cmdSN = last
	for _, want := range append(sent, itt) {
		if o := i.outcome(); o.itt != want || o.status != 0 {
			t.Errorf("command %#x ended with %+v", want, o)
		}
	}
	i.ping()
}

// LOGICAL UNIT RESET ends what runs, and what waits behind a gap.
func TestLogicalUnitReset(t *testing.T) {
	s := start(t)
	i := connect(t, s)
	i.ready()
	arrived := s.dev.Hold()
	i.command(command{cdb: read10(0, 8), read: true, expected: 4096})
	<-arrived
	gap := i.cmdSN
	i.cmdSN++
	i.command(command{cdb: write10(0, 1), write: true, expected: 512, data: pattern(512)})
	tmf := i.manage(iscsi.TaskRequest{Immediate: true, Function: iscsi.LogicalUnitReset})
	i.ping()
	s.dev.Release()
	if got := i.managed(tmf); got != iscsi.TaskComplete {
		t.Errorf("answered %d", got)
	}
	i.command(command{cdb: make([]byte, 6), at: &gap})
	if o := i.outcome(); o.key()[0] != 6 {
		t.Errorf("no unit attention after the reset: %+v", o)
	}
	i.check(0, make([]byte, 512))
}

// ABORT TASK SET ends the tasks of the session that asks, CLEAR TASK SET those
// of all of them; those of others end with TASK ABORTED. Either is answered
// when no task it ended can touch the medium.
func TestTaskSets(t *testing.T) {
	for f, others := range map[iscsi.TaskFunction]bool{iscsi.AbortTaskSet: false, iscsi.ClearTaskSet: true} {
		t.Run(f.String(), func(t *testing.T) {
			s := start(t)
			i, other := connect(t, s), dial(t, s)
			if st := other.login(isid(2), names(hostName+"2", targetName)...); st != iscsi.LoginSuccess {
				t.Fatal(st)
			}
			i.ready()
			other.ready()
			arrived := s.dev.Hold()
			i.command(command{cdb: read10(0, 8), read: true, expected: 4096})
			i.command(command{cdb: write10(64, 8), write: true, expected: 4096}) // gathers
			i.r2t()
			theirs := other.command(command{cdb: read10(32, 8), read: true, expected: 4096})
			<-arrived
			<-arrived
			tmf := i.manage(iscsi.TaskRequest{Function: f})
			i.ping() // no answer yet
			s.dev.Release()
			if got := i.managed(tmf); got != iscsi.TaskComplete {
				t.Errorf("answered %d", got)
			}
			i.ping()
			if i.max != i.exp+127 {
				t.Errorf("the window is [%d, %d]", i.exp, i.max)
			}
			o := other.outcome()
			if aborted := scsi.Status(o.status) == scsi.TaskAborted; o.itt != theirs || aborted != others || !aborted && o.status != 0 || aborted && len(o.data) > 0 {
				t.Errorf("a task of another session ended with %+v", o)
			}
			other.command(command{cdb: make([]byte, 6)})
			if o := other.outcome(); o.status != 0 {
				t.Errorf("the other session then gets %x", o.key())
			}
			i.ready()
			i.check(64, make([]byte, 4096))
		})
	}
}

// A reset, or ABORT TASK, also ends a command whose response waits for
// unsolicited data: many initiators send none of it after that.
func TestAbortEndsWaitForUnsolicitedData(t *testing.T) {
	s := start(t)
	i := connect(t, s, iscsi.Pair{Key: iscsi.KeyInitialR2T, Value: "No"})
	i.ready()
	for _, f := range []iscsi.TaskFunction{iscsi.AbortTask, iscsi.LogicalUnitReset} {
		sn := i.cmdSN
		itt := i.command(command{cdb: write10(1<<30, 2), write: true, expected: 1024, more: true}) // past the end
		r := iscsi.TaskRequest{Function: f}
		if f == iscsi.AbortTask {
			r.RefTag, r.RefCmdSN = itt, sn
		}
		if got := i.managed(i.manage(r)); got != iscsi.TaskComplete {
			t.Errorf("%v: answered %d", f, got)
		}
		i.data(itt, iscsi.NoTTT, 0, 0, true, make([]byte, 1024)) // nobody wants it now
		i.command(command{cdb: inquiry(36), read: true, expected: 36, itt: itt})
		if o := i.outcome(); o.itt != itt || o.status != 0 {
			t.Errorf("%v: the next task with that tag ended with %+v", f, o)
		}
		if i.max != i.exp+127 {
			t.Errorf("%v: the window is [%d, %d]", f, i.exp, i.max)
		}
	}
}

// A target reset gives up the commands that did not come.
func TestTargetWarmResetPlugsGaps(t *testing.T) {
	s := start(t)
	i := connect(t, s)
	i.ready()
	i.cmdSN += 3
	tmf := i.manage(iscsi.TaskRequest{Immediate: true, Function: iscsi.TargetWarmReset})
	if got := i.managed(tmf); got != iscsi.TaskComplete {
		t.Errorf("answered %d", got)
	}
	i.command(command{cdb: make([]byte, 6)})
	if o := i.outcome(); o.key()[0] != 6 {
		t.Errorf("no unit attention after the reset: %+v", o)
	}
}

// TARGET COLD RESET is answered, announced by an asynchronous message, and
// ends the sessions of all initiators.
func TestTargetColdReset(t *testing.T) {
	s := start(t)
	i := connect(t, s)
	i.ready()
	j := dial(t, s)
	if st := j.login(isid(2), names(hostName+"2", targetName)...); st != iscsi.LoginSuccess {
		t.Fatal(st)
	}
	i.manage(iscsi.TaskRequest{Immediate: true, Function: iscsi.TargetColdReset})
	for n, peer := range []*initiator{i, j} {
		var ops []iscsi.Opcode
		for _, h := range peer.closed() {
			ops = append(ops, h.Opcode())
			if a, err := iscsi.ParseAsync(&h); err == nil && a.Event != iscsi.AsyncDropSession {
				t.Errorf("session %d: event %v", n, a.Event)
			}
		}
		if n == 0 && (len(ops) != 2 || ops[0] != iscsi.OpTaskResponse || ops[1] != iscsi.OpAsync) {
			t.Errorf("the one who asked got %v", ops)
		}
		if n == 1 && (len(ops) != 1 || ops[0] != iscsi.OpAsync) {
			t.Errorf("the other one got %v", ops)
		}
	}
}

func TestTaskFunctionsNotServed(t *testing.T) {
	s := start(t)
	i := connect(t, s)
	for f, want := range map[iscsi.TaskFunction]iscsi.TaskResult{
		iscsi.TaskReassign: iscsi.TaskNoReassign, iscsi.ClearACA: iscsi.TaskNotSupported, 9: iscsi.TaskNotSupported, 0x7f: iscsi.TaskNotSupported, 0: iscsi.TaskNotSupported,
	} {
		if got := i.managed(i.manage(iscsi.TaskRequest{Function: f})); got != want {
			t.Errorf("%v: answered %d, want %d", f, got, want)
		}
	}
	lost := iscsi.TaskRequest{Function: iscsi.LogicalUnitReset, LUN: [8]byte{0, 77}}
	if got := i.managed(i.manage(lost)); got != iscsi.TaskNoSuchLUN {
		t.Errorf("LUN 77: answered %d", got)
	}
}
