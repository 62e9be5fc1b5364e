package lun

import (
	"bytes"
	"runtime"
	"testing"
	"time"

	"sango/internal/block"
	"sango/internal/block/layer/delay"
	"sango/internal/block/mem"
	"sango/internal/san"
	"sango/internal/scsi"
)

// unmapLUN0 takes LUN 0 away, in a goroutine, and returns when that has begun.
func unmapLUN0(tg *Target, w *wire) (done <-chan struct{}) {
	i, c := w.view.Load().at(0), make(chan struct{})
	go func() {
		defer close(c)
		tg.SetMap(nil)
	}()
	for !i.retired.Load() {
		runtime.Gosched()
	}
	return c
}

// A LUN can be unmapped while a command sanitizes it, which may take days.
func TestUnmapDoesNotWaitForSanitize(t *testing.T) {
	u := testUnit(t, nil, func(_ *san.Volume, o *UnitOptions) { o.Background = 4096 })
	tg := oneUnit(u)
	w := attach(t, tg, nexusName(1), "")
	list := (&scsi.Overwrite{Count: 1, Pattern: []byte{7}}).Append(nil)
	task := w.out(len(list), 0x48, 1, 0, 0, 0, 0, 0, 0, byte(len(list)), 0)
	w.Admit(task)
	give(task, list)
	task.Ready()
	gone := unmapLUN0(tg, w)
	wantSense(t, w.wait(task), scsi.IllegalRequest, scsi.ASCLUNotSupported)
	select {
	case <-gone:
	case <-time.After(time.Minute):
		t.Fatal("SetMap waits for the operation")
	}
	if owner(u).cond.Load()&condSanitizing == 0 {
		t.Error("the operation ended with the LUN")
	}
}

// A command that takes long goes no further when its LUN is unmapped.
func TestUnmapStopsLongCommands(t *testing.T) {
	m, err := mem.New(mem.Options{Size: 16 << 20, PhysicalBlock: 4096})
	if err != nil {
		t.Fatal(err)
	}
	d := delay.New(m, delay.Options{})
	v := testVolume()
	v.Size = 16 << 20
	u := unitOver(t, v, d, nil, UnitOptions{})
	tg := oneUnit(u)
	w := attach(t, tg, nexusName(1), "")
	d.Hold(block.OpWrite)
	task := w.out(512, 0x93) // WRITE SAME(16) of all blocks
	w.Admit(task)
	give(task, bytes.Repeat([]byte{7}, 512))
	task.Ready()
	<-d.Arrived()
	gone := unmapLUN0(tg, w)
	d.Release()
	wantSense(t, w.wait(task), scsi.IllegalRequest, scsi.ASCLUNotSupported)
	<-gone
}
