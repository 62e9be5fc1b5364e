package gateway

import (
	"slices"
	"sync"
	"time"

	"sango/internal/cluster/model"
	"sango/internal/lun"
	"sango/internal/relay"
	"sango/internal/san"
)

// slot is the place of a volume in a gateway of a cluster: its device while the
// gateway owns it, and the door of its unit.
//
// What is done to the unit is done in order by one goroutine at a time, since
// some of it waits for tasks or for the store, and those who ask for it (the
// runtime, the view) must not.
type slot struct {
	m   *member
	id  san.UUID
	dev *slotDevice

	mapped *unit // what was attached; guarded by member.mu
	pins   int   // see member.pin; guarded by member.mu

	mu    sync.Mutex // guards what follows
	jobs  []func()
	busy  bool
	taken bool // the volume is open here, or being opened or closed
	uses  uses

	// Of the goroutine that does the jobs:
	unit     *lun.Unit // nil: no LUN maps the volume
	stage    stage
	epoch    san.Epoch // from opened on
	rec      model.OwnerRecord
	via      *relay.Volume // to the owner; nil: there is none, or it is here
	viaFor   san.Epoch
	early    []func(san.TPG) bool // see synced
	earlyFor san.Epoch
	former   []*relay.Volume // of the same epoch, to an owner that let go in between
	leaving  bool            // leaveLater will see to them
	refuse   *time.Timer     // nil: nothing waits at the door for an owner
}

// stage is how far a volume is served here.
type stage uint8

const (
	away    stage = iota // not open
	opened_              // open; nobody is let in yet
	serving
	held // to be closed
)

// holdTime is how long tasks wait for somebody to serve, before they are
// answered that the volume is in transition.
const holdTime = time.Second

func newSlot(m *member, v san.UUID) *slot {
	return &slot{m: m, id: v, dev: &slotDevice{}}
}

// do has f done after everything before it.
func (s *slot) do(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.jobs = append(s.jobs, f)
	if !s.busy {
		s.busy = true
		s.m.n.running.Go(s.work)
	}
}

// wait is do, and returns when it is done.
func (s *slot) wait(f func()) {
	done := make(chan struct{})
	s.do(func() {
		defer close(done)
		f()
	})
	<-done
}

// work does jobs until there are none.
func (s *slot) work() {
	for {
		s.mu.Lock()
		if len(s.jobs) == 0 {
			s.busy = false
			s.mu.Unlock()
			s.m.tidy(s)
			return
		}
		f := s.jobs[0]
		s.jobs = s.jobs[1:]
		s.mu.Unlock()
		f()
	}
}

// settle turns the door of a unit that is not served here to whoever serves.
// Where that is nobody, or not known, tasks wait, and are refused after a while.
func (s *slot) settle() {
	if s.unit == nil || s.stage != away {
		return
	}
	node := s.m.relay()
	if s.rec.State != model.Active || node == nil {
		if s.lost() {
			s.refuseSoon()
		}
		return
	}
	if s.via != nil && s.viaFor == s.rec.Epoch {
		return
	}
	old := s.via
	s.patient()
	s.via, s.viaFor = node.Volume(s.id, s.rec.Epoch, s.rec.Owner), s.rec.Epoch
	s.unit.RelayTo(s.rec.Epoch, s.via)
	if old != nil {
		old.Over()
	}
	s.forget()
	s.via.Joined()
}

// turnedAway: the owner does not take what is relayed. Where it stays so, tasks
// wait no longer than for one that was lost.
func (s *slot) turnedAway() {
	if s.unit != nil && s.stage == away && s.lost() {
		s.refuseSoon()
	}
}

// anew makes the relay anew, where the owner has let go of the volume in between
// and serves it under the same epoch again: no LUN mapped it for a moment. What
// the former relay has sent may be executed still.
func (s *slot) anew(e san.Epoch) {
	node := s.m.relay()
	if s.unit == nil || s.stage != away || s.via == nil || s.viaFor != e || !s.via.Moved() || s.rec.State != model.Active || s.rec.Epoch != e || node == nil {
		return
	}
	if s.leave(); len(s.former) >= maxFormer {
		s.m.anewLater(s.id, e)
		return
	}
	s.former = append(s.former, s.via)
	s.via = node.Volume(s.id, e, s.rec.Owner)
	s.unit.RelayTo(e, s.via)
	s.via.Joined()
	s.leaveLater()
}

// maxFormer bounds the relays of an epoch that have been replaced and have not
// ended: each has a handle of its link for every nexus.
const maxFormer = 16

// leave ends former relays as far as the owner has.
func (s *slot) leave() {
	if s.via != nil {
		s.former = slices.DeleteFunc(s.former, func(v *relay.Volume) bool { return v.Leave(s.via) })
	}
}

// leaveLater does so until there are none.
func (s *slot) leaveLater() {
	if s.leaving {
		return
	}
	s.leaving = true
	time.AfterFunc(movedWait, func() {
		s.do(func() {
			s.leaving = false
			if s.leave(); len(s.former) > 0 {
				s.leaveLater()
			}
		})
	})
}

// forget ends the relays of an epoch that is over.
func (s *slot) forget() {
	for _, v := range s.former {
		v.Over()
	}
	s.former = nil
}

// lost reports whether tasks can't be relayed to the owner: there is none, or it
// has given the volume up, or is about to and takes no more.
func (s *slot) lost() bool {
	return s.via == nil || s.via.Moved() || s.rec.State == model.Free || s.rec.State == model.Moving && s.rec.Released
}

// refuseSoon lets tasks wait no longer than holdTime.
func (s *slot) refuseSoon() {
	if s.refuse != nil {
		return
	}
	var t *time.Timer
	t = time.AfterFunc(holdTime, func() {
		s.do(func() {
			if s.refuse != t {
				return
			}
			s.refuse = nil
			if s.unit != nil && s.stage == away && s.lost() {
				s.unit.Refuse()
			}
		})
	})
	s.refuse = t
}

// patient ends refuseSoon.
func (s *slot) patient() {
	if s.refuse != nil {
		s.refuse.Stop()
		s.refuse = nil
	}
}

// direct ends the relay to others.
func (s *slot) direct() {
	if s.via != nil {
		s.via.Over()
		s.via = nil
	}
	s.forget()
}

// cutOff: the member is over, and its relay with it.
func (s *slot) cutOff() {
	s.rec = model.OwnerRecord{}
	if s.via == nil {
		return
	}
	s.via, s.former = nil, nil
	if s.unit != nil && s.stage == away {
		s.unit.Hold(func() {})
		s.refuseSoon()
	}
}

// attach takes the unit that was made for the volume.
func (s *slot) attach(u *lun.Unit) {
	s.unit = u
	switch s.stage {
	case serving:
		s.serve()
	case held:
		u.Hold(func() {})
	default:
		s.settle()
	}
}

// detach lets go of the unit.
func (s *slot) detach() {
	s.patient()
	s.direct()
	if s.unit != nil && (s.stage == serving || s.stage == held) {
		s.unit.Release()
	}
	s.unit = nil
}

// serve opens the door of the unit.
func (s *slot) serve() {
	s.patient()
	err := s.unit.Serve(s.epoch)
	s.direct()
	if err != nil {
		s.m.n.cfg.Log.Error("a volume does not serve", "volume", s.unit.Volume().Name, "error", err)
		s.m.runtime.Failed(s.id, err)
		return
	}
	s.unit.Sweep(s.m.known())
	if s.earlyFor == s.epoch {
		for _, of := range s.early {
			s.unit.Sweep(of)
		}
		s.early = nil
	}
}

// synced: a gateway has told of all nexuses that it has for the volume under an
// epoch. of tells its ports. It may know sooner than this one that it serves.
func (s *slot) synced(e san.Epoch, of func(san.TPG) bool) {
	switch {
	case s.unit != nil && s.stage == serving && s.epoch == e:
		s.unit.Sweep(of)
	case e > s.earlyFor:
		s.early, s.earlyFor = []func(san.TPG) bool{of}, e
	case e == s.earlyFor && len(s.early) < maxEarly:
		s.early = append(s.early, of)
	}
}

// maxEarly bounds what is kept of gateways that know sooner: one tells once for
// each time that it gets to the owner.
const maxEarly = 1024
