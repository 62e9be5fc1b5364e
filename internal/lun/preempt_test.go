package lun

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"sango/internal/san"
	"sango/internal/scsi"
	"sango/internal/scsi/pr"
)

// duelist is the transport of one nexus of TestPreemptAndAbortOfEachOther. The
// end of a task that was aborted takes its time, so that others get ahead.
type duelist struct {
	*Nexus
	ends chan *Task
}

func (d *duelist) TaskDone(t *Task) {
	if t.Tag == 0 {
		for range 50 {
			runtime.Gosched()
		}
		return
	}
	d.ends <- t
}

func (d *duelist) Drop(string) {}

// persist sends a PERSISTENT RESERVE OUT and waits for its end, however it
// ends.
func (d *duelist) persist(l san.LUN, action scsi.ServiceAction, o pr.Out) bool {
	list := o.Append(nil, action)
	t := &Task{Tag: 1, Attr: scsi.Simple, LUN: l.Field(), Write: true, Expected: uint32(len(list))}
	t.CDB = [16]byte{0x5f, byte(action), byte(pr.WriteExclusive), 8: byte(len(list))}
	d.Admit(t)
	if t.OutLen > 0 {
		give(t, list)
		t.Ready()
	}
	select {
	case <-d.ends:
		return true
	case <-time.After(time.Minute):
		return false
	}
}

// Two nexuses that preempt and abort each other at the same time, through two
// LUNs of one unit each, do not wait for each other for ever.
func TestPreemptAndAbortOfEachOther(t *testing.T) {
	u := testUnit(t, nil, nil)
	tg := NewTarget("iqn.2026-11.test:target", TargetOptions{})
	tg.SetMap(map[san.LUN]MapEntry{0: {Unit: u}, 1: {Unit: u}})
	var nexuses []*Nexus
	var wg sync.WaitGroup
	for n := range 2 {
		d := &duelist{ends: make(chan *Task, 8)}
		nx, err := tg.Attach(nexusName(n), "", d)
		if err != nil {
			t.Fatal(err)
		}
		d.Nexus = nx
		nexuses = append(nexuses, nx)
		wg.Go(func() {
			own, other := pr.Key(1+n), pr.Key(2-n)
			for i := range 500 {
				l := san.LUN(i & 1)
				for _, at := range nx.view.Load().all {
					for at.attn.count.Load() > 0 {
						at.attn.take()
					}
				}
				for range 4 { // aborted with all others of the nexus
					silent := &Task{Attr: scsi.Simple, LUN: (1 - l).Field(), Write: true, Expected: 512}
					silent.CDB = [16]byte{byte(scsi.OpWrite10), 8: 1}
					nx.Admit(silent)
				}
				if !d.persist(l, pr.RegisterAndIgnore, pr.Out{ActionKey: own}) || !d.persist(l, pr.PreemptAndAbort, pr.Out{Key: own, ActionKey: other}) {
					t.Errorf("nexus %d waits for ever, in round %d", n, i)
					return
				}
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow() // and leave the nexuses alone: they would wait too
	}
	for _, n := range nexuses {
		n.Detach()
	}
}
