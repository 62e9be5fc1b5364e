package lun

import (
	"bytes"
	"testing"

	"sango/internal/block"
	"sango/internal/block/layer/delay"
	"sango/internal/block/mem"
	"sango/internal/san"
	"sango/internal/scsi"
)

func (w *wire) modeSense6(pc, page, subpage byte) *Task {
	return w.run(w.in(255, 0x1a, 8, pc<<6|page, subpage, 255, 0))
}

// page returns the parameters of a page of MODE SENSE(6) without block
// descriptors.
func (w *wire) page(pc, page byte) []byte {
	w.t.Helper()
	task := w.modeSense6(pc, page, 0)
	wantGood(w.t, task)
	return bytesIn(task)[6:]
}

// selectPage sends one page with MODE SELECT(6).
func (w *wire) selectPage(page byte, params []byte, save bool) *Task {
	data := append([]byte{0, 0, 0, 0, page, byte(len(params))}, params...)
	sp := byte(0)
	if save {
		sp = 1
	}
	return w.run(w.out(len(data), 0x15, 0x10|sp, 0, 0, byte(len(data)), 0), data...)
}

func TestModeSense(t *testing.T) {
	w := attach(t, oneUnit(testUnit(t, nil, nil)), nexusName(1), "")
	task := w.run(w.in(255, 0x1a, 0, 0x3f, 0xff, 255, 0))
	wantGood(t, task)
	d := bytesIn(task)
	if int(d[0]) != len(d)-1 || d[3] != 8 || !bytes.Equal(d[4:12], []byte{0, 2, 0, 0, 0, 0, 2, 0}) {
		t.Errorf("header and block descriptor % x", d[:12])
	}
	task = w.run(w.in(255, 0x5a, 0x10, 0x0a, 0, 0, 0, 0, 0, 255, 0))
	wantGood(t, task)
	d = bytesIn(task)
	if int(d[1]) != len(d)-2 || d[4] != 1 || d[7] != 16 || d[8+5] != 2 || d[8+14] != 2 || d[24] != 0x8a {
		t.Errorf("long form % x", d)
	}
	if d := w.page(0, 0x08); d[0]&4 != 0 {
		t.Error("WCE is set, but nothing is volatile")
	}
	if c := w.page(1, 0x08); c[0] != 0 {
		t.Error("WCE can be set, but there is no cache")
	}
	wantSense(t, w.modeSense6(0, 0x02, 0), scsi.IllegalRequest, scsi.ASCInvalidFieldInCDB)
	wantSense(t, w.modeSense6(0, 0x0a, 7), scsi.IllegalRequest, scsi.ASCInvalidFieldInCDB)
	wantGood(t, w.modeSense6(0, 0x0a, 1))
}

func TestModeSelectIsTold(t *testing.T) {
	tg := oneUnit(testUnit(t, nil, nil))
	w, other := attach(t, tg, nexusName(1), ""), attach(t, tg, nexusName(2), "")
	control := w.page(0, 0x0a)
	wantGood(t, w.selectPage(0x0a, control, false))
	wantGood(t, other.tur()) // nothing changed

	control[0] |= 0x04 // D_SENSE
	wantGood(t, w.selectPage(0x0a, control, false))
	task := other.tur()
	wantSense(t, task, scsi.UnitAttention, scsi.ASCModeParametersChanged)
	if task.Sense[0] != 0x72 {
		t.Errorf("sense data begins with %02x", task.Sense[0])
	}
	wantGood(t, w.tur())

	control[2] |= 0x40 // RAC cannot be changed
	task = w.selectPage(0x0a, control, false)
	wantSense(t, task, scsi.IllegalRequest, scsi.ASCInvalidFieldInParameterList)
	if want := []byte{0x02, 0x06, 0, 0, 0x8e, 0, 8, 0}; !bytes.Equal(task.Sense[8:16], want) {
		t.Errorf("field pointer % x, want % x", task.Sense[8:16], want)
	}
	if w.manage(TMF{Function: LogicalUnitReset, LUN: lun0}) != TMFComplete {
		t.Error("no reset")
	}
	w.settle()
	if d := w.page(0, 0x0a); d[0]&0x04 != 0 {
		t.Error("a reset keeps what was not saved")
	}
}

func TestModeSelectRefusals(t *testing.T) {
	w := attach(t, oneUnit(testUnit(t, nil, nil)), nexusName(1), "")
	control := w.page(0, 0x0a)
	wantSense(t, w.selectPage(0x0a, control[:5], false), scsi.IllegalRequest, scsi.ASCInvalidFieldInParameterList)
	wantSense(t, w.selectPage(0x02, control, false), scsi.IllegalRequest, scsi.ASCInvalidFieldInParameterList)
	wantSense(t, w.run(w.out(3, 0x15, 0x10, 0, 0, 3, 0), 0, 0, 0), scsi.IllegalRequest, scsi.ASCParameterListLength)
	wantSense(t, w.run(w.out(4, 0x15, 0x10, 0, 0, 16, 0), 0, 0, 0, 0), scsi.IllegalRequest, scsi.ASCParameterListLength)
	wantSense(t, w.run(w.out(4, 0x15, 0, 0, 0, 4, 0), 0, 0, 0, 0), scsi.IllegalRequest, scsi.ASCInvalidFieldInCDB)
	wantSense(t, w.run(w.out(12, 0x15, 0x10, 0, 0, 12, 0), 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 4, 0), scsi.IllegalRequest, scsi.ASCInvalidFieldInParameterList)
	wantSense(t, w.run(w.out(12, 0x15, 0x10, 0, 0, 12, 0), 0, 0, 0, 8, 0, 0, 0, 9, 0, 0, 2, 0), scsi.IllegalRequest, scsi.ASCInvalidFieldInParameterList)
	wantGood(t, w.run(w.out(12, 0x15, 0x10, 0, 0, 12, 0), 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 2, 0))
	wantGood(t, w.run(w.newTask([]byte{0x15, 0x10, 0, 0, 0, 0})))
}

func TestSavedPagesSurviveARestart(t *testing.T) {
	st := newStore()
	w := attach(t, oneUnit(testUnit(t, st, nil)), nexusName(1), "")
	control := w.page(0, 0x0a)
	control[2] |= 0x08 // SWP
	wantGood(t, w.selectPage(0x0a, control, true))
	again := testUnit(t, st, nil)
	w = attach(t, oneUnit(again), nexusName(1), "")
	if d := w.page(0, 0x0a); d[2]&0x08 == 0 {
		t.Error("SWP is lost")
	}
	task := w.modeSense6(0, 0x0a, 0)
	if bytesIn(task)[2]&0x80 == 0 {
		t.Error("WP is not told")
	}
	ioCommands(again)
	wantSense(t, w.run(w.out(4096, opWrite), make([]byte, 4096)...), scsi.DataProtect, scsi.ASCSoftwareWriteProtected)
	readonly := testUnit(t, nil, func(v *san.Volume, _ *UnitOptions) { v.ReadOnly = true })
	ioCommands(readonly)
	w = attach(t, oneUnit(readonly), nexusName(1), "")
	wantSense(t, w.run(w.out(4096, opWrite), make([]byte, 4096)...), scsi.DataProtect, scsi.ASCWriteProtected)
	wantGood(t, w.run(w.in(4096, opRead)))
}

// WCE says what is true, and is obeyed.
func TestWriteCacheIsObeyed(t *testing.T) {
	m, err := mem.New(mem.Options{Size: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	dev := &writeBack{dev: m}
	v := testVolume()
	v.Size = 1 << 20
	u := unitOver(t, v, dev, nil, UnitOptions{})
	w := attach(t, oneUnit(u), nexusName(1), "")
	write := func() {
		t.Helper()
		wantGood(t, w.run(w.out(512, 0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0), make([]byte, 512)...))
	}
	caching := w.page(0, 0x08)
	if caching[0]&4 == 0 {
		t.Fatal("WCE is clear, but the device has a cache")
	}
	write()
	if dev.fua != 0 || dev.flushes != 0 {
		t.Errorf("with WCE: %d FUA writes, %d flushes", dev.fua, dev.flushes)
	}
	caching[0] &^= 4
	wantGood(t, w.selectPage(0x08, caching, false))
	if dev.flushes != 1 {
		t.Errorf("the cache was flushed %d times when it was switched off", dev.flushes)
	}
	write()
	if dev.fua != 1 {
		t.Errorf("without WCE: %d FUA writes", dev.fua)
	}
}

// A MODE SELECT that a reset aborts has no effect after it.
func TestResetOvertakesModeSelect(t *testing.T) {
	m, err := mem.New(mem.Options{Size: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	dev := delay.New(&writeBack{dev: m}, delay.Options{})
	v := testVolume()
	v.Size = 1 << 20
	w := attach(t, oneUnit(unitOver(t, v, dev, nil, UnitOptions{})), nexusName(1), "")
	caching := w.page(0, 0x08)
	caching[0] &^= 4
	dev.Hold(block.OpFlush)
	list := append([]byte{0, 0, 0, 0, 0x08, byte(len(caching))}, caching...)
	task := w.out(len(list), 0x15, 0x10, 0, 0, byte(len(list)), 0)
	w.Admit(task)
	give(task, list)
	task.Ready()
	<-dev.Arrived()
	answer := make(chan TMFResponse, 1)
	w.Manage(TMF{Function: LogicalUnitReset, LUN: lun0}, func(r TMFResponse) { answer <- r })
	dev.Release()
	if r := <-answer; r != TMFComplete {
		t.Errorf("reset: %v", r)
	}
	if w.wait(task); !task.Aborted {
		t.Errorf("status %v", task.Status)
	}
	w.settle()
	if d := w.page(0, 0x08); d[0]&4 == 0 {
		t.Error("the aborted command changed the page after the reset")
	}
}
