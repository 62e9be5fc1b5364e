package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sango/internal/initiator"
	"sango/internal/iscsi"
	"sango/internal/pause"
	"sango/internal/scsi"
	"sango/internal/scsi/pr"
	"sango/test/chaos/history"
)

// arena is a volume for whose reservations the rivals fight, while they read
// and write its cells. Its history is cut into segments: each begins with
// nobody registered and zeros everywhere.
type arena struct {
	*load
	volume *volume
	six    bool // RESERVE(6) instead of persistent reservations

	mu      sync.RWMutex // held for reading by who works; guards segment
	segment int
	latest  atomic.Int64                        // segment, for who can't wait for mu
	keys    [history.MaxNexus + 1]atomic.Uint64 // the nexus believes to be registered with
	types   [history.MaxNexus + 1]atomic.Uint32 // and to have reserved with
	fresh   atomic.Uint64                       // keys are not used twice
}

const segmentTime = 15 * time.Second

// name is the volume as the history has it.
func (a *arena) name() string { return a.nameOf(int64(a.segment)) }

func (a *arena) nameOf(segment int64) string { return fmt.Sprintf("%s:%d", a.volume.name, segment) }

// nexus returns the number of a path of a rival.
func (a *arena) nexus(h *plain, p *path) int {
	return slices.Index(a.rivals, h)*len(h.paths) + slices.Index(h.paths, p) + 1
}

// work is one worker of a rival.
func (a *arena) work(ctx context.Context, h *plain, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 0x4e5))
	for a.think(ctx, r) {
		a.mu.RLock()
		if a.segment > 0 {
			a.one(r, h)
		}
		a.mu.RUnlock()
	}
}

// one sends one command.
func (a *arena) one(r *rand.Rand, h *plain) {
	p := h.paths[r.IntN(len(h.paths))]
	if s, _, _ := p.now(); s == nil {
		return
	}
	n := a.nexus(h, p)
	o := &history.Op{ID: a.rec.NextID(), Nexus: n, Volume: a.name()}
	c := &initiator.Command{LUN: a.volume.lun.Field(), Attr: scsi.Simple}
	dice := r.IntN(100)
	switch {
	case dice < 25:
		o.Kind, o.Name, o.LBA = history.Read, "READ(10)", int64(r.IntN(history.Cells))
		c.CDB = scsi.CDB{byte(scsi.OpRead10), 5: byte(o.LBA), 8: 1}
		c.In = [][]byte{make([]byte, a.volume.block)}
		h.transmit(p, o, c, func() { o.Vals = decode(c.In[0], a.volume.block) })
		return
	case dice < 55:
		o.Kind, o.Name, o.LBA = history.Write, "WRITE(10)", int64(r.IntN(history.Cells))
		o.Vals = values(o.ID, 1, false)
		c.CDB = scsi.CDB{byte(scsi.OpWrite10), 5: byte(o.LBA), 8: 1}
		c.Out = [][]byte{encode(o.Vals, a.volume.block)}
		h.transmit(p, o, c, nil)
		return
	}
	if a.six {
		o.Kind, o.Name = history.Reserve, "RESERVE(6)"
		c.CDB[0] = byte(scsi.OpReserve6)
		if dice < 80 {
			o.Kind, o.Name = history.Release, "RELEASE(6)"
			c.CDB[0] = byte(scsi.OpRelease6)
		}
		h.transmit(p, o, c, nil)
		return
	}
	switch {
	case dice < 65:
		a.look(h, p, o, c, dice < 60)
	default:
		a.change(r, h, p, o, c)
	}
}

// look asks who is registered, or who holds.
func (a *arena) look(h *plain, p *path, o *history.Op, c *initiator.Command, keys bool) {
	c.In = [][]byte{make([]byte, 512)}
	o.PR = &history.PR{}
	if keys {
		o.Kind, o.Name = history.PRKeys, "READ KEYS"
		c.CDB = scsi.CDB{byte(scsi.OpPersistReserveIn), byte(pr.ReadKeys), 7: 2}
	} else {
		o.Kind, o.Name = history.PRHeld, "READ RESERVATION"
		c.CDB = scsi.CDB{byte(scsi.OpPersistReserveIn), byte(pr.ReadReservation), 7: 2}
	}
	h.transmit(p, o, c, func() {
		var err error
		if keys {
			var list []pr.Key
			_, list, err = pr.ParseKeys(c.In[0][:c.Got])
			o.PR.Keys = []uint64{}
			for _, k := range list {
				o.PR.Keys = append(o.PR.Keys, uint64(k))
			}
			slices.Sort(o.PR.Keys)
		} else {
			var held *pr.Reservation
			if _, held, err = pr.ParseReservation(c.In[0][:c.Got]); err == nil && held != nil {
				o.PR.Holder, o.PR.Type = uint64(held.Key), uint8(held.Type)
			}
		}
		if err != nil {
			a.fail(fmt.Errorf("%v: %w", o, err))
		}
	})
}

// actions are the service actions by the names of the history.
var actions = map[string]scsi.ServiceAction{
	history.ActRegister: pr.Register, history.ActRegisterIgnore: pr.RegisterAndIgnore, history.ActReserve: pr.Reserve, history.ActRelease: pr.Release,
	history.ActClear: pr.Clear, history.ActPreempt: pr.Preempt, history.ActPreemptAndAbort: pr.PreemptAndAbort,
}

// persist fills in a PERSISTENT RESERVE OUT.
func persist(c *initiator.Command, p *history.PR) {
	sa := actions[p.Action]
	out := pr.Out{Key: pr.Key(p.Key), ActionKey: pr.Key(p.Other), APTPL: true}
	list := out.Append(nil, sa)
	c.CDB = scsi.CDB{byte(scsi.OpPersistReserveOut), byte(sa), p.Type}
	binary.BigEndian.PutUint32(c.CDB[5:], uint32(len(list)))
	c.Out = [][]byte{list}
}

// change sends a PERSISTENT RESERVE OUT.
func (a *arena) change(r *rand.Rand, h *plain, p *path, o *history.Op, c *initiator.Command) {
	n := o.Nexus
	mine := a.keys[n].Load()
	q := &history.PR{Key: mine}
	o.Kind, o.PR = history.PROut, q
	dice := r.IntN(100)
	if mine == 0 && dice >= 30 {
		dice = r.IntN(30)
	}
	types := pr.Types()
	switch {
	case dice < 30:
		q.Action = history.ActRegister
		if dice < 10 {
			q.Action = history.ActRegisterIgnore
		}
		// All paths of a host have the same key, as mpathpersist makes it.
		base := n - (n-1)%len(h.paths)
		for i := base; i < base+len(h.paths) && q.Other == 0; i++ {
			if i != n {
				q.Other = a.keys[i].Load()
			}
		}
		if q.Other == 0 || r.IntN(6) == 0 {
			q.Other = uint64(n)<<32 | a.fresh.Add(1)
		}
	case dice < 36:
		q.Action = history.ActRegister // of key 0: it leaves
	case dice < 58:
		q.Action, q.Type = history.ActReserve, uint8(types[r.IntN(len(types))])
	case dice < 66:
		q.Action, q.Type = history.ActRelease, uint8(a.types[n].Load())
		if q.Type == 0 {
			q.Type = uint8(types[r.IntN(len(types))])
		}
	case dice < 70:
		q.Action = history.ActClear
	default:
		q.Action, q.Type = history.ActPreemptAndAbort, uint8(types[r.IntN(len(types))])
		if dice < 80 {
			q.Action = history.ActPreempt
		}
		victim := 1 + r.IntN(len(a.rivals)*len(h.paths))
		if q.Other = a.keys[victim].Load(); q.Other == 0 || q.Other == mine {
			return
		}
	}
	o.Name = "PERSISTENT RESERVE OUT"
	persist(c, q)
	h.transmit(p, o, c, func() {
		switch q.Action {
		case history.ActRegister, history.ActRegisterIgnore:
			a.keys[n].Store(q.Other)
		case history.ActClear:
			a.keys[n].Store(0)
		}
		if q.Type != 0 {
			a.types[n].Store(uint32(q.Type))
		}
	})
	if o.Outcome != history.Good && (o.Outcome != history.Conflict || r.IntN(2) == 0) {
		// It does not know what it is registered with any more.
		if o.Outcome == history.Unknown || o.Outcome == history.Conflict {
			a.keys[n].Store(0)
			if q.Action == history.ActRegister || q.Action == history.ActRegisterIgnore {
				return
			}
			fix := &history.Op{ID: a.rec.NextID(), Nexus: n, Volume: o.Volume, Kind: history.PROut, Name: o.Name}
			fix.PR = &history.PR{Action: history.ActRegisterIgnore, Other: uint64(n)<<32 | a.fresh.Add(1)}
			c := &initiator.Command{LUN: a.volume.lun.Field(), Attr: scsi.Simple}
			persist(c, fix.PR)
			h.transmit(p, fix, c, func() { a.keys[n].Store(fix.PR.Other) })
		}
	}
}

// nexusLost keeps that what a path held by RESERVE(6) is free, from some moment
// between the two on.
func (a *arena) nexusLost(p *path, from, to int64) {
	if !a.six {
		return
	}
	// A segment may be about to end, which asks for the state of the path, or is
	// just beginning: then it belongs to both. It does no harm in the other one: what a
	// nexus holds does not go from one to the next.
	o := &history.Op{ID: a.rec.NextID(), Host: p.host.name, Path: p.portal, Nexus: a.nexus(p.host, p), Kind: history.Lost, Name: "nexus lost", Call: from, Return: to, Outcome: history.Good}
	now := a.latest.Load()
	o.Volume = a.nameOf(now)
	a.rec.Add(o)
	a.events.Go(func() {
		a.mu.RLock()
		defer a.mu.RUnlock()
		if int64(a.segment) != now {
			again := *o
			again.ID, again.Volume = a.rec.NextID(), a.name()
			a.rec.Add(&again)
		}
	})
}

// keep makes a segment after the other until ctx ends.
func (a *arena) keep(ctx context.Context) {
	for {
		a.mu.Lock()
		a.finish()
		err := a.begin()
		a.mu.Unlock()
		if err != nil {
			if !errors.Is(err, context.Canceled) {
				a.fail(fmt.Errorf("volume %s: a new segment: %w", a.volume.name, err))
			}
			return
		}
		if !pause.For(ctx, segmentTime) {
			break
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.finish()
}

// finish ends the segment. The caller holds mu, so that nothing is under way.
func (a *arena) finish() {
	if !a.six || a.segment == 0 {
		return
	}
	for _, h := range a.rivals {
		for _, p := range h.paths {
			// The target may know of the end of a session that the host believes in.
			end := p.ending(history.Never)
			a.rec.Add(&history.Op{
				ID: a.rec.NextID(), Host: h.name, Path: p.portal, Nexus: a.nexus(h, p), Volume: a.name(), Kind: history.Lost, Name: "nexus perhaps lost",
				Call: end.from(a.volume.name), Return: history.Never, Outcome: history.Unknown, Bound: history.Never,
			})
		}
	}
}

// begin brings the volume to where each segment begins. The caller holds mu.
func (a *arena) begin() error {
	for {
		err := a.clean()
		if !errors.Is(err, errReserved) {
			if err != nil {
				return err
			}
			break
		}
	}
	for n := range a.keys {
		a.keys[n].Store(0)
		a.types[n].Store(0)
	}
	a.segment++
	a.latest.Store(int64(a.segment))
	return nil
}

// errReserved ends clean where the volume is reserved still.
var errReserved = errors.New("it is reserved")

// clean takes all registrations away and writes zeros. CLEAR counts where it was
// answered with GOOD alone: sent again through another path, or after one that
// was not answered, it meets a conflict, since that nexus is not registered, or
// is no more. Then all of it is to be done again.
func (a *arena) clean() error {
	if a.six {
		if err := a.resetUnit(); err != nil {
			return err
		}
	} else {
		for _, q := range []*history.PR{{Action: history.ActRegisterIgnore, Other: 1}, {Action: history.ActClear, Key: 1}} {
			if err := a.tidy(func(c *initiator.Command) { persist(c, q) }); err != nil {
				return err
			}
		}
	}
	for i := range history.Cells {
		if err := a.tidy(func(c *initiator.Command) {
			c.CDB = scsi.CDB{byte(scsi.OpWrite10), 5: byte(i), 8: 1}
			c.Out = [][]byte{make([]byte, a.volume.block)}
		}); err != nil {
			return err
		}
	}
	return nil
}

// tidy sends a command of the janitor until it was done. errReserved: it met a
// persistent reservation.
func (a *arena) tidy(fill func(c *initiator.Command)) error {
	for {
		last := a.janitor.persevere(&history.Op{Kind: history.Write}, func() *initiator.Command {
			c := &initiator.Command{LUN: a.volume.lun.Field(), Attr: scsi.Simple}
			fill(c)
			return c
		}, true)
		switch {
		case last == nil:
			return context.Canceled
		case last.Outcome == history.Good:
			return nil
		case last.Outcome == history.Conflict && !a.six:
			return errReserved
		case !a.janitor.await(a.ends): // its disk is full, or its metadata out of reach
			return fmt.Errorf("%v", last)
		}
	}
}

// resetUnit frees what is held by RESERVE(6).
func (a *arena) resetUnit() error {
	for {
		if p := a.janitor.pick(); p != nil {
			if s, _, _ := p.now(); s != nil {
				limit, cancel := context.WithTimeout(a.ends, hostTimeout)
				result, err := s.Manage(limit, iscsi.LogicalUnitReset, a.volume.lun.Field())
				cancel()
				if err == nil && result == iscsi.TaskComplete {
					return nil
				}
				s.Drop(errTimeout)
			}
		}
		if !a.janitor.await(a.ends) {
			return context.Canceled
		}
	}
}
