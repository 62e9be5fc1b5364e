package lun

import (
	"bytes"
	"strings"
	"testing"

	"sango/internal/block"
	"sango/internal/block/mem"
	"sango/internal/san"
	"sango/internal/scsi"
	"sango/internal/scsi/alua"
)

func (w *wire) inquiry(evpd, page byte) *Task {
	return w.run(w.in(1024, 0x12, evpd, page, 4, 0, 0))
}

func TestInquiry(t *testing.T) {
	w := attach(t, oneUnit(testUnit(t, nil, nil)), nexusName(1), "")
	task := w.inquiry(0, 0)
	wantGood(t, task)
	d := bytesIn(task)
	if int(d[4]) != len(d)-5 {
		t.Errorf("ADDITIONAL LENGTH %d of %d bytes", d[4], len(d))
	}
	q, err := scsi.ParseStandardInquiry(d)
	if err != nil || q.Vendor != vendor || q.Product != product || q.TPGS != scsi.TPGSImplicit || !q.CommandQueue || q.Version != scsi.InquirySPC3 || q.Removable {
		t.Errorf("%+v, %v", q, err)
	}
	if task.Want != uint64(len(d)) {
		t.Errorf("Want = %d", task.Want)
	}
	for alloc := range byte(100) {
		task := w.run(w.in(255, 0x12, 0, 0, 0, alloc, 0))
		wantGood(t, task)
		if !bytes.Equal(bytesIn(task), d[:min(int(alloc), len(d))]) {
			t.Fatalf("allocation length %d: % x", alloc, bytesIn(task))
		}
	}
	wantSense(t, w.inquiry(0, 1), scsi.IllegalRequest, scsi.ASCInvalidFieldInCDB)
	wantSense(t, w.inquiry(1, 0xfe), scsi.IllegalRequest, scsi.ASCInvalidFieldInCDB)
}

func TestVPDPages(t *testing.T) {
	tg := oneUnit(testUnit(t, nil, nil))
	regroup(tg, []PortGroup{{ID: 7, Ports: []san.TPG{1, 2}}})
	w := attach(t, tg, nexusName(1), "")
	task := w.inquiry(1, 0)
	wantGood(t, task)
	pages := bytesIn(task)[4:]
	for _, p := range []byte{0x00, 0x80, 0x83, 0x85, 0x86, 0x87, 0xb0, 0xb1, 0xb2} {
		if !bytes.Contains(pages, []byte{p}) {
			t.Errorf("page %02xh is not told", p)
		}
	}
	last := -1
	for _, p := range pages {
		if int(p) <= last {
			t.Errorf("pages out of order: % x", pages)
		}
		last = int(p)
		task := w.inquiry(1, p)
		wantGood(t, task)
		if d := bytesIn(task); d[1] != p || int(d[2])<<8|int(d[3]) != len(d)-4 {
			t.Errorf("page %02xh: % x", p, d)
		}
	}
	ids, err := scsi.ParseVPDDeviceID(bytesIn(w.inquiry(1, 0x83)))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, id := range ids {
		switch id.Type {
		case scsi.DesignatorT10, scsi.DesignatorSCSIName:
			got = append(got, strings.TrimRight(string(id.Value), "\x00"))
		}
	}
	want := []string{
		"SANGO   01234567-89ab-4cde-8f01-020304050607", "naa.30123456789ABCDE",
		"iqn.2026-11.test:target,t,0x0001", "iqn.2026-11.test:target",
	}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestReportTargetPortGroups(t *testing.T) {
	tg := oneUnit(testUnit(t, nil, nil))
	w := attach(t, tg, nexusName(1), "")
	rtpg := func(format byte) []byte {
		t.Helper()
		task := w.run(w.in(256, 0xa3, format<<5|0x0a, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0))
		wantGood(t, task)
		return bytesIn(task)
	}
	if d := rtpg(0); !bytes.Equal(d[4:], []byte{0, 0x8f, 0, 1, 0, 2, 0, 1, 0, 0, 0, 1}) {
		t.Errorf("without groups: % x", d)
	}
	regroup(tg, []PortGroup{{ID: 1, Preferred: true, Ports: []san.TPG{2, 1}}, {ID: 2, State: ActiveNonOptimized, Ports: []san.TPG{3}}})
	w.settle()
	if d := rtpg(1); !bytes.Equal(d, []byte{
		0, 0, 0, 32, 0x10, 30, 0, 0,
		0x80, 0x8f, 0, 1, 0, 2, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2,
		0x01, 0x8f, 0, 2, 0, 2, 0, 1, 0, 0, 0, 3,
	}) {
		t.Errorf("two groups: % x", d)
	}
	wantSense(t, w.run(w.in(256, 0xa3, 0x4a, 0, 0, 0, 0, 0, 0, 1, 0)), scsi.IllegalRequest, scsi.ASCInvalidFieldInCDB)
	wantSense(t, w.run(w.out(8, 0xa4, 0x0a, 0, 0, 0, 0, 0, 0, 0, 8)), scsi.IllegalRequest, scsi.ASCInvalidOpCode)
}

func TestPortStates(t *testing.T) {
	tg := oneUnit(testUnit(t, nil, nil))
	w := attach(t, tg, nexusName(1), "")
	for _, tt := range []struct {
		g             []PortGroup
		tur, modePage scsi.ASC
	}{
		{[]PortGroup{{ID: 1, State: ActiveNonOptimized, Ports: []san.TPG{1}}}, 0, 0},
		{[]PortGroup{{ID: 1, State: Standby, Ports: []san.TPG{1}}}, scsi.ASCPortStandby, 0},
		{[]PortGroup{{ID: 1, State: Unavailable, Ports: []san.TPG{1}}}, scsi.ASCPortUnavailable, scsi.ASCPortUnavailable},
		{[]PortGroup{{ID: 1, State: Transitioning, Ports: []san.TPG{1}}}, scsi.ASCAccessTransition, scsi.ASCAccessTransition},
		{[]PortGroup{{ID: 1, Ports: []san.TPG{9}}}, scsi.ASCPortUnavailable, scsi.ASCPortUnavailable},
	} {
		regroup(tg, tt.g)
		w.settle()
		wantGood(t, w.inquiry(0, 0))
		for task, asc := range map[*Task]scsi.ASC{w.tur(): tt.tur, w.run(w.in(64, 0x1a, 8, 0x0a, 0, 64, 0)): tt.modePage} {
			if asc == 0 {
				wantGood(t, task)
			} else {
				wantSense(t, task, scsi.NotReady, asc)
			}
		}
	}
}

func TestExplicitGroups(t *testing.T) {
	u := testUnit(t, nil, nil)
	var tg *Target
	tg = NewTarget("iqn.2026-11.test:target", TargetOptions{SetGroups: func(_ *Nexus, _ *Unit, c []alua.Change) error {
		if c[0].State == Unavailable {
			return block.ErrWouldBlock
		}
		regroup(tg, []PortGroup{{ID: 1, State: c[0].State, Ports: []san.TPG{1}}})
		return nil
	}})
	tg.SetMap(map[san.LUN]MapEntry{0: {Unit: u}})
	regroup(tg, []PortGroup{{ID: 1, Ports: []san.TPG{1}}})
	w, other := attach(t, tg, nexusName(1), ""), attach(t, tg, nexusName(2), "")
	set := func(data ...byte) *Task {
		return w.run(w.out(len(data), 0xa4, 0x0a, 0, 0, 0, 0, 0, 0, 0, byte(len(data)), 0, 0), data...)
	}
	wantGood(t, set(0, 0, 0, 0, 1, 0, 0, 1))
	wantGood(t, w.tur())
	wantSense(t, other.tur(), scsi.UnitAttention, scsi.ASCAccessStateChanged)
	wantSense(t, set(0, 0, 0, 0, 1, 0, 0, 9), scsi.IllegalRequest, scsi.ASCInvalidFieldInParameterList)
	wantSense(t, set(0, 0, 0, 0, 3, 0, 0, 1), scsi.IllegalRequest, scsi.ASCSetTargetPortGroupsFailed)
	if d := bytesIn(w.inquiry(0, 0)); d[5]>>4&3 != scsi.TPGSBoth {
		t.Errorf("TPGS = %d", d[5]>>4&3)
	}
	wantGood(t, w.reportOpCodes(2, 0xa4, 0x0a))
}

func TestLogSense(t *testing.T) {
	w := attach(t, oneUnit(testUnit(t, nil, nil)), nexusName(1), "")
	get := func(page, subpage byte) *Task {
		return w.run(w.in(255, 0x4d, 0, 0x40|page, subpage, 0, 0, 0, 0, 255, 0))
	}
	task := get(0, 0)
	wantGood(t, task)
	for _, p := range bytesIn(task)[4:] {
		wantGood(t, get(p, 0))
	}
	wantGood(t, get(0, 0xff))
	wantSense(t, get(0x3e, 0), scsi.IllegalRequest, scsi.ASCInvalidFieldInCDB)
	wantSense(t, get(0x0d, 3), scsi.IllegalRequest, scsi.ASCInvalidFieldInCDB)
}

func TestSelfTest(t *testing.T) {
	w := attach(t, oneUnit(testUnit(t, nil, nil)), nexusName(1), "")
	wantGood(t, w.run(w.newTask([]byte{0x1d, 4, 0, 0, 0, 0})))
	wantSense(t, w.run(w.newTask([]byte{0x1d, 0x24, 0, 0, 0, 0})), scsi.IllegalRequest, scsi.ASCInvalidFieldInCDB)
}

func TestRemovableMedium(t *testing.T) {
	u := testUnit(t, nil, func(v *san.Volume, _ *UnitOptions) { v.Removable = true })
	tg := oneUnit(u)
	w, other := attach(t, tg, nexusName(1), ""), attach(t, tg, nexusName(2), "")
	startStop := func(w *wire, b byte) *Task { return w.run(w.newTask([]byte{0x1b, 0, 0, 0, b, 0})) }
	prevent := func(w *wire, b byte) *Task { return w.run(w.newTask([]byte{0x1e, 0, 0, 0, b, 0})) }
	const eject, load, start, stop = 2, 3, 1, 0

	for _, b := range []byte{start, stop, 0x10 | eject, 0xf0 | eject, 4} {
		wantGood(t, startStop(w, b))
		wantGood(t, w.tur())
	}
	wantGood(t, startStop(w, eject))
	wantSense(t, w.tur(), scsi.NotReady, scsi.ASCMediumNotPresentTrayOpen)
	wantSense(t, other.tur(), scsi.NotReady, scsi.ASCMediumNotPresentTrayOpen)
	wantGood(t, w.inquiry(0, 0))
	wantGood(t, prevent(w, 1))
	wantSense(t, startStop(other, load), scsi.IllegalRequest, scsi.ASCMediumRemovalPrevented)
	wantGood(t, prevent(w, 0))
	wantGood(t, startStop(w, load))
	wantGood(t, w.tur())
	wantSense(t, other.tur(), scsi.UnitAttention, scsi.ASCMediumMayHaveChanged)

	wantSense(t, prevent(w, 3), scsi.IllegalRequest, scsi.ASCInvalidFieldInCDB)
	for name, release := range map[string]func(){
		"nexus loss": other.Detach,
		"reset":      func() { w.manage(TMF{Function: LogicalUnitReset, LUN: lun0}) },
	} {
		p := w
		if name == "nexus loss" {
			other.settle() // it was told of the other round
			p = other
		}
		wantGood(t, prevent(p, 1))
		wantSense(t, startStop(w, eject), scsi.IllegalRequest, scsi.ASCMediumRemovalPrevented)
		release()
		w.settle()
		wantGood(t, startStop(w, eject))
		wantGood(t, startStop(w, load))
	}

	fixed := attach(t, oneUnit(testUnit(t, nil, nil)), nexusName(1), "")
	wantSense(t, startStop(fixed, eject), scsi.IllegalRequest, scsi.ASCInvalidFieldInCDB)
	wantGood(t, startStop(fixed, stop))
	wantSense(t, prevent(fixed, 1), scsi.IllegalRequest, scsi.ASCInvalidOpCode)
}

// writeBack makes a device in memory look as if it had a volatile cache.
type writeBack struct {
	dev     *mem.Device
	flushes int
	fua     int
}

func (d *writeBack) Info() block.Info {
	i := d.dev.Info()
	i.Caps.WriteBack, i.Caps.FUA = true, block.Native
	return i
}

func (d *writeBack) Submit(r *block.Request) {
	switch {
	case r.Op == block.OpFlush:
		d.flushes++
	case r.Flags&block.FUA != 0:
		d.fua++
	}
	d.dev.Submit(r)
}

func (d *writeBack) Status(off, n int64, limit int) ([]block.Extent, error) {
	return d.dev.Status(off, n, limit)
}
func (d *writeBack) Close() error { return d.dev.Close() }
