package lun

import (
	"testing"

	"sango/internal/san"
	"sango/internal/scsi"
)

func TestAttentionPrecedence(t *testing.T) {
	var a attentions
	for _, c := range []scsi.ASC{
		scsi.ASCCapacityChanged, scsi.ASCNexusLoss, scsi.ASCModeParametersChanged, scsi.ASCDeviceReset,
		scsi.ASCCapacityChanged, scsi.ASCNexusLoss, scsi.ASCPowerOnOrReset, scsi.ASCDeviceReset,
	} {
		a.raise(c)
	}
	for _, want := range []scsi.ASC{scsi.ASCPowerOnOrReset, scsi.ASCCapacityChanged, scsi.ASCModeParametersChanged} {
		if c, ok := a.take(); !ok || c != want {
			t.Fatalf("got %04x %v, want %04x", c, ok, want)
		}
	}
	if c, ok := a.take(); ok {
		t.Fatalf("%04x is left over", c)
	}
}

func TestNewNexusGetsPowerOnThenNexusLoss(t *testing.T) {
	tg := oneUnit(testUnit(t, nil, nil))
	w := attachRaw(t, tg, nexusName(1), "")
	wantSense(t, w.tur(), scsi.UnitAttention, scsi.ASCPowerOnOrReset)
	wantGood(t, w.tur())
	w.Detach()
	w = attachRaw(t, tg, nexusName(1), "")
	wantSense(t, w.tur(), scsi.UnitAttention, scsi.ASCNexusLoss)
	wantGood(t, w.tur())
}

// An initiator that comes with a new ISID each time, and polls less often than
// it is dropped for its silence, must find the unit ready in the end.
func TestNewNexusOfAKnownInitiatorGetsNothing(t *testing.T) {
	tg := oneUnit(testUnit(t, nil, nil))
	w := attachRaw(t, tg, nexusName(1), "")
	wantSense(t, w.tur(), scsi.UnitAttention, scsi.ASCPowerOnOrReset)
	again := nexusName(1)
	again.Initiator.ISID[5]++
	wantGood(t, attachRaw(t, tg, again, "").tur()) // beside the first
	w.Detach()
	again.Initiator.ISID[5]++
	wantGood(t, attachRaw(t, tg, again, "").tur())
	again.Target.TPG++ // through another port it is news
	wantSense(t, attachRaw(t, tg, again, "").tur(), scsi.UnitAttention, scsi.ASCPowerOnOrReset)
}

// INQUIRY, REPORT LUNS and REQUEST SENSE go on with a unit attention pending;
// REQUEST SENSE alone clears it.
func TestCommandsThatKeepAttentions(t *testing.T) {
	w := attachRaw(t, oneUnit(testUnit(t, nil, nil)), nexusName(1), "")
	wantGood(t, w.run(w.in(96, 0x12, 0, 0, 0, 96, 0)))
	wantGood(t, w.run(w.in(256, 0xa0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0)))
	task := w.run(w.in(18, 3, 0, 0, 0, 18, 0))
	wantGood(t, task)
	if d := bytesIn(task); len(d) != 18 || d[2] != 6 || d[12] != 0x29 || d[13] != 0 {
		t.Errorf("REQUEST SENSE returned % x", d)
	}
	wantGood(t, w.tur())
	task = w.run(w.in(18, 3, 1, 0, 0, 18, 0))
	wantGood(t, task)
	if d := bytesIn(task); len(d) != 8 || d[0] != 0x72 || d[1] != 0 {
		t.Errorf("REQUEST SENSE with DESC returned % x", d)
	}
}

func TestMapChangesAreAnnounced(t *testing.T) {
	a, b := testUnit(t, nil, nil), testUnit(t, nil, func(v *san.Volume, _ *UnitOptions) { v.ID[0]++ })
	tg := oneUnit(a)
	w1 := attach(t, tg, nexusName(1), "one")
	w2 := attach(t, tg, nexusName(2), "two")
	reportLUNs := func(w *wire) []san.LUN {
		t.Helper()
		task := w.run(w.in(256, 0xa0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0))
		wantGood(t, task)
		luns, err := scsi.ParseLUNs(bytesIn(task))
		if err != nil {
			t.Fatal(err)
		}
		return luns
	}
	tg.SetMap(map[san.LUN]MapEntry{0: {Unit: a}, 300: {Unit: b, Hosts: []string{"two"}}})
	wantGood(t, w1.tur()) // it sees what it saw
	wantSense(t, w2.tur(), scsi.UnitAttention, scsi.ASCReportedLUNsChanged)
	if l := reportLUNs(w2); len(l) != 2 || l[1] != 300 {
		t.Errorf("host two sees %v", l)
	}
	if l := reportLUNs(w1); len(l) != 1 {
		t.Errorf("host one sees %v", l)
	}
	at300 := func(w *wire) *Task {
		task := w.newTask(testUnitReady)
		task.LUN = san.LUN(300).Field()
		return w.run(task)
	}
	wantSense(t, at300(w1), scsi.IllegalRequest, scsi.ASCLUNotSupported)
	wantSense(t, at300(w2), scsi.UnitAttention, scsi.ASCPowerOnOrReset)
	wantGood(t, at300(w2)) // REPORT LUNS cleared 3F/0E everywhere

	tg.SetMap(map[san.LUN]MapEntry{0: {Unit: a}})
	wantSense(t, at300(w2), scsi.IllegalRequest, scsi.ASCLUNotSupported)
	reportLUNs(w2)
	wantGood(t, w2.tur())
	if n := len(b.nexuses()); n != 0 {
		t.Errorf("%d nexuses are left at the unit that was unmapped", n)
	}

	// Unit attentions stop three commands of those that are on their way to the
	// volume that was there. The end of the session stops the others.
	if len(w1.dropped) > 0 {
		t.Errorf("dropped: %v", w1.dropped)
	}
	tg.SetMap(map[san.LUN]MapEntry{0: {Unit: b}})
	if len(w1.dropped) != 1 || len(w2.dropped) != 1 {
		t.Errorf("dropped: %v, %v", w1.dropped, w2.dropped)
	}
	wantSense(t, w1.tur(), scsi.UnitAttention, scsi.ASCPowerOnOrReset)
	wantSense(t, w1.tur(), scsi.UnitAttention, scsi.ASCInquiryDataChanged)
	wantSense(t, w1.tur(), scsi.UnitAttention, scsi.ASCReportedLUNsChanged)
	wantGood(t, w1.tur())
	tg.SetMap(nil)
}

func TestResizeAndPortGroupsAreAnnounced(t *testing.T) {
	u := testUnit(t, nil, nil)
	tg := oneUnit(u)
	regroup(tg, []PortGroup{{ID: 1, Ports: []san.TPG{1}}})
	w := attach(t, tg, nexusName(1), "")
	u.Resized()
	wantSense(t, w.tur(), scsi.UnitAttention, scsi.ASCCapacityChanged)
	u.SetPortGroups([]PortGroup{{ID: 1, Ports: []san.TPG{1}}})
	wantGood(t, w.tur()) // nobody said that they are told
	regroup(tg, []PortGroup{{ID: 1, State: Standby, Ports: []san.TPG{1}}})
	wantSense(t, w.tur(), scsi.UnitAttention, scsi.ASCAccessStateChanged)
	wantSense(t, w.tur(), scsi.NotReady, scsi.ASCPortStandby)
}
