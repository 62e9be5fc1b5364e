package lun

import (
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"sango/internal/san"
	"sango/internal/scsi"
	"sango/internal/scsi/copy"
	"sango/internal/scsi/pr"
)

// stressor is the transport of one nexus of TestStress.
type stressor struct {
	p    *pair
	rnd  *rand.Rand
	busy sync.WaitGroup // tasks and functions without an end
	mu   sync.Mutex
	done map[*Task]bool
	t    *testing.T
}

// rounds is how many sessions each nexus of TestStress has.
const rounds = 8

func (s *stressor) Drop(string) {}

func (s *stressor) TaskDone(t *Task) {
	s.mu.Lock()
	if s.done[t] {
		s.t.Errorf("% x is done twice", t.CDB)
	}
	s.done[t] = true
	s.mu.Unlock()
	s.busy.Done()
}

// command returns a random command for one of the two LUNs, and its data.
func (s *stressor) command(n int) (cdb []byte, data []byte, in int) {
	rnd := s.rnd
	list := func(action scsi.ServiceAction, o pr.Out) ([]byte, []byte, int) {
		b := o.Append(nil, action)
		kind := pr.Types()[rnd.IntN(len(pr.Types()))]
		return []byte{0x5f, byte(action), byte(kind), 8: byte(len(b)), 9: 0}, b, 0
	}
	blocks := func(op scsi.OpCode, max, size int) ([]byte, []byte, int) {
		k := 1 + rnd.IntN(max)
		return cdbOf(s.t, op, at(uint64(rnd.IntN(64)), k)), make([]byte, size*k), 0
	}
	own := pr.Key(1 + n)
	switch rnd.IntN(14) {
	case 0:
		return testUnitReady, nil, 0
	case 1:
		return cdbOf(s.t, scsi.OpRead10, at(uint64(rnd.IntN(64)), 8)), nil, 8 * 512
	case 2:
		return blocks(scsi.OpWrite10, 200, 512)
	case 3:
		return blocks(scsi.OpCompareAndWrite, 16, 1024)
	case 4, 5:
		from := uint16(rnd.IntN(2))
		l := s.p.list(copy.Segment{Source: from, Destination: 1 - from, Blocks: 3000, SourceLBA: scsi.LBA(rnd.IntN(64))})
		l.Usage, l.ID = copy.UsageHold, byte(rnd.IntN(8))
		b := l.Append(nil)
		cdb := make([]byte, 16)
		cdb[0] = 0x83
		binary.BigEndian.PutUint32(cdb[10:], uint32(len(b)))
		return cdb, b, 0
	case 6:
		return list(pr.RegisterAndIgnore, pr.Out{ActionKey: own})
	case 7:
		return list(pr.PreemptAndAbort, pr.Out{Key: own, ActionKey: pr.Key(1 + rnd.IntN(3))})
	case 8:
		return list(pr.Clear, pr.Out{Key: own})
	case 9:
		return list(pr.Reserve, pr.Out{Key: own})
	case 10:
		return reserve6CDB, nil, 0
	case 11:
		return release6CDB, nil, 0
	case 12:
		return []byte{0x55, 0x10, 8: 16}, []byte{7: 0, 8: 0x0a, 9: 0x0a, 10: 2 * byte(rnd.IntN(2)), 15: 0}, 0 // D_SENSE
	default:
		return blocks(scsi.OpOrWrite16, 64, 512)
	}
}

func (s *stressor) session(nx *Nexus, n int) {
	var wg sync.WaitGroup
	for tag := range 80 {
		cdb, data, in := s.command(n)
		t := &Task{Tag: uint32(tag), Attr: scsi.Simple, Read: in > 0, Write: data != nil, Expected: uint32(max(in, len(data)))}
		if k := s.rnd.IntN(8); k < 2 {
			t.Attr = []scsi.TaskAttr{scsi.Ordered, scsi.HeadOfQueue}[k]
		}
		t.LUN = san.LUN(s.rnd.IntN(2)).Field()
		for i := range cdb {
			t.CDB[i] = cdb[i]
		}
		if s.rnd.IntN(8) > 0 { // most commands are to do something
			for _, i := range nx.view.Load().all {
				for i.attn.count.Load() > 0 {
					i.attn.take()
				}
			}
		}
		s.busy.Add(1)
		nx.Admit(t)
		s.mu.Lock()
		gather := !s.done[t] && t.OutLen > 0
		s.mu.Unlock()
		if gather {
			give(t, data)
			if s.rnd.IntN(10) == 0 {
				wg.Go(t.Ready)
			} else {
				t.Ready()
			}
		}
		if s.rnd.IntN(40) == 0 {
			wg.Go(s.change)
		}
		if s.rnd.IntN(12) == 0 {
			f := []Function{AbortTask, AbortTaskSet, ClearTaskSet, LogicalUnitReset, TargetWarmReset, NexusReset}[s.rnd.IntN(6)]
			s.busy.Add(1)
			nx.Manage(TMF{Function: f, LUN: t.LUN, RefTag: uint32(s.rnd.IntN(tag + 1))}, func(TMFResponse) { s.busy.Done() })
		}
	}
	wg.Wait()
}

// change takes the second LUN away and brings it back.
func (s *stressor) change() {
	both := map[san.LUN]MapEntry{0: {Unit: s.p.u[0]}, 1: {Unit: s.p.u[1]}}
	s.p.tg.SetMap(map[san.LUN]MapEntry{0: both[0]})
	s.p.tg.SetMap(both)
	s.p.u[0].Resized()
}

// Everything at once, on two units that several nexuses see: nothing waits for
// ever, ends twice or is left over.
func TestStress(t *testing.T) {
	p := newPair(t)
	p.Detach()
	over := make(chan struct{})
	go func() {
		defer close(over)
		var wg sync.WaitGroup
		for n := range 3 {
			wg.Go(func() {
				for round := range rounds {
					s := &stressor{p: p, rnd: rand.New(rand.NewPCG(uint64(n), uint64(round))), done: map[*Task]bool{}, t: t}
					nx, err := p.tg.Attach(nexusName(10+n), "host", s)
					if err != nil {
						t.Error(err)
						return
					}
					s.session(nx, n)
					if round%2 == 0 {
						s.busy.Wait()
					}
					nx.Detach()
					s.busy.Wait()
				}
			})
		}
		wg.Wait()
	}()
	select {
	case <-over:
	case <-time.After(5 * time.Minute):
		t.Fatal("something waits for ever")
	}
	for i, u := range []*Unit{p.u[0], p.u[1], owner(p.u[0]), owner(p.u[1])} {
		s := &u.set
		if n := u.tasks.Load(); n != 0 || s.started.first != nil || s.dormant.first != nil || s.door.line.first != nil || s.door.away.first != nil {
			t.Errorf("unit %d: %d tasks are left", i, n)
		}
		if left := s.counts(); left != "" {
			t.Errorf("unit %d: %s", i, left)
		}
		if len(u.peers) != 0 || u.copying.Load() != 0 {
			t.Errorf("unit %d: %d nexuses, %d copies are left", i, len(u.peers), u.copying.Load())
		}
	}
}
