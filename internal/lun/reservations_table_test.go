package lun

import (
	"fmt"
	"sync/atomic"
	"testing"

	"sango/internal/block"
	"sango/internal/block/mem"
	"sango/internal/san"
	"sango/internal/scsi"
	"sango/internal/scsi/alua"
	"sango/internal/scsi/pr"
)

// rule is what the standards say of a command: SPC-4 table 65, SBC-4 table 13
// for persistent reservations, SPC-2 table 9 for RESERVE(6).
type rule struct {
	name   string // of the command in the table
	cdb    string // the CDB, where another than one of zeros is meant
	access string // under a persistent reservation: "", "read" or "write"
	six    bool   // stopped by a RESERVE(6) of another nexus
}

// rules are written down by hand, apart from the table of commands: a command
// that is not here fails the test.
var rules = []rule{
	{name: "TEST UNIT READY", six: true},
	{name: "REQUEST SENSE"},
	{name: "INQUIRY"},
	{name: "REPORT LUNS"},
	{name: "LOG SENSE"},
	{name: "READ CAPACITY(10)"},
	{name: "READ CAPACITY(16)"},
	{name: "REPORT TARGET PORT GROUPS"},
	{name: "PREVENT ALLOW MEDIUM REMOVAL", cdb: "\x1e\x00\x00\x00\x00\x00"},
	{name: "PREVENT ALLOW MEDIUM REMOVAL", cdb: "\x1e\x00\x00\x00\x01\x00", access: "write", six: true},
	{name: "START STOP UNIT", cdb: "\x1b\x00\x00\x00\x00\x00", access: "write", six: true},
	{name: "START STOP UNIT", cdb: "\x1b\x00\x00\x00\x01\x00", six: true},
	{name: "START STOP UNIT", cdb: "\x1b\x00\x00\x00\x11\x00", access: "write", six: true},

	{name: "MODE SENSE(6)", access: "read", six: true},
	{name: "MODE SENSE(10)", access: "read", six: true},
	{name: "REPORT SUPPORTED OPERATION CODES", access: "read", six: true},
	{name: "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS", access: "read", six: true},
	{name: "READ(6)", access: "read", six: true},
	{name: "READ(10)", access: "read", six: true},
	{name: "READ(12)", access: "read", six: true},
	{name: "READ(16)", access: "read", six: true},
	{name: "VERIFY(10)", access: "read", six: true},
	{name: "VERIFY(12)", access: "read", six: true},
	{name: "VERIFY(16)", access: "read", six: true},
	{name: "PRE-FETCH(10)", access: "read", six: true},
	{name: "PRE-FETCH(16)", access: "read", six: true},
	{name: "READ DEFECT DATA(10)", access: "read", six: true},
	{name: "READ DEFECT DATA(12)", access: "read", six: true},
	{name: "GET LBA STATUS(16)", access: "read", six: true},
	{name: "RECEIVE COPY STATUS(LID1)"},
	{name: "RECEIVE COPY DATA(LID1)"},
	{name: "RECEIVE COPY OPERATING PARAMETERS"},
	{name: "RECEIVE COPY FAILURE DETAILS(LID1)"},

	{name: "WRITE(6)", access: "write", six: true},
	{name: "WRITE(10)", access: "write", six: true},
	{name: "WRITE(12)", access: "write", six: true},
	{name: "WRITE(16)", access: "write", six: true},
	{name: "WRITE AND VERIFY(10)", access: "write", six: true},
	{name: "WRITE AND VERIFY(12)", access: "write", six: true},
	{name: "WRITE AND VERIFY(16)", access: "write", six: true},
	{name: "WRITE ATOMIC(16)", access: "write", six: true},
	{name: "WRITE SAME(10)", access: "write", six: true},
	{name: "WRITE SAME(16)", access: "write", six: true},
	{name: "COMPARE AND WRITE", access: "write", six: true},
	{name: "ORWRITE(16)", access: "write", six: true},
	{name: "UNMAP", access: "write", six: true},
	{name: "SANITIZE(OVERWRITE)", access: "write", six: true},
	{name: "SANITIZE(BLOCK ERASE)", access: "write", six: true},
	{name: "SANITIZE(EXIT FAILURE MODE)", access: "write", six: true},
	{name: "EXTENDED COPY(LID1)", access: "write", six: true},
	{name: "SYNCHRONIZE CACHE(10)", access: "write", six: true},
	{name: "SYNCHRONIZE CACHE(16)", access: "write", six: true},
	{name: "MODE SELECT(6)", access: "write", six: true},
	{name: "MODE SELECT(10)", access: "write", six: true},
	{name: "SEND DIAGNOSTIC", access: "write", six: true},
	{name: "SET TARGET PORT GROUPS", access: "write", six: true},
	{name: "FENCE INSTANCES", cdb: "\xc1\x00"},
	{name: "FENCE EARLIER RUNS", cdb: "\xc1\x01"},
}

// byThemselves are the commands of the reservations: what stops them is not a
// class of access, and tested where they are.
func byThemselves(op scsi.OpCode) bool {
	switch op {
	case scsi.OpReserve6, scsi.OpRelease6, scsi.OpPersistReserveIn, scsi.OpPersistReserveOut:
		return true
	}
	return false
}

// counting counts the requests that reach a device.
type counting struct {
	dev block.Device
	n   atomic.Int64
}

func (c *counting) Info() block.Info { return c.dev.Info() }
func (c *counting) Close() error     { return c.dev.Close() }
func (c *counting) Submit(r *block.Request) {
	c.n.Add(1)
	c.dev.Submit(r)
}

func (c *counting) Status(off, n int64, limit int) ([]block.Extent, error) {
	c.n.Add(1)
	return c.dev.Status(off, n, limit)
}

// ruleCDB returns the CDB of a rule: by itself operation code and service action
// and, so that there is something to do, a length of 1 where the command has
// one.
func ruleCDB(r rule, c *command) (cdb []byte) {
	if r.cdb != "" {
		return []byte(r.cdb)
	}
	cdb = make([]byte, len(c.usage))
	cdb[0] = byte(c.op)
	if c.op.HasServiceAction() {
		cdb[1] = byte(c.sa)
	}
	if b := scsi.ParseBlocks(&scsi.CDB{byte(c.op)}); c.flags&changes != 0 && b.BlocksAt > 0 && c.op != scsi.OpUnmap && c.op != scsi.OpSanitize {
		var full scsi.CDB
		if made, err := (&scsi.Blocks{Blocks: 1}).CDB(c.op); err == nil {
			full = made
		}
		copy(cdb, full[:])
	}
	return cdb
}

func TestEveryCommandUnderEveryReservation(t *testing.T) {
	v := testVolume()
	v.Removable = true // so that the unit has every command there is
	inner, err := mem.New(mem.Options{Size: v.Size, BlockSize: v.BlockSize, PhysicalBlock: v.PhysicalBlock})
	if err != nil {
		t.Fatal(err)
	}
	dev := &counting{dev: inner}
	u := unitOver(t, v, dev, nil, UnitOptions{})
	tg := NewTarget("iqn.2026-11.test:target", TargetOptions{SetGroups: func(*Nexus, *Unit, []alua.Change) error { return nil }})
	tg.SetMap(map[san.LUN]MapEntry{0: {Unit: u}})
	holder, registrant, stranger := attach(t, tg, nexusName(1), ""), attach(t, tg, nexusName(2), ""), attach(t, tg, nexusName(3), "")

	commands := map[string]*command{}
	for _, c := range u.table.list {
		commands[c.name] = c
	}
	ruled := map[string]bool{}
	for _, r := range rules {
		ruled[r.name] = true
	}
	for _, c := range u.table.list {
		if !ruled[c.name] && !byThemselves(c.op) {
			t.Errorf("%s is in the table of commands; write down here which reservations stop it", c.name)
		}
	}
	for _, r := range rules {
		if c := commands[r.name]; c != nil && c.flags&changes != 0 && r.access != "write" {
			t.Errorf("%s changes the medium but its rule does not say so", r.name)
		}
	}

	// meet checks how the command of r from w fares with the reservations.
	meet := func(what string, w *wire, r rule, stopped bool) {
		t.Helper()
		c := commands[r.name]
		if c == nil {
			return
		}
		cdb := ruleCDB(r, c)
		task := w.newTask(cdb)
		task.itl, task.cmd = w.view.Load().at(0), c
		if got := owner(u).guard.conflicts(task); got != stopped {
			t.Errorf("%s, % x %s: stopped %v, want %v", what, cdb, r.name, got, stopped)
		}
		if !stopped {
			return
		}
		before := dev.n.Load()
		task = w.out(4096, cdb...)
		w.run(task, make([]byte, 4096)...)
		if task.Status != scsi.ReservationConflict {
			t.Errorf("%s, % x %s: %v, want RESERVATION CONFLICT", what, cdb, r.name, task.Status)
		}
		if dev.n.Load() != before {
			t.Errorf("%s, % x %s: reached the store", what, cdb, r.name)
		}
	}

	holder.mustPersist(pr.Register, 0, pr.Out{ActionKey: 1})
	registrant.mustPersist(pr.Register, 0, pr.Out{ActionKey: 2})
	for _, kind := range pr.Types() {
		holder.mustPersist(pr.Reserve, kind, pr.Out{Key: 1})
		exclusive := kind == pr.ExclusiveAccess || kind == pr.ExclusiveAccessRegistrantsOnly || kind == pr.ExclusiveAccessAllRegistrants
		alone := kind == pr.WriteExclusive || kind == pr.ExclusiveAccess
		for _, r := range rules {
			stops := r.access == "write" || r.access == "read" && exclusive
			meet(fmt.Sprintf("%v, holder", kind), holder, r, false)
			meet(fmt.Sprintf("%v, registrant", kind), registrant, r, stops && alone)
			meet(fmt.Sprintf("%v, stranger", kind), stranger, r, stops)
		}
		holder.mustPersist(pr.Release, kind, pr.Out{Key: 1})
		registrant.settle()
	}
	for _, r := range rules { // registrations alone stop nothing
		meet("registered, stranger", stranger, r, false)
	}
	holder.mustPersist(pr.Clear, 0, pr.Out{Key: 1})
	registrant.settle()

	wantGood(t, holder.run(holder.newTask(reserve6CDB)))
	for _, r := range rules {
		meet("RESERVE(6), holder", holder, r, false)
		meet("RESERVE(6), other", stranger, r, r.six)
	}
}

func TestPreemptAndAbortWaits(t *testing.T) {
	u := testUnit(t, nil, nil)
	h := holdCommands(u)
	tg := oneUnit(u)
	a, b, c := attach(t, tg, nexusName(1), ""), attach(t, tg, nexusName(2), ""), attach(t, tg, nexusName(3), "")
	a.mustPersist(pr.Register, 0, pr.Out{ActionKey: 1})
	b.mustPersist(pr.Register, 0, pr.Out{ActionKey: 2})
	c.mustPersist(pr.Register, 0, pr.Out{ActionKey: 3})
	a.mustPersist(pr.Reserve, pr.WriteExclusiveRegistrantsOnly, pr.Out{Key: 1})

	running, waiting, spared, own := a.hold(0, 1), a.hold(0, 1), c.hold(8, 1), b.hold(16, 1)
	a.Admit(running)
	c.Admit(spared)
	b.Admit(own)
	for range 3 {
		<-h.entered
	}
	a.Admit(waiting) // behind running: the same blocks

	list := (&pr.Out{Key: 2, ActionKey: 1}).Append(nil, pr.PreemptAndAbort)
	preempt := b.out(len(list), 0x5f, byte(pr.PreemptAndAbort), byte(pr.WriteExclusiveRegistrantsOnly), 0, 0, 0, 0, 0, byte(len(list)), 0)
	b.Admit(preempt)
	give(preempt, list)
	preempt.Ready()

	wantAborted(t, a.wait(waiting), true)
	// The reservation is b's already, but the answer waits for the task that can
	// still touch the medium.
	if r := c.reservation(); r == nil || r.Key != 2 {
		t.Errorf("reservation %+v", r)
	}
	if b.isDone(preempt) {
		t.Fatal("answered while a preempted task was executing")
	}
	h.letGo(running, nil)
	wantGood(t, b.wait(preempt))
	if !a.isDone(running) {
		t.Fatal("the preempted task was not aborted before the answer")
	}
	wantAborted(t, running, true)
	wantConflict(t, a.run(a.hold(0, 1)))
	h.letGo(spared, nil)
	h.letGo(own, nil)
	wantGood(t, c.wait(spared))
	wantGood(t, b.wait(own))
	wantPending(t, a, scsi.ASCRegistrationsPreempted)
}
