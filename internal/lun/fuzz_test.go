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
