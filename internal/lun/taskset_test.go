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
	switch {
	case a.lock == lockExclusive || b.lock == lockExclusive:
		return true
	case a.lock == lockWrite:
		return b.lock == lockWrite || b.lock == lockRead
	case b.lock == lockWrite:
		return a.lock == lockRead
	}
	return false
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
				mode := lockMode(rapid.IntRange(0, int(lockExclusive)).Draw(t, "lock"))
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
				next, ok, _ := m.set.withdraw(task)
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
		if left := m.set.counts(); left != "" {
			t.Fatal(left)
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
	look := &Task{Attr: scsi.Simple}
	look.span(lockShared, 0, 4096)
	if !s.enter(look) {
		t.Error("what tells nobody what it reads waits for a write")
	}
	read := &Task{Attr: scsi.Simple}
	read.span(lockRead, 0, 4096)
	if s.enter(read) {
		t.Error("a read does not wait for the writes before it")
	}
	last := &Task{Attr: scsi.Simple}
	last.span(lockWrite, 0, 4096)
	if s.enter(last) {
		t.Error("a write does not wait for the read before it")
	}
	tasks = append(tasks, read, last)
	for i := range 6 {
		if next := s.leave(tasks[i]); next != tasks[i+1] || next.qnext != nil {
			t.Fatalf("after task %d: %v starts", i, next)
		}
	}
}

// counts tells what a set that is empty still counts, "" if nothing.
func (s *taskSet) counts() string {
	if s.ordered|s.head|s.exclusive|s.wide|s.wideReads != 0 || s.stripes != [stripes]stripe{} {
		return fmt.Sprintf("counts are left: %d ORDERED, %d HEAD OF QUEUE, %d exclusive, %d wide, %d wide reads", s.ordered, s.head, s.exclusive, s.wide, s.wideReads)
	}
	return ""
}

func BenchmarkTaskSet(b *testing.B) {
	for _, mode := range []lockMode{lockRead, lockWrite} {
		for _, depth := range []int{1, 32, 256} {
			op := map[lockMode]string{lockRead: "read", lockWrite: "write"}[mode]
			b.Run(fmt.Sprintf("op=%s/tasks=%d", op, depth), func(b *testing.B) {
				var s taskSet
				tasks := make([]Task, depth)
				for i := range tasks {
					tasks[i].Attr = scsi.Simple
					tasks[i].span(mode, int64(i)*977*4096, 4096)
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
}
