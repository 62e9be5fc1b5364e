package lun

import (
	"testing"

	"sango/internal/scsi"
)

// A command of the front that waits for others when the door is shut is
// executed at the front, before anybody serves the volume again.
func TestFrontCommandsStay(t *testing.T) {
	commands := map[string][]byte{
		"INQUIRY":     {0x12, 0, 0, 0, 36, 0},
		"device id":   {0x12, 1, 0x83, 0, 255, 0},
		"REPORT LUNS": {0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0},
		"RTPG":        {0xa3, 0x0a, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0},
	}
	for before, attr := range map[string]scsi.TaskAttr{"ORDERED": scsi.Ordered, "HEAD OF QUEUE": scsi.HeadOfQueue} {
		for name, cdb := range commands {
			t.Run(name+" behind "+before, func(t *testing.T) {
				g := newGang(t, 2, nil)
				g.serve(0)
				u := g.gates[0].unit
				h := holdCommands(u)
				inject(g.gates[1].unit, *u.table.lookup(opHold, 0))
				w := g.attach(0, 1)
				first := w.hold(0, 1)
				first.Attr = attr
				w.Admit(first)
				<-h.entered
				task, write := w.in(255, cdb...), w.put(1, 0x11)
				w.Admit(task)
				wantWaiting(t, w, task, write)
				drained := make(chan struct{})
				u.Hold(func() { close(drained) })
				wantGood(t, w.wait(task))
				wantWaiting(t, w, write)
				h.letGo(first, nil)
				<-drained
				u.Release()
				g.gates[0].slot.epoch.Store(0)
				g.disc.open.Store(0)
				g.owner = -1
				g.serve(1)
				wantGood(t, w.wait(write))
			})
		}
	}
}

// Another gateway can't have the owner execute what belongs to the front: it
// has neither target nor session.
func TestOwnerRefusesFrontCommands(t *testing.T) {
	g := newGang(t, 1, nil)
	g.serve(0)
	u := g.gates[0].unit
	d := join(t, u, g.epoch, 1, true)
	n := 0
	for _, c := range u.table.list {
		if c.flags&(atFront|explicit|fences|apart) == 0 {
			continue
		}
		n++
		cdb := make([]byte, len(c.usage))
		cdb[0] = byte(c.op)
		if c.op.HasServiceAction() {
			cdb[1] = byte(c.sa)
		}
		for _, data := range [][]byte{nil, make([]byte, 24)} {
			wantSense(t, d.wait(d.send(g.epoch, AskExecute, data, cdb...)), scsi.IllegalRequest, scsi.ASCInvalidOpCode)
		}
	}
	if n < 8 {
		t.Errorf("%d commands of the front", n)
	}
}

// What the owner is asked may be asked again. What the front executes after that
// must not come late where it changes something.
func TestQuestionsAreNotTimeless(t *testing.T) {
	g := newGang(t, 1, nil)
	asked := 0
	for _, c := range g.gates[0].unit.table.list {
		if c.ask == AskExecute {
			continue
		}
		asked++
		task := Task{}
		task.cmd = c
		if !task.Repeatable() {
			t.Errorf("%v: a question is not to be repeated", c)
		}
		if task.Timeless() != (c.access <= accessRead) {
			t.Errorf("%v: timeless: %v", c, task.Timeless())
		}
	}
	if asked < 3 {
		t.Errorf("%d commands ask the owner first", asked)
	}
}
