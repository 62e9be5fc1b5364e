package lun

import (
	"testing"

	"sango/internal/bufpool"
	"sango/internal/scsi"
)

// ender is a Transport that looks at the outcome and forgets it.
type ender struct {
	done   int
	status scsi.Status
}

func (e *ender) TaskDone(t *Task) { e.done++; e.status = t.Status }
func (e *ender) Drop(string)      {}

// steady returns a function that runs the same command again and again on one
// task, as a transport does that pools its tasks.
func steady(t testing.TB, op scsi.OpCode, b scsi.Blocks) func() {
	t.Helper()
	u := testUnit(t, nil, nil)
	e := &ender{}
	n, err := oneUnit(u).Attach(nexusName(1), "", e)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Detach)
	for _, i := range n.view.Load().all {
		for ok := true; ok; _, ok = i.attn.take() {
		}
	}
	cdb, err := b.CDB(op)
	if err != nil {
		t.Fatal(err)
	}
	size := int(b.Blocks) * 512
	task := &Task{}
	return func() {
		task.CDB, task.Attr, task.Expected = cdb, scsi.Simple, uint32(size)
		task.Write = op == scsi.OpWrite10
		task.Read = !task.Write
		was := e.done
		n.Admit(task)
		if e.done == was && task.OutLen > 0 {
			task.Out.Append(bufpool.Get(task.OutLen))
			task.Ready()
		}
		if e.done != was+1 || e.status != scsi.Good {
			t.Fatalf("done %d times, status %v", e.done-was, e.status)
		}
		task.Reset()
	}
}

func TestReadAndWriteDoNotAllocate(t *testing.T) {
	for _, op := range []scsi.OpCode{scsi.OpRead10, scsi.OpWrite10} {
		run := steady(t, op, scsi.Blocks{LBA: 800, Blocks: 8})
		run()
		if n := testing.AllocsPerRun(200, run); n >= 1 {
			t.Errorf("%v: %v allocations", op, n)
		}
	}
}

func BenchmarkReadCommand4K(b *testing.B)  { benchCommand(b, scsi.OpRead10) }
func BenchmarkWriteCommand4K(b *testing.B) { benchCommand(b, scsi.OpWrite10) }

func benchCommand(b *testing.B, op scsi.OpCode) {
	run := steady(b, op, scsi.Blocks{LBA: 800, Blocks: 8})
	b.SetBytes(4096)
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
}
