package lun

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"sango/internal/scsi"
)

// setModel says by the rules, from the whole history, which tasks may execute
// together; taskSet must agree with it in every order of events.
type setModel struct {
	set   taskSet
	order []*Task // tasks that have not started, as they are to start where it matters
	live  []*Task // started, not ended
}

func conflict(a, b *Task) bool {
	if a.lock == lockNone || b.lock == lockNone || a.end <= b.off || b.end <= a.off {
		return false
	}
	return a.lock == lockExclusive || b.lock == lockExclusive || a.lock == lockWrite && b.lock == lockWrite
}

func (m *setModel) check(t *rapid.T) {
	for i, a := range m.live {
		for _, b := range m.live[:i] {
			if conflict(a, b) {
				t.Fatalf("tasks %d and %d execute together on the same range", a.Tag, b.Tag)
			}
			if a.Attr == scsi.Ordered || b.Attr == scsi.Ordered {
				if a.Attr != scsi.HeadOfQueue && b.Attr != scsi.HeadOfQueue {
					t.Fatalf("ordered task executes together with another: %d, %d", a.Tag, b.Tag)
				}
			}
		}
	}
	// What waits must have a reason: a task before it, or one that executes.
	for i, d := range m.order {
		reason := false
		for _, l := range m.live {
			reason = reason || conflict(d, l) || d.Attr != scsi.HeadOfQueue &&
				(l.Attr == scsi.HeadOfQueue || d.Attr == scsi.Ordered || l.Attr == scsi.Ordered)
		}
		for _, before := range m.order[:i] {
			reason = reason || conflict(d, before) || d.Attr != scsi.HeadOfQueue &&
				(before.Attr == scsi.HeadOfQueue || d.Attr == scsi.Ordered || before.Attr == scsi.Ordered)
		}
		if !reason {
			t.Fatalf("task %d waits for nothing", d.Tag)
		}
	}
}

// mayStart fails if a task that goes before d has not even started.
func (m *setModel) mayStart(t *rapid.T, d *Task, before []*Task) {
	for _, b := range before {
		if conflict(d, b) || d.Attr != scsi.HeadOfQueue && (b.Attr == scsi.HeadOfQueue || d.Attr == scsi.Ordered || b.Attr == scsi.Ordered) {
			t.Fatalf("task %d overtakes task %d", d.Tag, b.Tag)
		}
	}
}

// started takes next off the waiting ones.
func (m *setModel) started(t *rapid.T, next *Task) {
	for ; next != nil; next = next.qnext {
		i := slices.Index(m.order, next)
		if i < 0 {
			t.Fatalf("task %d starts, but does not wait", next.Tag)
		}
		m.mayStart(t, next, m.order[:i])
		m.order = slices.Delete(m.order, i, i+1)
		m.live = append(m.live, next)
	}
}

func TestTaskSetModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &setModel{}
		tag := uint32(0)
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			switch k := rapid.IntRange(0, 9).Draw(t, "step"); {
			case k < 5:
				tag++
				task := &Task{Tag: tag, Attr: rapid.SampledFrom([]scsi.TaskAttr{
					scsi.Simple, scsi.Simple, scsi.Simple, scsi.Ordered, scsi.HeadOfQueue,
				}).Draw(t, "attr")}
				mode := lockMode(rapid.IntRange(0, 3).Draw(t, "lock"))
				unit := rapid.SampledFrom([]int64{512, 1 << stripeShift, 1 << 30}).Draw(t, "unit")
				off := rapid.Int64Range(0, 4).Draw(t, "off") * unit
				task.span(mode, off, rapid.Int64Range(1, 3).Draw(t, "len")*unit)
				if m.set.enter(task) {
					if task.Attr != scsi.HeadOfQueue {
						m.mayStart(t, task, m.order)
					}
					m.live = append(m.live, task)
				} else if task.Attr == scsi.HeadOfQueue {
					m.order = slices.Insert(m.order, 0, task)
				} else {
					m.order = append(m.order, task)
				}
			case k < 8 && len(m.live) > 0:
				i := rapid.IntRange(0, len(m.live)-1).Draw(t, "end")
				task := m.live[i]
				m.live = slices.Delete(m.live, i, i+1)
				m.started(t, m.set.leave(task))
			case k == 8 && len(m.order) > 0:
				i := rapid.IntRange(0, len(m.order)-1).Draw(t, "withdraw")
				task := m.order[i]
				m.order = slices.Delete(m.order, i, i+1)
				next, ok := m.set.withdraw(task)
				if !ok {
					t.Fatal("a waiting task cannot be withdrawn")
				}
				m.started(t, next)
			}
			m.check(t)
		}
		for len(m.live) > 0 {
			task := m.live[0]
			m.live = m.live[1:]
			m.started(t, m.set.leave(task))
		}
		if len(m.order) > 0 || m.set.dormant.first != nil || m.set.started.first != nil {
			t.Fatalf("%d tasks never start", len(m.order))
		}
		if m.set.ordered|m.set.head|m.set.exclusive|m.set.wide != 0 || m.set.stripes != [stripes]uint16{} {
			t.Fatal("the filters do not return to zero")
		}
	})
}

// Overlapping changes start in the order in which they came.
func TestOverlappingWritesKeepOrder(t *testing.T) {
	var s taskSet
	var tasks []*Task
	for i := range 5 {
		task := &Task{Tag: uint32(i), Attr: scsi.Simple}
		task.span(lockWrite, 0, 4096)
		if started := s.enter(task); started != (i == 0) {
			t.Fatalf("task %d: started %v", i, started)
		}
		tasks = append(tasks, task)
	}
	read := &Task{Attr: scsi.Simple}
	read.span(lockRead, 0, 4096)
	if !s.enter(read) {
		t.Error("a read waits for a write")
	}
	for i := range 4 {
		if next := s.leave(tasks[i]); next != tasks[i+1] || next.qnext != nil {
			t.Fatalf("after task %d: %v starts", i, next)
		}
	}
}

func BenchmarkTaskSet(b *testing.B) {
	for _, depth := range []int{1, 32, 256} {
		b.Run(fmt.Sprintf("op=write/tasks=%d", depth), func(b *testing.B) {
			var s taskSet
			tasks := make([]Task, depth)
			for i := range tasks {
				tasks[i].Attr = scsi.Simple
				tasks[i].span(lockWrite, int64(i)*977*4096, 4096)
				s.enter(&tasks[i])
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				t := &tasks[i%depth]
				s.leave(t)
				s.enter(t)
			}
		})
	}
}
