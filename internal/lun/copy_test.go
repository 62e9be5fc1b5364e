package lun

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"strconv"
	"testing"

	"sango/internal/block"
	"sango/internal/block/layer/delay"
	"sango/internal/block/layer/fault"
	"sango/internal/block/mem"
	"sango/internal/san"
	"sango/internal/scsi"
	"sango/internal/scsi/copy"
)

// pair is a target with two units at LUN 0 and 1; a third, at LUN 2, is seen
// by host "other" alone.
type pair struct {
	*wire
	t      *testing.T
	tg     *Target
	u      [3]*Unit
	fault  [3]*fault.Device
	delay  [3]*delay.Device
	bs     int
	blocks uint64
}

func newPair(t *testing.T) *pair { return newPairOf(t, UnitOptions{}) }

func newPairOf(t *testing.T, o UnitOptions) *pair {
	t.Helper()
	o.Background = 1 << 40
	p := &pair{t: t, tg: NewTarget("iqn.2026-11.test:target", TargetOptions{}), bs: 512, blocks: 16 << 20 / 512}
	m := map[san.LUN]MapEntry{}
	for i := range p.u {
		dev, err := mem.New(mem.Options{Size: 16 << 20, PhysicalBlock: 4096})
		if err != nil {
			t.Fatal(err)
		}
		p.fault[i] = fault.New(dev, 1)
		p.delay[i] = delay.New(p.fault[i], delay.Options{})
		v := testVolume()
		v.ID, v.NAA, v.Size = san.NewUUID(), uint64(100+i), 16<<20
		p.u[i] = unitOver(t, v, block.Check(p.delay[i], t), nil, o)
		e := MapEntry{Unit: p.u[i]}
		if i == 2 {
			e.Hosts = []string{"other"}
		}
		m[san.LUN(i)] = e
	}
	p.tg.SetMap(m)
	p.wire = attach(t, p.tg, nexusName(1), "host")
	return p
}

func (p *pair) data(n int, seed byte) []byte {
	b := make([]byte, n*p.bs)
	for i := range b {
		b[i] = byte(i/p.bs) + byte(i%251) + seed
	}
	return b
}

func (p *pair) put(u int, lba uint64, data []byte) {
	p.t.Helper()
	if err := block.WriteAt(owner(p.u[u]).dev, data, int64(lba)*int64(p.bs), 0); err != nil {
		p.t.Fatal(err)
	}
}

func (p *pair) expect(u int, lba uint64, want []byte) {
	p.t.Helper()
	got := make([]byte, len(want))
	if err := block.ReadAt(owner(p.u[u]).dev, got, int64(lba)*int64(p.bs)); err != nil {
		p.t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		p.t.Errorf("unit %d at LBA %d holds something else", u, lba)
	}
}

func (p *pair) target(u int) copy.Target {
	return copy.Target{Designator: p.u[u].naa(), BlockLength: uint32(p.bs)}
}

func (p *pair) list(segs ...copy.Segment) *copy.List {
	return &copy.List{ID: 1, Targets: []copy.Target{p.target(0), p.target(1), p.target(2)}, Segments: segs}
}

func (p *pair) task(l *copy.List) (*Task, []byte) {
	b := l.Append(nil)
	cdb := [16]byte{0x83}
	binary.BigEndian.PutUint32(cdb[10:], uint32(len(b)))
	return p.out(len(b), cdb[:]...), b
}

func (p *pair) copy(l *copy.List) *Task {
	p.t.Helper()
	t, b := p.task(l)
	return p.run(t, b...)
}

func (p *pair) receive(sa byte, id byte) *Task {
	return p.run(p.in(512, 0x84, sa, id, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0))
}

func TestCopyBetweenUnits(t *testing.T) {
	p := newPair(t)
	data := p.data(2048+5, 3)
	p.put(0, 7, data)
	wantGood(t, p.copy(p.list(copy.Segment{Source: 0, Destination: 1, Blocks: 2053, SourceLBA: 7, DestinationLBA: 100})))
	p.expect(1, 100, data)
	// Several segments, one of them within a unit, one empty, to the very end.
	l := p.list(
		copy.Segment{Source: 1, Destination: 1, Blocks: 10, SourceLBA: 100, DestinationLBA: 5000},
		copy.Segment{Source: 0, Destination: 0, Blocks: 0, SourceLBA: 0, DestinationLBA: 0},
		copy.Segment{Source: 1, Destination: 0, Blocks: 10, SourceLBA: 5000, DestinationLBA: scsi.LBA(p.blocks - 10), DestinationCount: true},
	)
	wantGood(t, p.copy(l))
	p.expect(0, p.blocks-10, data[:10*512])
	task := p.receive(0, 1)
	wantGood(t, task)
	want := (&copy.Progress{State: copy.Done, Segments: 3, Bytes: 20 * 512}).Append(nil)
	if !bytes.Equal(bytesIn(task), want) {
		t.Errorf("status % x, want % x", bytesIn(task), want)
	}
}

func TestCopyOfNothing(t *testing.T) {
	p := newPair(t)
	wantGood(t, p.run(p.newTask([]byte{0x83})))
	wantGood(t, p.copy(&copy.List{ID: 3}))
}

// A unit that the nexus does not see can't be reached by its name
// (CVE-2020-28374).
func TestCopyKeepsToTheRightsOfTheNexus(t *testing.T) {
	p := newPair(t)
	secret := p.data(4, 9)
	p.put(2, 0, secret)
	for _, s := range []copy.Segment{{Source: 2, Destination: 1, Blocks: 4}, {Source: 0, Destination: 2, Blocks: 4}} {
		wantSense(t, p.copy(p.list(s)), scsi.CopyAborted, scsi.ASCUnreachableCopyTarget)
	}
	p.expect(1, 0, make([]byte, 4*512))
	p.expect(2, 0, secret)
	other := &pair{wire: attach(t, p.tg, nexusName(2), "other"), t: t, u: p.u, bs: 512}
	wantGood(t, other.copy(other.list(copy.Segment{Source: 2, Destination: 1, Blocks: 4})))
	p.expect(1, 0, secret)
	// And nobody sees the results of another nexus.
	wantSense(t, p.receive(0, 7), scsi.IllegalRequest, scsi.ASCInvalidFieldInCDB)
	p.tg.SetMap(map[san.LUN]MapEntry{0: {Unit: p.u[0]}})
	p.settle()
	wantSense(t, p.copy(p.list(copy.Segment{Source: 0, Destination: 1, Blocks: 4})), scsi.CopyAborted, scsi.ASCUnreachableCopyTarget)
}

func TestCopySegmentFailures(t *testing.T) {
	p := newPair(t)
	end := scsi.LBA(p.blocks)
	for name, s := range map[string]copy.Segment{
		"no such descriptor":       {Source: 0, Destination: 3, Blocks: 1},
		"past the source":          {Source: 0, Destination: 1, Blocks: 2, SourceLBA: end - 1},
		"past the destination":     {Source: 0, Destination: 1, Blocks: 2, DestinationLBA: end - 1},
		"far past the destination": {Source: 0, Destination: 1, Blocks: 2, DestinationLBA: 1<<64 - 1},
	} {
		t.Run(name, func(t *testing.T) {
			p.t = t
			task := p.copy(p.list(copy.Segment{Source: 0, Destination: 0, Blocks: 1}, s))
			if k, _ := sense(task); k != scsi.CopyAborted {
				t.Fatalf("sense % x", task.Sense)
			}
			if got := binary.BigEndian.Uint32(task.Sense[8:]); got != 1 {
				t.Errorf("segment %d", got)
			}
			if info(task) != int64(s.Blocks) {
				t.Errorf("%d blocks left", info(task))
			}
			d := bytesIn(p.receive(4, 1))
			if len(d) < 60 || d[56] != byte(scsi.CheckConditionStatus) || d[60+2]&15 != byte(scsi.CopyAborted) {
				t.Errorf("failure details % x", d)
			}
			wantSense(t, p.receive(4, 1), scsi.IllegalRequest, scsi.ASCInvalidFieldInCDB) // told once
		})
	}
	null := p.list(copy.Segment{Source: 0, Destination: 1, Blocks: 1})
	null.Targets[0].Null = true
	p.t = t
	wantSense(t, p.copy(null), scsi.CopyAborted, scsi.ASCUnreachableCopyTarget)
	wrong := p.list(copy.Segment{Source: 0, Destination: 1, Blocks: 1})
	wrong.Targets[1].BlockLength = 4096
	wantSense(t, p.copy(wrong), scsi.IllegalRequest, scsi.ASCInvalidFieldInParameterList)
	tape := p.list(copy.Segment{Source: 0, Destination: 1, Blocks: 1})
	tape.Targets[2].Peripheral = 1
	wantSense(t, p.copy(tape), scsi.IllegalRequest, scsi.ASCInvalidFieldInParameterList)
}

func TestCopyDeviceErrors(t *testing.T) {
	p := newPair(t)
	l := p.list(copy.Segment{Source: 0, Destination: 1, Blocks: 8192})
	bad := p.fault[0].Arm(fault.Rule{Ops: fault.Read, Off: 2 << 20, Len: 1, Class: block.Medium})
	task := p.copy(l)
	wantSense(t, task, scsi.CopyAborted, scsi.ASCThirdPartyDeviceFailure)
	if info(task) != 4096 {
		t.Errorf("%d blocks left", info(task))
	}
	bad.Disarm()
	full := p.fault[1].Arm(fault.Rule{Ops: fault.Write, Class: block.NoSpace})
	wantSense(t, p.copy(l), scsi.CopyAborted, scsi.ASCSpaceAllocationFailed)
	full.Disarm()
	wantGood(t, p.copy(l))
	owner(p.u[1]).setCondition(condProtected, true)
	wantSense(t, p.copy(l), scsi.CopyAborted, scsi.ASCThirdPartyDeviceFailure)
	owner(p.u[1]).setCondition(condProtected, false)
	owner(p.u[0]).setCondition(condSanitizing, true)
	wantSense(t, p.run(p.newTask([]byte{0x83})), scsi.NotReady, scsi.ASCSanitizeInProgress)
}

func TestCopyParameterLists(t *testing.T) {
	p := newPair(t)
	_, list := p.task(p.list(copy.Segment{Source: 0, Destination: 1, Blocks: 1}))
	for n := 1; n < len(list); n++ {
		task := p.out(n, 0x83, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, byte(n), 0, 0)
		wantSense(t, p.run(task, list[:n]...), scsi.IllegalRequest, scsi.ASCParameterListLength)
	}
	huge := p.out(512, 0x83, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0)
	wantSense(t, p.run(huge), scsi.IllegalRequest, scsi.ASCParameterListLength)
	if huge.OutLen != 0 {
		t.Errorf("asked for %d bytes", huge.OutLen)
	}
	many := p.list()
	for range copyLimits.Segments + 1 {
		many.Segments = append(many.Segments, copy.Segment{Blocks: 1})
	}
	wantSense(t, p.copy(many), scsi.IllegalRequest, scsi.ASCTooManySegmentDescriptors)
	many = p.list(copy.Segment{Blocks: 1})
	for len(many.Targets) <= copyLimits.Targets {
		many.Targets = append(many.Targets, p.target(0))
	}
	wantSense(t, p.copy(many), scsi.IllegalRequest, scsi.ASCTooManyTargetDescriptors)
	for range copyLimits.Segments {
		many.Segments = append(many.Segments, copy.Segment{Blocks: 1})
	}
	wantSense(t, p.copy(many), scsi.IllegalRequest, scsi.ASCParameterListLength)
}

func TestCopyListIdentifiers(t *testing.T) {
	p := newPair(t)
	wantSense(t, p.receive(0, 1), scsi.IllegalRequest, scsi.ASCInvalidFieldInCDB)
	l := p.list(copy.Segment{Source: 0, Destination: 1, Blocks: 1})
	p.delay[1].Hold(block.OpWrite)
	task, b := p.task(l)
	p.Admit(task)
	give(task, b)
	task.Ready()
	<-p.delay[1].Arrived()
	d := bytesIn(p.receive(0, 1))
	if len(d) < 5 || d[4] != byte(copy.InProgress) {
		t.Errorf("status % x", d)
	}
	wantSense(t, p.copy(l), scsi.IllegalRequest, scsi.ASCOperationInProgress)
	p.delay[1].Release()
	wantGood(t, p.wait(task))
	wantGood(t, p.receive(1, 1))
	l.ID, l.Usage = 5, copy.UsageDiscard
	wantGood(t, p.copy(l))
	wantSense(t, p.receive(0, 5), scsi.IllegalRequest, scsi.ASCInvalidFieldInCDB)
	l.ID, l.Usage = 0, copy.UsageNone
	wantGood(t, p.copy(l))
	for id := range 40 {
		l.ID, l.Usage = byte(id), copy.UsageHold
		wantGood(t, p.copy(l))
	}
	if n := len(p.view.Load().all[0].copies.list); n > maxHeldCopies {
		t.Errorf("%d results are held", n)
	}
}

// What the page and the command tell is the same.
func TestCopyParametersAgree(t *testing.T) {
	p := newPair(t)
	task := p.receive(3, 0)
	wantGood(t, task)
	d := bytesIn(task)
	if n := binary.BigEndian.Uint32(d); int(n) != len(d)-4 {
		t.Errorf("length %d of %d bytes", n, len(d))
	}
	v := p.u[0].thirdPartyCopy()
	if binary.BigEndian.Uint16(d[8:]) != v.MaxTargets || binary.BigEndian.Uint16(d[10:]) != v.MaxSegments || binary.BigEndian.Uint32(d[12:]) != v.MaxListLength {
		t.Errorf("% x", d)
	}
	page := bytesIn(p.run(p.in(512, 0x12, 1, 0x8f, 2, 0, 0)))
	if len(page) < 8 || page[1] != 0x8f {
		t.Errorf("page % x", page)
	}
}

// A copy is stopped by an abort, and by what ends the tasks of the units that
// it touches; none of these returns while it can still write.
func TestCopyIsAborted(t *testing.T) {
	manage := func(f TMF) func(p *pair, dst *itl) <-chan bool {
		return func(p *pair, _ *itl) <-chan bool {
			done := make(chan bool, 1)
			p.Manage(f, func(r TMFResponse) { done <- r == TMFComplete })
			return done
		}
	}
	for name, stop := range map[string]func(p *pair, dst *itl) <-chan bool{
		"abort task set":       manage(TMF{Function: AbortTaskSet}),
		"reset of destination": manage(TMF{Function: LogicalUnitReset, LUN: san.LUN(1).Field()}),
		"destination unmapped": func(p *pair, dst *itl) <-chan bool {
			done := make(chan bool, 1)
			go func() {
				p.tg.SetMap(map[san.LUN]MapEntry{0: {Unit: p.u[0]}})
				done <- true
			}()
			for dead := false; !dead; runtime.Gosched() {
				dst.mu.Lock()
				dead = dst.dead
				dst.mu.Unlock()
			}
			return done
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t)
			p.delay[1].Hold(block.OpWrite)
			dst := p.view.Load().at(1)
			task, b := p.task(p.list(copy.Segment{Source: 0, Destination: 1, Blocks: 8192}))
			p.Admit(task)
			give(task, b)
			task.Ready()
			<-p.delay[1].Arrived()
			done := stop(p, dst)
			select {
			case <-done:
				t.Fatal("did not wait for the write in flight")
			case <-p.delay[1].Arrived():
				t.Fatal("went on")
			default:
			}
			p.delay[1].Release()
			if !<-done {
				t.Error("failed")
			}
			p.wait(task)
			if !task.Aborted && task.Status == scsi.Good {
				t.Error("ended well")
			}
		})
	}
}

// Copies in both directions, ORDERED tasks and COMPARE AND WRITE at the same
// time do not wait for one another for ever.
func TestCopiesDoNotDeadlock(t *testing.T) {
	for _, workers := range []int{0, 1, maxCopies} { // 0: as many as usual
		t.Run(strconv.Itoa(workers), func(t *testing.T) { copyBothWays(t, newPairOf(t, UnitOptions{Workers: workers})) })
	}
}

func copyBothWays(t *testing.T, p *pair) {
	t.Helper()
	var tasks []*Task
	start := func(task *Task, data []byte) {
		p.Admit(task)
		if task.OutLen > 0 {
			give(task, data)
			task.Ready()
		}
		tasks = append(tasks, task)
	}
	for i := range 20 {
		l := p.list(copy.Segment{Source: uint16(i % 2), Destination: uint16(1 - i%2), Blocks: 3000, SourceLBA: scsi.LBA(i), DestinationLBA: scsi.LBA(2 * i)})
		l.Usage, l.ID = copy.UsageHold, byte(i)
		task, b := p.task(l)
		task.LUN = san.LUN(i / 2 % 2).Field()
		start(task, b)
		tur := p.newTask(testUnitReady)
		tur.Attr, tur.LUN = scsi.Ordered, san.LUN(i%2).Field()
		start(tur, nil)
		caw := p.out(512*200, cdbOf(t, scsi.OpCompareAndWrite, at(uint64(i*10), 100))...)
		caw.LUN = san.LUN(i % 2).Field()
		start(caw, make([]byte, 512*200))
	}
	for _, task := range tasks {
		if !p.isDone(task) {
			p.wait(task)
		}
		if k, _ := sense(task); task.Status != scsi.Good && task.Status != scsi.Busy && k != scsi.Miscompare {
			t.Errorf("% x: %v, sense % x", task.CDB, task.Status, task.Sense)
		}
	}
}

func TestCopyRespectsReservationsOfBothUnits(t *testing.T) {
	p := newPair(t)
	l := p.list(copy.Segment{Source: 0, Destination: 1, Blocks: 1})
	other := attach(t, p.tg, nexusName(2), "other")
	reserve := other.newTask([]byte{0x16, 0, 0, 0, 0, 0})
	reserve.LUN = san.LUN(1).Field()
	wantGood(t, other.run(reserve))
	wantSense(t, p.copy(l), scsi.CopyAborted, scsi.ASCThirdPartyDeviceFailure)
	l.Segments[0].Source, l.Segments[0].Destination = 1, 0
	wantSense(t, p.copy(l), scsi.CopyAborted, scsi.ASCThirdPartyDeviceFailure)
	release := other.newTask([]byte{0x17, 0, 0, 0, 0, 0})
	release.LUN = san.LUN(1).Field()
	wantGood(t, other.run(release))
	wantGood(t, p.copy(l))
}
