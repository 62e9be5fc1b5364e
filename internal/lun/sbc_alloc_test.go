package lun

import (
	"testing"
	"time"

	"sango/internal/block"
	"sango/internal/block/blocktest"
	"sango/internal/block/mem"
	"sango/internal/bufpool"
	"sango/internal/scsi"
	"sango/internal/scsi/pr"
)

// ender is a Transport that looks at the outcome and forgets it.
type ender struct {
	done   int
	status scsi.Status
}

func (e *ender) TaskDone(t *Task) { e.done++; e.status = t.Status }
func (e *ender) Drop(string)      {}

// steadyState is what a command meets.
type steadyState struct {
	op       scsi.OpCode
	size     int  // bytes
	memory   bool // the unit is in memory; else over a device that does nothing
	tasks    int  // writes in execution elsewhere on the unit; not with memory
	reserved bool // another nexus holds a reservation, for registrants only
	shared   bool // the unit is one of a cluster: it has an epoch and a right
}

// start returns a function that runs the same command again and again on one
// task, as a transport does that pools its tasks.
func (s steadyState) start(t testing.TB) func() {
	t.Helper()
	v := testVolume()
	null := blocktest.NewNull(v.Size)
	var dev block.Device = null
	if s.memory {
		m, err := mem.New(mem.Options{Size: v.Size, PhysicalBlock: v.PhysicalBlock})
		if err != nil {
			t.Fatal(err)
		}
		if err := block.WriteAt(m, make([]byte, 1<<20), 0, 0); err != nil {
			t.Fatal(err)
		}
		dev = m
	}
	var u *Unit
	if s.shared {
		until := time.Now().Add(time.Hour)
		u = localUnit(t, v, dev, nil, UnitOptions{Shared: true, Right: func() bool { return time.Now().Before(until) }})
		if err := u.Serve(5); err != nil {
			t.Fatal(err)
		}
	} else {
		u = unitOver(t, v, dev, nil, UnitOptions{})
	}
	tg := oneUnit(u)
	if s.reserved {
		other, self := attach(t, tg, nexusName(2), ""), attach(t, tg, nexusName(1), "")
		self.mustPersist(pr.Register, 0, pr.Out{ActionKey: 1})
		other.mustPersist(pr.Register, 0, pr.Out{ActionKey: 2})
		other.mustPersist(pr.Reserve, pr.ExclusiveAccessRegistrantsOnly, pr.Out{Key: 2})
		self.Detach() // its registration stays
	}
	e := &ender{}
	n, err := tg.Attach(nexusName(1), "", e)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Detach)
	for _, i := range n.view.Load().all {
		for ok := true; ok; _, ok = i.attn.take() {
		}
	}
	blocks := scsi.Blocks{LBA: 800, Blocks: uint32(s.size / 512)}
	var cdb scsi.CDB
	if s.op != scsi.OpTestUnitReady {
		if cdb, err = blocks.CDB(s.op); err != nil {
			t.Fatal(err)
		}
	}
	once := func(task *Task, cdb scsi.CDB) {
		task.CDB, task.Attr = cdb, scsi.Simple
		task.Write = scsi.OpCode(cdb[0]) == scsi.OpWrite10
		task.Read = scsi.OpCode(cdb[0]) == scsi.OpRead10
		if task.Read || task.Write {
			task.Expected = uint32(s.size)
		}
		was := e.done
		n.Admit(task)
		if e.done == was && task.OutLen > 0 {
			for have := 0; have < task.OutLen; {
				b := bufpool.Get(min(task.OutLen-have, bufpool.MaxPooled))
				task.Out.Append(b)
				have += len(b.B)
			}
			task.Ready()
		}
	}
	null.Hold = true
	for i := range s.tasks {
		other := scsi.Blocks{LBA: scsi.LBA(10000 + 977*i), Blocks: uint32(s.size / 512)}
		c, err := other.CDB(scsi.OpWrite10)
		if err != nil {
			t.Fatal(err)
		}
		once(&Task{Tag: uint32(i + 1)}, c)
	}
	if null.Held() != s.tasks {
		t.Fatalf("%d tasks in execution, want %d", null.Held(), s.tasks)
	}
	t.Cleanup(null.Release)
	null.Hold = false
	task := &Task{}
	return func() {
		was := e.done
		once(task, cdb)
		if e.done != was+1 || e.status != scsi.Good {
			t.Fatalf("done %d times, status %v", e.done-was, e.status)
		}
		task.Reset()
	}
}

func TestCommandsDoNotAllocate(t *testing.T) {
	if throughRelay { // a relay may
		return
	}
	for _, op := range []scsi.OpCode{scsi.OpTestUnitReady, scsi.OpRead10, scsi.OpWrite10} {
		for _, s := range []steadyState{
			{memory: true},
			{},
			{tasks: 32},
			{reserved: true},
			{shared: true},
		} {
			s.op, s.size = op, 4096
			run := s.start(t)
			run()
			if n := testing.AllocsPerRun(200, run); n >= 1 {
				t.Errorf("%+v: %v allocations", s, n)
			}
		}
	}
}
