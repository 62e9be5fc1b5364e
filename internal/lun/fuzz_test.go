package lun

import (
	"io"
	"log/slog"
	"testing"

	"sango/internal/san"
	"sango/internal/scsi"
)

// FuzzCommand sends any CDB with any data: each command ends exactly once,
// with data-in that the host asked for and sense data that can be read.
func FuzzCommand(f *testing.F) {
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	seed := testUnit(f, nil, func(v *san.Volume, o *UnitOptions) { v.Removable, v.Size, o.Logger = true, 1<<20, quiet })
	for _, c := range seed.table.list {
		cdb := make([]byte, len(c.usage))
		cdb[0] = byte(c.op)
		if c.op.HasServiceAction() {
			cdb[1] = byte(c.sa)
		}
		f.Add(cdb, []byte{}, uint16(0), uint8(scsi.Simple), true)
		for i := 2; i < len(cdb)-1; i++ {
			cdb[i] = c.usage[i] & 0x11
		}
		f.Add(cdb, make([]byte, 64), uint16(64), uint8(scsi.Ordered), false)
		f.Add(cdb, []byte{}, uint16(512), uint8(scsi.HeadOfQueue), true)
	}
	f.Fuzz(func(t *testing.T, cdb, data []byte, expected uint16, attr uint8, read bool) {
		u := testUnit(t, nil, func(v *san.Volume, o *UnitOptions) { v.Removable, v.Size, o.Logger = true, 1<<20, quiet })
		w := attach(t, oneUnit(u), nexusName(1), "")
		for range 2 { // the second meets what the first has changed
			task := w.newTask(cdb[:min(len(cdb), 16)])
			task.Attr, task.Expected, task.Read, task.Write = scsi.TaskAttr(attr&7), uint32(expected), read, !read
			w.Admit(task)
			if n := task.OutLen; !w.isDone(task) && n > 0 {
				if n > int(expected) {
					t.Fatalf("%d bytes of data-out asked for, %d offered", n, expected)
				}
				give(task, append(append([]byte(nil), data[:min(len(data), n)]...), make([]byte, n)...))
				task.Ready()
			}
			w.wait(task)
			if got := task.In.Len(); got > int(expected) || got > 0 && !read {
				t.Errorf("%d bytes of data-in, %d expected", got, expected)
			}
			if k, _ := sense(task); (task.Status == scsi.CheckConditionStatus) != (k != 0) {
				t.Errorf("status %v with sense % x", task.Status, task.Sense)
			}
			task.Reset()
		}
	})
}

// FuzzRemoteCommand has another gateway forward anything: whatever it is, it
// ends exactly once, with data-in that was asked for, and the owner stands.
func FuzzRemoteCommand(f *testing.F) {
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	seed := testUnit(f, nil, func(v *san.Volume, o *UnitOptions) { v.Removable, v.Size, o.Logger = true, 1<<20, quiet })
	for _, c := range seed.table.list {
		cdb := make([]byte, len(c.usage))
		cdb[0] = byte(c.op)
		if c.op.HasServiceAction() {
			cdb[1] = byte(c.sa)
		}
		f.Add(cdb, []byte{}, uint16(255), uint8(scsi.Simple), uint8(AskExecute), uint8(5), true)
		f.Add(cdb, make([]byte, 24), uint16(24), uint8(scsi.Simple), uint8(AskExecute), uint8(5), false)
		for i := 2; i < len(cdb)-1; i++ {
			cdb[i] = c.usage[i] & 0x11
		}
		f.Add(cdb, make([]byte, 64), uint16(64), uint8(scsi.Ordered), uint8(AskAllowed), uint8(5), false)
		f.Add(cdb, make([]byte, 64), uint16(512), uint8(scsi.HeadOfQueue), uint8(AskExecute), uint8(6), true)
	}
	f.Fuzz(func(t *testing.T, cdb, data []byte, expected uint16, attr, ask, epoch uint8, read bool) {
		v := testVolume()
		v.Removable, v.Size = true, 1<<20
		u := localUnit(t, v, memDevice(t, v), nil, UnitOptions{Shared: true, Logger: quiet})
		if err := u.Serve(5); err != nil {
			t.Fatal(err)
		}
		d := join(t, u, 5, 1, true)
		for range 2 { // the second meets what the first has changed
			task := d.newTask(cdb[:min(len(cdb), 16)])
			task.Attr, task.Expected, task.Read, task.Write = scsi.TaskAttr(attr), uint32(expected), read, !read
			task.Ask, task.Epoch, task.Call = Ask(ask), san.Epoch(epoch), uint64(task.Tag)
			fill(&task.Out, [][]byte{data})
			d.Remote.Admit(task)
			switch {
			case epoch > 5: // it waits for that ownership
				d.Cancel(task.Call)
			case epoch&1 == 0:
				d.Hasten(task.Call)
			}
			d.wait(task)
			if got := task.In.Len(); got > int(expected) || got > 0 && !read {
				t.Errorf("%d bytes of data-in, %d expected", got, expected)
			}
			task.Reset()
		}
	})
}
