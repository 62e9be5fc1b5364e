package lun

import (
	"testing"

	"sango/internal/block"
	"sango/internal/block/layer/delay"
	"sango/internal/san"
	"sango/internal/scsi"
)

// A change of the LUN map does not wait for tasks. A nexus that has one left at a
// LUN sees nothing there before it has ended; others see at once what is new.
func TestChangeMapDoesNotWait(t *testing.T) {
	d := delay.New(memDevice(t, testVolume()), delay.Options{})
	slow := unitOver(t, testVolume(), d, nil, UnitOptions{})
	next := testUnit(t, nil, nil)
	for _, x := range []struct {
		name string
		at0  *Unit
	}{{"the same unit", slow}, {"another unit", next}} {
		t.Run(x.name, func(t *testing.T) {
			tg := NewTarget("iqn.2026-11.io.sango:map", TargetOptions{})
			tg.SetMap(map[san.LUN]MapEntry{0: {Unit: slow}})
			defer tg.SetMap(nil)
			busy, idle := attach(t, tg, nexusName(1), ""), attach(t, tg, nexusName(2), "")
			d.Hold(block.OpWrite)
			task := busy.out(512, 0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0)
			busy.Admit(task)
			give(task, make([]byte, 512))
			task.Ready()
			<-d.Arrived()
			ending := tg.ChangeMap(nil)
			if len(ending) != 1 || ending[0].Unit != slow {
				t.Fatalf("%+v", ending)
			}
			back := tg.ChangeMap(map[san.LUN]MapEntry{0: {Unit: x.at0}})
			if len(back) != 1 || back[0].Unit != x.at0 {
				t.Fatalf("%+v", back)
			}
			for _, e := range append(ending, back...) {
				select {
				case <-e.Done:
					t.Fatal("it has ended before its task")
				default:
				}
			}
			wantSense(t, idle.tur(), scsi.UnitAttention, scsi.ASCPowerOnOrReset)
			wantSense(t, busy.tur(), scsi.IllegalRequest, scsi.ASCLUNotSupported)
			d.Release()
			wantGood(t, busy.wait(task))
			<-ending[0].Done
			<-back[0].Done
			wantSense(t, busy.tur(), scsi.UnitAttention, scsi.ASCPowerOnOrReset)
			if n := len(slow.nexuses()); x.at0 != slow && n != 0 {
				t.Errorf("%d nexuses are left at the unit that was unmapped", n)
			}
		})
	}
}
