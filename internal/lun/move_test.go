package lun

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"sango/internal/block"
	"sango/internal/scsi"
)

// counter is a block that hosts count up by COMPARE AND WRITE: an increment
// that is lost, or done twice, shows.
type counter struct {
	lba     byte
	done    atomic.Uint64 // increments that were answered with GOOD
	unknown atomic.Uint64 // that were aborted
}

func (c *counter) block(n uint64) []byte {
	b := make([]byte, 512)
	binary.BigEndian.PutUint64(b, n)
	return b
}

// again reports whether the host sends a command with this end again.
func again(t *Task) bool {
	k, a := sense(t)
	switch {
	case t.Status == scsi.Busy || t.Status == scsi.TaskSetFull || k == scsi.UnitAttention:
		return true
	}
	return k == scsi.NotReady && a == scsi.ASCAccessTransition
}

// count adds n increments through w; some are aborted.
func (c *counter) count(t *testing.T, w *wire, n int, rnd *rand.Rand) {
	last := uint64(0)
	for n > 0 {
		read := w.run(w.in(512, 0x28, 0, 0, 0, 0, c.lba, 0, 0, 1, 0))
		if read.Aborted || again(read) {
			continue
		}
		if read.Status != scsi.Good {
			t.Errorf("READ: %v % x", read.Status, read.Sense)
			return
		}
		now := binary.BigEndian.Uint64(bytesIn(read))
		if now < last {
			t.Errorf("the counter went back from %d to %d", last, now)
			return
		}
		last = now
		caw := w.out(1024, 0x89, 0, 0, 0, 0, 0, 0, 0, 0, c.lba, 0, 0, 0, 1)
		w.Admit(caw)
		if !w.isDone(caw) && caw.OutLen > 0 {
			give(caw, append(c.block(now), c.block(now+1)...))
			caw.Ready()
		}
		if rnd.IntN(20) == 0 {
			w.manage(TMF{Function: AbortTask, LUN: lun0, RefTag: caw.Tag})
		}
		w.wait(caw)
		k, _ := sense(caw)
		switch {
		case caw.Aborted:
			c.unknown.Add(1)
		case caw.Status == scsi.Good:
			c.done.Add(1)
			n--
		case k == scsi.Miscompare || again(caw):
		default:
			t.Errorf("COMPARE AND WRITE: %v % x", caw.Status, caw.Sense)
			return
		}
	}
}

// Owners move under load: nothing is lost, done twice, or done by who does not
// own the volume; every task ends once.
func TestMovesUnderLoad(t *testing.T) {
	for name, lazy := range map[string]bool{"at once": false, "later": true} {
		t.Run(name, func(t *testing.T) {
			g := newGang(t, 3, nil)
			g.lazy, g.cuts = lazy, true
			counters := []*counter{{lba: 0}, {lba: 1}, {lba: 77}}
			g.serve(0)
			var hosts sync.WaitGroup
			for at := range g.gates {
				for n := range 2 {
					w := g.attach(at, 10*at+n)
					rnd := rand.New(rand.NewPCG(uint64(at), uint64(n)))
					hosts.Go(func() { counters[n+at%2].count(t, w, 150, rnd) })
				}
			}
			over := make(chan struct{})
			go func() {
				hosts.Wait()
				close(over)
			}()
			rnd := rand.New(rand.NewPCG(1, 2))
			moves := 0
			for running := true; running; moves++ {
				g.move((g.owner + 1 + rnd.IntN(2)) % 3)
				select {
				case <-over:
					running = false
				default:
				}
			}
			t.Logf("%d moves", moves)
			for _, c := range counters {
				b := make([]byte, 512)
				if err := block.ReadAt(g.disc.Device, b, int64(c.lba)*512); err != nil {
					t.Fatal(err)
				}
				got, done := binary.BigEndian.Uint64(b), c.done.Load()
				if got < done || got > done+c.unknown.Load() {
					t.Errorf("counter %d is at %d after %d increments, and %d that were aborted", c.lba, got, done, c.unknown.Load())
				}
			}
			for i, x := range g.gates {
				s := &x.unit.set
				if s.started.first != nil || s.dormant.first != nil || s.door.line.first != nil || s.door.away.first != nil {
					t.Errorf("gateway %d: tasks are left", i)
				}
			}
		})
	}
}

// A write whose head was streamed goes on where the volume is then, and its
// head is not written again.
func TestStreamMoves(t *testing.T) {
	for _, head := range []int{64 << 10, 192 << 10, streamLen} {
		g := newGang(t, 2, nil)
		g.serve(0)
		w, other := g.attach(0, 1), g.attach(1, 2)
		data := bytes.Repeat([]byte("sango + "), streamLen/8)
		task := w.write(streamLen, 0, data)
		task.Stream(head)
		g.move(1)
		// What another host writes to the head now stays.
		mark := bytes.Repeat([]byte{0xee}, 512)
		wantGood(t, other.run(other.out(512, 0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0), mark...))
		task.Ready()
		wantGood(t, w.wait(task))
		if task.Want != streamLen {
			t.Errorf("Want = %d", task.Want)
		}
		got := make([]byte, streamLen)
		if err := block.ReadAt(g.disc.Device, got, 0); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got[:512], mark) || !bytes.Equal(got[512:], data[512:]) {
			t.Errorf("head of %d: other bytes are on the medium", head)
		}
	}
}
