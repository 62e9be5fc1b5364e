package lun

import (
	"bytes"
	"sync"
	"testing"

	"sango/internal/block"
	"sango/internal/san"
	"sango/internal/scsi"
)

// inject gives u one more command, for a test.
func inject(u *Unit, c command) {
	c.seal()
	for _, u := range []*Unit{u, owner(u)} {
		own := *u.table // others share it
		own.ops[c.op] = &opEntry{cmd: &c}
		u.table = &own
	}
}

const (
	opHold  = 0xc0 // executes until it is let go; byte 2: LBA, byte 3: blocks, byte 4: need data-out
	opRead  = 0xc2 // reads one 4 KiB block at byte 2
	opWrite = 0xc3 // writes one
)

// holds are commands in execution.
type holds struct {
	entered chan *Task
	mu      sync.Mutex
	gates   map[*Task]chan error
}

func holdCommands(u *Unit) *holds {
	h := &holds{entered: make(chan *Task, 1024), gates: map[*Task]chan error{}}
	inject(u, command{
		op: opHold, name: "HOLD", usage: "\xc0\x00\xff\xff\xff\x00\x00\x00\x00\x00", access: accessWrite, flags: changes,
		parse: func(t *Task) error {
			t.need = int(t.CDB[4])
			t.span(lockWrite, int64(t.CDB[2])*512, int64(t.CDB[3])*512)
			return nil
		},
		run: func(t *Task) error {
			gate := make(chan error)
			h.mu.Lock()
			h.gates[origin(t)] = gate
			h.mu.Unlock()
			h.entered <- origin(t)
			return <-gate
		},
	})
	return h
}

// letGo ends the execution of t with err.
func (h *holds) letGo(t *Task, err error) {
	h.mu.Lock()
	gate := h.gates[t]
	delete(h.gates, t)
	h.mu.Unlock()
	gate <- err
}

func (w *wire) hold(lba, blocks byte) *Task { return w.newTask([]byte{opHold, 0, lba, blocks}) }

func ioCommands(u *Unit) {
	parse := func(mode lockMode, need int) func(t *Task) error {
		return func(t *Task) error {
			t.need = need
			t.span(mode, int64(t.CDB[2])*4096, 4096)
			return nil
		}
	}
	inject(u, command{
		op: opRead, name: "TEST READ", usage: "\xc1\x00\xff\x00\x00\x00\x00\x00\x00\x00", access: accessRead, flags: fast,
		parse: parse(lockRead, 0),
		run: func(t *Task) error {
			t.In.Release()
			t.In.Grow(min(4096, t.room()))
			t.Want = 4096
			return t.start(block.OpRead, 0, t.off, int64(t.In.Len()), t.In.Vec())
		},
	})
	inject(u, command{
		op: opWrite, name: "TEST WRITE", usage: "\xc2\x00\xff\x00\x00\x00\x00\x00\x00\x00", access: accessWrite, flags: fast | changes,
		parse: parse(lockWrite, 4096),
		run:   func(t *Task) error { return t.start(block.OpWrite, 0, t.off, 4096, t.Out.Vec()) },
	})
}

func TestReadAndWrite(t *testing.T) {
	u := testUnit(t, nil, nil)
	ioCommands(u)
	w := attach(t, oneUnit(u), nexusName(1), "")
	data := bytes.Repeat([]byte("sango"), 1000)[:4096]
	task := w.out(4096, opWrite, 0, 3)
	w.Admit(task)
	if task.OutLen != 4096 {
		t.Fatalf("OutLen = %d", task.OutLen)
	}
	give(task, data)
	task.Ready()
	wantGood(t, w.wait(task))
	if task.Want != 4096 {
		t.Errorf("Want = %d", task.Want)
	}
	task.Reset()
	task = w.in(4096, opRead, 0, 3)
	wantGood(t, w.run(task))
	if !bytes.Equal(bytesIn(task), data) {
		t.Error("other data came back")
	}
	task.Reset()
}

func TestRefusals(t *testing.T) {
	u := testUnit(t, nil, nil)
	w := attach(t, oneUnit(u), nexusName(1), "")
	wantSense(t, w.run(w.newTask([]byte{0xff})), scsi.IllegalRequest, scsi.ASCInvalidOpCode)
	task := w.run(w.newTask([]byte{0, 0, 0, 0x10, 0, 0}))
	wantSense(t, task, scsi.IllegalRequest, scsi.ASCInvalidFieldInCDB)
	if want := []byte{0xcc, 0, 3}; !bytes.Equal(task.Sense[15:18], want) {
		t.Errorf("field pointer % x, want % x", task.Sense[15:18], want)
	}
	wantSense(t, w.run(w.newTask([]byte{0, 0, 0, 0, 0, 4})), scsi.IllegalRequest, scsi.ASCInvalidFieldInCDB) // NACA
	task = w.newTask(testUnitReady)
	task.Attr = scsi.ACA
	wantSense(t, w.run(task), scsi.IllegalRequest, scsi.ASCInvalidMessage)
	task = w.run(w.newTask([]byte{0xa3, 0x1f}))
	wantSense(t, task, scsi.IllegalRequest, scsi.ASCInvalidFieldInCDB)
	for _, l := range [][8]byte{{0, 1}, {0xc1, 1}, {0x80}, {0, 0, 0, 1}} {
		task := w.newTask(testUnitReady)
		task.LUN = l
		wantSense(t, w.run(task), scsi.IllegalRequest, scsi.ASCLUNotSupported)
	}
}

func TestAbsentLUNAnswers(t *testing.T) {
	u := testUnit(t, nil, nil)
	w := attach(t, oneUnit(u), nexusName(1), "")
	at := func(task *Task) *Task {
		task.LUN = san.LUN(7).Field()
		return w.run(task)
	}
	task := at(w.in(255, 0x12, 0, 0, 0, 255, 0))
	wantGood(t, task)
	if d := bytesIn(task); len(d) < 36 || d[0] != 0x7f {
		t.Errorf("INQUIRY: % x", d)
	}
	task = at(w.in(255, 3, 0, 0, 0, 18, 0))
	wantGood(t, task)
	if d := bytesIn(task); len(d) != 18 || d[2] != 5 || d[12] != 0x25 {
		t.Errorf("REQUEST SENSE: % x", d)
	}
	task = at(w.in(255, 0xa0, 0, 1, 0, 0, 0, 0, 0, 0, 255, 0, 0))
	wantGood(t, task)
	if d := bytesIn(task); len(d) != 8 || d[3] != 0 {
		t.Errorf("REPORT LUNS of well known units: % x", d)
	}
	wantSense(t, at(w.in(255, 0x12, 1, 0x83, 0, 255, 0)), scsi.IllegalRequest, scsi.ASCInvalidFieldInCDB)
}

func TestLimits(t *testing.T) {
	u := testUnit(t, nil, func(_ *san.Volume, o *UnitOptions) { o.Tasks, o.TasksPerNexus, o.Workers = 3, 2, 4 })
	h := holdCommands(u)
	tg := oneUnit(u)
	w1, w2 := attach(t, tg, nexusName(1), ""), attach(t, tg, nexusName(2), "")
	var held []*Task
	for _, w := range []*wire{w1, w1, w2} {
		task := w.hold(0, 0)
		w.Admit(task)
		held = append(held, <-h.entered)
	}
	if task := w1.tur(); task.Status != scsi.TaskSetFull {
		t.Errorf("past the limit of the nexus: %v", task.Status)
	}
	if task := w2.tur(); task.Status != scsi.Busy {
		t.Errorf("past the limit of the unit: %v", task.Status)
	}
	for _, task := range held {
		h.letGo(task, nil)
	}
	for _, task := range held {
		map[bool]*wire{true: w1, false: w2}[task.nexus == w1.Nexus].wait(task)
	}
	wantGood(t, w1.tur())
	wantGood(t, w2.tur())
}

// An ORDERED task waits for the data of an older one of its nexus, but not for
// that of another nexus.
func TestSilentPeerHoldsUpNobodyElse(t *testing.T) {
	u := testUnit(t, nil, nil)
	ioCommands(u)
	tg := oneUnit(u)
	w1, w2 := attach(t, tg, nexusName(1), ""), attach(t, tg, nexusName(2), "")
	silent := w1.out(4096, opWrite, 0, 3)
	w1.Admit(silent)
	ordered := w1.newTask(testUnitReady)
	ordered.Attr = scsi.Ordered
	w1.Admit(ordered)
	behind := w1.newTask(testUnitReady)
	w1.Admit(behind)
	head := w1.newTask(testUnitReady)
	head.Attr = scsi.HeadOfQueue
	w1.Admit(head)
	wantGood(t, w1.wait(head))
	if w1.isDone(ordered) || w1.isDone(behind) {
		t.Fatal("an ordered task overtook an older one")
	}

	same := w2.out(4096, opWrite, 0, 3)
	wantGood(t, w2.run(same, make([]byte, 4096)...))
	strict := w2.newTask(testUnitReady)
	strict.Attr = scsi.Ordered
	wantGood(t, w2.run(strict))

	give(silent, make([]byte, 4096))
	silent.Ready()
	wantGood(t, w1.wait(silent))
	wantGood(t, w1.wait(behind))
	if !w1.isDone(ordered) {
		t.Error("the ordered task is not done")
	}
}

func TestFailEndsWithItsSense(t *testing.T) {
	u := testUnit(t, nil, nil)
	ioCommands(u)
	w := attach(t, oneUnit(u), nexusName(1), "")
	task := w.out(4096, opWrite, 0, 3)
	w.Admit(task)
	task.Fail(scsi.Check(scsi.AbortedCommand, scsi.ASCProtocolServiceCRC))
	wantSense(t, w.wait(task), scsi.AbortedCommand, scsi.ASCProtocolServiceCRC)
	task.Ready()
	task.Fail(scsi.Check(scsi.AbortedCommand, scsi.ASCProtocolServiceCRC))
	wantGood(t, w.tur())
}

func TestUnmappedUnitEndsItsTasks(t *testing.T) {
	u := testUnit(t, nil, nil)
	h := holdCommands(u)
	tg := oneUnit(u)
	w := attach(t, tg, nexusName(1), "")
	running, waiting := w.hold(0, 1), w.hold(0, 1)
	gathering := w.out(16, opHold, 0, 9, 1, 16)
	w.Admit(running)
	<-h.entered
	w.Admit(waiting)
	w.Admit(gathering)
	gone := make(chan struct{})
	go func() {
		tg.SetMap(nil)
		close(gone)
	}()
	wantSense(t, w.wait(waiting), scsi.IllegalRequest, scsi.ASCLUNotSupported)
	select {
	case <-gone:
		t.Fatal("SetMap returns while a command may touch the medium")
	default:
	}
	h.letGo(running, nil)
	wantGood(t, w.wait(running))
	<-gone
	give(gathering, make([]byte, 16))
	gathering.Ready()
	wantSense(t, w.wait(gathering), scsi.IllegalRequest, scsi.ASCLUNotSupported)
}

func TestNoAllocationPerCommand(t *testing.T) {
	if throughRelay { // a relay may
		return
	}
	u := testUnit(t, nil, nil)
	ioCommands(u)
	tr := &bareTransport{}
	n, err := oneUnit(u).Attach(nexusName(1), "", tr)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Detach()
	n.view.Load().at(0).attn.take()
	task := &Task{}
	buf := make([]byte, 4096)
	for name, once := range map[string]func(){
		"read": func() {
			task.CDB[0], task.Read, task.Expected, task.Attr = opRead, true, 4096, scsi.Simple
			n.Admit(task)
			task.Reset()
		},
		"write": func() {
			task.CDB[0], task.Write, task.Expected, task.Attr = opWrite, true, 4096, scsi.Simple
			n.Admit(task)
			give(task, buf)
			task.Ready()
			task.Reset()
		},
		"test unit ready": func() {
			task.Attr = scsi.Simple
			n.Admit(task)
			task.Reset()
		},
	} {
		if allocs := testing.AllocsPerRun(1000, once); allocs > 0 {
			t.Errorf("%s: %v allocations per command", name, allocs)
		}
		if tr.done == 0 {
			t.Errorf("%s: nothing was done", name)
		}
		tr.done = 0
	}
}

// bareTransport counts what is done, on one goroutine.
type bareTransport struct {
	done   int
	status scsi.Status
}

func (b *bareTransport) TaskDone(t *Task) {
	b.done++
	b.status |= t.Status
}
func (b *bareTransport) Drop(string) {}
