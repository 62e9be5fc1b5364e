package lun

import (
	"flag"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sango/internal/block"
	"sango/internal/block/mem"
	"sango/internal/bufpool"
	"sango/internal/lun/luntest"
	"sango/internal/san"
	"sango/internal/scsi"
)

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if flag.Lookup("test.bench").Value.String() == "" && flag.Lookup("test.fuzz").Value.String() == "" {
		// All of it once more, with the unit on another gateway.
		throughRelay = true
		if testing.Verbose() {
			fmt.Println("through a relay:")
		}
		code = max(code, m.Run())
	}
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

type memStore = luntest.Store

func newStore() *memStore { return &memStore{} }

// testVolume is what units of tests are made from.
func testVolume() san.Volume {
	return san.Volume{
		ID: san.UUID{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0x4c, 0xde, 0x8f, 1, 2, 3, 4, 5, 6, 7}, Name: "test", Driver: "mem",
		Size: 64 << 20, BlockSize: 512, PhysicalBlock: 4096, NAA: 0x0123456789abcde,
	}
}

// testUnit returns a unit over memory; change may alter what it is made from.
func testUnit(t testing.TB, st UnitStore, change func(*san.Volume, *UnitOptions)) *Unit {
	t.Helper()
	v, o := testVolume(), UnitOptions{}
	if change != nil {
		change(&v, &o)
	}
	return unitOver(t, v, memDevice(t, v), st, o)
}

// memDevice returns memory for v.
func memDevice(t testing.TB, v san.Volume) block.Device {
	t.Helper()
	dev, err := mem.New(mem.Options{Size: v.Size, BlockSize: v.BlockSize, PhysicalBlock: v.PhysicalBlock, ReadOnly: v.ReadOnly})
	if err != nil {
		t.Fatal(err)
	}
	return dev
}

func unitOver(t testing.TB, v san.Volume, dev block.Device, st UnitStore, o UnitOptions) *Unit {
	t.Helper()
	if st == nil {
		st = newStore()
	}
	return closing(t)(newUnit(v, dev, st, o))
}

// localUnit is a unit that serves by itself, whatever throughRelay says.
func localUnit(t testing.TB, v san.Volume, dev block.Device, st UnitStore, o UnitOptions) *Unit {
	t.Helper()
	if st == nil {
		st = newStore()
	}
	return closing(t)(NewUnit(v, dev, st, o))
}

// closing returns what closes a unit at the end of the test.
func closing(t testing.TB) func(*Unit, error) *Unit {
	return func(u *Unit, err error) *Unit {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		u.guard.waiters.most = shortly
		t.Cleanup(func() {
			if err := u.Close(); err != nil {
				t.Error(err)
			}
		})
		return u
	}
}

// wire is a Transport that keeps what is done, and a nexus over it.
type wire struct {
	*Nexus
	t       testing.TB
	tag     uint32
	mu      sync.Mutex // guards the fields below
	ends    map[*Task]*end
	dropped []string

	sango   scsi.SangoPage
	fencing func(l scsi.FenceList, stop <-chan struct{}, done func(bool)) bool // nil: nothing to wait for
}

// Fencing implements Fencer.
func (w *wire) Fencing() scsi.SangoPage { return w.sango }

// Fence implements Fencer.
func (w *wire) Fence(l scsi.FenceList, stop <-chan struct{}, done func(bool)) bool {
	if w.fencing != nil {
		return w.fencing(l, stop, done)
	}
	done(true)
	return true
}

// end is the end of a task.
type end struct {
	done chan struct{} // closed by TaskDone
	is   bool
}

func (w *wire) end(t *Task) *end {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.ends[t]
	if e == nil {
		e = &end{done: make(chan struct{})}
		w.ends[t] = e
	}
	return e
}

func (w *wire) TaskDone(t *Task) {
	e := w.end(t)
	w.mu.Lock()
	defer w.mu.Unlock()
	if e.is {
		w.t.Errorf("TaskDone twice for tag %d", t.Tag)
		return
	}
	e.is = true
	close(e.done)
}

func (w *wire) Drop(reason string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dropped = append(w.dropped, reason)
}

// nexusName returns the id of the nth nexus of tests.
func nexusName(n int) san.NexusID {
	return san.NexusID{
		Initiator: san.InitiatorPort{Name: "iqn.2026-11.test:host", ISID: san.ISID{0x80, 0, 0, 0, 0, byte(n)}},
		Target:    san.TargetPort{Name: "iqn.2026-11.test:target", TPG: 1},
	}
}

// attach adds a nexus that has seen its unit attentions.
func attach(t testing.TB, tg *Target, id san.NexusID, host string) *wire {
	t.Helper()
	w := attachRaw(t, tg, id, host)
	w.settle()
	return w
}

func attachRaw(t testing.TB, tg *Target, id san.NexusID, host string) *wire {
	t.Helper()
	w := &wire{t: t, ends: map[*Task]*end{}}
	n, err := tg.Attach(id, host, w)
	if err != nil {
		t.Fatal(err)
	}
	w.Nexus = n
	t.Cleanup(n.Detach)
	return w
}

// settle clears all unit attentions.
func (w *wire) settle() {
	for _, i := range w.view.Load().all {
		for {
			if _, ok := i.attn.take(); !ok {
				break
			}
		}
	}
}

// newTask returns a task for lun 0.
func (w *wire) newTask(cdb []byte) *Task {
	w.tag++
	t := &Task{Tag: w.tag, Attr: scsi.Simple, Arrival: time.Now()}
	copy(t.CDB[:], cdb)
	return t
}

// in returns a task that takes n bytes of data-in.
func (w *wire) in(n int, cdb ...byte) *Task {
	t := w.newTask(cdb)
	t.Read, t.Expected = n > 0, uint32(n)
	return t
}

// out returns a task that offers data.
func (w *wire) out(n int, cdb ...byte) *Task {
	t := w.newTask(cdb)
	t.Write, t.Expected = n > 0, uint32(n)
	return t
}

// give appends the data-out that the server asked for.
func give(t *Task, data []byte) {
	data = data[:t.OutLen]
	for len(data) > 0 {
		b := bufpool.Get(min(len(data), bufpool.MaxPooled))
		data = data[copy(b.B, data):]
		t.Out.Append(b)
	}
}

// run executes t with data and waits for its end.
func (w *wire) run(t *Task, data ...byte) *Task {
	w.t.Helper()
	w.Admit(t)
	if !w.isDone(t) && t.OutLen > 0 {
		give(t, data)
		t.Ready()
	}
	return w.wait(t)
}

func (w *wire) isDone(t *Task) bool {
	e := w.end(t)
	w.mu.Lock()
	defer w.mu.Unlock()
	return e.is
}

// wait returns when t is done.
func (w *wire) wait(t *Task) *Task {
	w.t.Helper()
	select {
	case <-w.end(t).done:
	case <-time.After(time.Minute):
		w.t.Fatalf("task %d (% x) does not end", t.Tag, t.CDB)
	}
	return t
}

// manage performs a task management function and waits for its answer.
func (w *wire) manage(f TMF) TMFResponse {
	w.t.Helper()
	c := make(chan TMFResponse, 1)
	w.Manage(f, func(r TMFResponse) { c <- r })
	select {
	case r := <-c:
		return r
	case <-time.After(time.Minute):
		w.t.Fatalf("function %d does not end", f.Function)
		return TMFRejected
	}
}

// bytesIn returns the data-in of t.
func bytesIn(t *Task) (b []byte) {
	for _, v := range t.In.Vec() {
		b = append(b, v...)
	}
	return b
}

// sense returns key and additional sense code of t, 0 without sense data.
func sense(t *Task) (scsi.SenseKey, scsi.ASC) {
	switch {
	case len(t.Sense) >= 14 && t.Sense[0]&0x7e == 0x70:
		return scsi.SenseKey(t.Sense[2] & 15), scsi.ASC(t.Sense[12])<<8 | scsi.ASC(t.Sense[13])
	case len(t.Sense) >= 4:
		return scsi.SenseKey(t.Sense[1] & 15), scsi.ASC(t.Sense[2])<<8 | scsi.ASC(t.Sense[3])
	}
	return 0, 0
}

func wantGood(t testing.TB, task *Task) {
	t.Helper()
	if task.Status != scsi.Good || task.Aborted {
		k, a := sense(task)
		t.Fatalf("% x: status %v, aborted %v, sense %x/%04x; want GOOD", task.CDB, task.Status, task.Aborted, k, a)
	}
}

func wantSense(t testing.TB, task *Task, key scsi.SenseKey, asc scsi.ASC) {
	t.Helper()
	k, a := sense(task)
	if task.Status != scsi.CheckConditionStatus || k != key || a != asc {
		t.Fatalf("% x: status %v, sense %x/%04x; want CHECK CONDITION %x/%04x", task.CDB, task.Status, k, a, key, asc)
	}
}

// regroup sets the target port groups of all units of tg, and tells the
// nexuses.
func regroup(tg *Target, g []PortGroup) {
	for _, e := range tg.luns {
		owner(e.Unit).SetPortGroups(g)
		e.Unit.SetPortGroups(g)
		e.Unit.AccessChanged(nil)
	}
}

// oneUnit returns a target with u at LUN 0.
func oneUnit(u *Unit) *Target {
	tg := NewTarget("iqn.2026-11.test:target", TargetOptions{})
	tg.SetMap(map[san.LUN]MapEntry{0: {Unit: u}})
	return tg
}

var testUnitReady = []byte{0, 0, 0, 0, 0, 0}

func (w *wire) tur() *Task { return w.run(w.newTask(testUnitReady)) }
