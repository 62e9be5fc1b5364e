package lun

import (
	"math/rand/v2"
	"sync"
	"testing"

	"sango/internal/san"
	"sango/internal/scsi"
	"sango/internal/scsi/copy"
	"sango/internal/scsi/pr"
)

// restless is a host that does everything at once, through sessions that come
// and go.
type restless struct {
	*wire
	rnd  *rand.Rand
	unit *Unit
	key  pr.Key
}

// command returns a random command and its data.
func (h *restless) command() (*Task, []byte) {
	out := func(action scsi.ServiceAction, o pr.Out) (*Task, []byte) {
		b := o.Append(nil, action)
		return h.out(len(b), 0x5f, byte(action), byte(pr.WriteExclusiveRegistrantsOnly), 0, 0, 0, 0, 0, byte(len(b)), 0), b
	}
	lba := byte(h.rnd.IntN(64))
	switch h.rnd.IntN(13) {
	case 0:
		return h.newTask(testUnitReady), nil
	case 1, 2:
		return h.in(4096, 0x28, 0, 0, 0, 0, lba, 0, 0, 8, 0), nil
	case 3:
		return h.out(128<<10, 0x2a, 0, 0, 0, 0, lba&^7, 0, 1, 0, 0), make([]byte, 128<<10)
	case 4:
		return h.out(1024, 0x89, 0, 0, 0, 0, 0, 0, 0, 0, lba, 0, 0, 0, 1), make([]byte, 1024)
	case 5:
		return out(pr.RegisterAndIgnore, pr.Out{ActionKey: h.key})
	case 6:
		return out(pr.PreemptAndAbort, pr.Out{Key: h.key, ActionKey: pr.Key(1 + h.rnd.IntN(4))})
	case 7:
		return out([]scsi.ServiceAction{pr.Clear, pr.Reserve, pr.Release}[h.rnd.IntN(3)], pr.Out{Key: h.key})
	case 8:
		return h.newTask([][]byte{reserve6CDB, release6CDB}[h.rnd.IntN(2)]), nil
	case 9:
		list := (&copy.List{
			Targets:  []copy.Target{{Designator: h.unit.naa(), BlockLength: 512}},
			Segments: []copy.Segment{{Blocks: 4096, DestinationLBA: 8192}},
		}).Append(nil)
		return h.out(len(list), 0x83, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, byte(len(list))), list
	case 10:
		return h.in(255, modeSense6...), nil
	case 11:
		return h.newTask([]byte{0x35}), nil
	default:
		return h.in(255, 0xa3, 0x0c, 0, 0, 0, 0, 0, 0, 0, 255, 0), nil
	}
}

// session issues commands and functions, and ends in the middle of them.
func (h *restless) session() {
	var functions sync.WaitGroup
	var open []*Task
	for range 25 {
		t, data := h.command()
		if k := h.rnd.IntN(10); k < 2 {
			t.Attr = []scsi.TaskAttr{scsi.Ordered, scsi.HeadOfQueue}[k]
		}
		h.Admit(t)
		if !h.isDone(t) && t.OutLen > 0 && h.rnd.IntN(12) > 0 {
			give(t, data)
			if h.rnd.IntN(2) == 0 {
				t.Stream(t.OutLen / 2)
			}
			t.Ready()
		}
		open = append(open, t)
		switch k := h.rnd.IntN(8); {
		case k == 0:
			f := []Function{AbortTask, AbortTaskSet, ClearTaskSet, LogicalUnitReset, TargetWarmReset, NexusReset}[h.rnd.IntN(6)]
			functions.Add(1)
			h.Manage(TMF{Function: f, LUN: lun0, RefTag: t.Tag}, func(TMFResponse) { functions.Done() })
		case k < 3:
			h.settle()
		}
	}
	h.Detach()
	for _, t := range open {
		h.wait(t)
	}
	functions.Wait()
}

// Whatever hosts do while the volume moves, nothing waits for ever, ends twice
// or is left over, and nobody but its owner touches the volume.
func TestMovesUnderStress(t *testing.T) {
	for name, lazy := range map[string]bool{"at once": false, "later": true} {
		t.Run(name, func(t *testing.T) {
			g := newGang(t, 3, func(o *UnitOptions) { o.Background = 1 << 40 })
			g.busy, g.lazy, g.cuts = true, lazy, true
			g.serve(0)
			var hosts sync.WaitGroup
			for n := range 4 {
				hosts.Go(func() {
					rnd := rand.New(rand.NewPCG(uint64(n), 7))
					for range 12 {
						at := rnd.IntN(3)
						w := attachRaw(t, g.gates[at].target, g.name(at, n), "")
						h := &restless{wire: w, rnd: rnd, unit: g.gates[at].unit, key: pr.Key(1 + n)}
						h.session()
						g.each(func(u *Unit) { u.Sweep(func(p san.TPG) bool { return p == san.TPG(1+at) }) })
					}
				})
			}
			over := make(chan struct{})
			go func() {
				hosts.Wait()
				close(over)
			}()
			rnd := rand.New(rand.NewPCG(3, 4))
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
			for i, x := range g.gates {
				s := &x.unit.set
				if n := x.unit.tasks.Load(); n != 0 || s.started.first != nil || s.dormant.first != nil || s.door.line.first != nil || s.door.away.first != nil {
					t.Errorf("gateway %d: %d tasks are left", i, n)
				}
				if left := s.counts(); left != "" {
					t.Errorf("gateway %d: %s", i, left)
				}
			}
		})
	}
}

// each calls f with the unit of each gateway.
func (g *gang) each(f func(*Unit)) {
	for _, x := range g.gates {
		f(x.unit)
	}
}
