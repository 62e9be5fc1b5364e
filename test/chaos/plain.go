package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"sango/internal/initiator"
	"sango/internal/pause"
	"sango/internal/san"
	"sango/internal/scsi"
	"sango/test/chaos/history"
	"sango/test/chaos/world"
)

// hostTimeout is after what time a host without a fence gives a path up, and
// sends a write again through another one.
const hostTimeout = 5 * time.Second

// plain is a host as dm-multipath over open-iscsi is: a session for each portal,
// which logs in again by itself under the same ISID; a command that was not
// answered is sent again on the same path once that is back, or on another when
// it is older than the timeout. It fences nothing.
type plain struct {
	*load
	name    string
	node    *world.Node
	timeout time.Duration
	paths   []*path

	mu  sync.Mutex // guards what follows
	cur int        // the path in use
}

// path is one session of a plain host at a time.
type path struct {
	host   *plain
	portal string
	keeper *initiator.Keeper

	mu      sync.Mutex // guards what follows
	changed chan struct{}
	session *initiator.Session
	up      int64            // when the session, or the last one, had logged in
	alive   map[string]int64 // when a command to a volume was sent that was answered later
	// lost is told when the nexus has ended, or the unit was reset.
	lost func(p *path, end nexusEnd)
	down bool // lost, and not back
}

func (l *load) newPlain(name string, machine int, timeout time.Duration, lost func(p *path, end nexusEnd)) *plain {
	h := &plain{load: l, name: name, node: l.site.machines[machine], timeout: timeout}
	for i, portal := range l.site.portalList() {
		p := &path{host: h, portal: portal, changed: make(chan struct{}), alive: map[string]int64{}, lost: lost}
		cfg := initiator.Config{
			Initiator: san.InitiatorPort{Name: "iqn.2026-11.example:" + name, ISID: san.ISID{0x80, 0, 0, byte(machine), 0, byte(i)}},
			Target:    targetName, Portal: portal, Dial: h.node.Dial,
			LoginTimeout: 3 * time.Second, PingInterval: 2 * time.Second, PingTimeout: 3 * time.Second, QueueDepth: 32,
		}
		p.keeper = initiator.NewKeeper(cfg, p.isUp, p.isDown)
		p.keeper.MaxWait = 2 * time.Second
		p.keeper.Start()
		h.paths = append(h.paths, p)
	}
	return h
}

func (h *plain) close() {
	for _, p := range h.paths {
		p.keeper.Stop()
	}
}

func (p *path) isUp(s *initiator.Session) {
	if s.Portal() != p.portal {
		// A gateway that drains has sent it on. At another portal it is another nexus:
		// without reservations, and what the former one sent may still be under way.
		s.Drop(errElsewhere)
		return
	}
	now := p.host.rec.Now()
	p.mu.Lock()
	end, was := nexusEnd{last: p.alive, before: p.up, to: now}, p.down
	p.session, p.up, p.alive, p.down = s, now, map[string]int64{}, false
	close(p.changed)
	p.changed = make(chan struct{})
	p.mu.Unlock()
	if was && p.lost != nil {
		p.lost(p, end)
	}
}

func (p *path) isDown(*initiator.Session, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.session, p.down = nil, true
	close(p.changed)
	p.changed = make(chan struct{})
}

// now returns the session, nil if there is none, and what is closed when that
// changes.
func (p *path) now() (s *initiator.Session, up int64, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.session, p.up, p.changed
}

// nexusEnd is when a nexus ended.
type nexusEnd struct {
	volume string           // the only one concerned; "": all of them
	last   map[string]int64 // when the last command to a volume was sent that was answered before
	before int64            // for other volumes
	to     int64            // it had ended by then
}

// from is the earliest time at which it can have ended for a volume.
func (e *nexusEnd) from(volume string) int64 {
	if t, ok := e.last[volume]; ok {
		return t
	}
	return e.before
}

// answered notes that the nexus was there when o was executed. A conflict does
// not tell: it is reported before a unit attention (SAM-5 5.3.3), also that of
// the loss.
func (p *path) answered(o *history.Op) {
	if o.Outcome == history.Conflict {
		return
	}
	volume, _, _ := strings.Cut(o.Volume, ":")
	p.mu.Lock()
	defer p.mu.Unlock()
	p.alive[volume] = max(p.alive[volume], o.Call)
}

// ending is what is known if the nexus has ended by now.
func (p *path) ending(now int64) nexusEnd {
	p.mu.Lock()
	defer p.mu.Unlock()
	return nexusEnd{last: maps.Clone(p.alive), before: p.up, to: now}
}

// pick returns a path with a session, beginning with the one in use, nil if
// there is none.
func (h *plain) pick() *path {
	h.mu.Lock()
	defer h.mu.Unlock()
	for range h.paths {
		if s, _, _ := h.paths[h.cur].now(); s != nil {
			return h.paths[h.cur]
		}
		h.cur = (h.cur + 1) % len(h.paths)
	}
	return nil
}

// use makes the host use a path, while it is well.
func (h *plain) use(path int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cur = path
}

// inUse returns which path the host uses.
func (h *plain) inUse() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.cur
}

// fails makes the host use another path than p.
func (h *plain) fails(p *path) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.paths[h.cur] == p {
		h.cur = (h.cur + 1) % len(h.paths)
	}
}

var errElsewhere = errors.New("the login was sent on to another portal")

var errTimeout = errors.New("a command was not answered in time")

// next is what to do after a transmission.
type next uint8

const (
	ended  next = iota // it is over
	again              // it was not executed: send it again
	resend             // it was not answered: send it again, if it may be
)

// transmit sends o's command on p once, and keeps what came of it, after look,
// if not nil, was called with an answer. It returns once o may be sent again.
func (h *plain) transmit(p *path, o *history.Op, c *initiator.Command, look func()) next {
	s, up, _ := p.now()
	if s == nil {
		return again
	}
	o.Host, o.Path, o.Call = h.name, p.portal, h.rec.Now()
	done := make(chan struct{})
	c.Done = func(*initiator.Command) { close(done) }
	s.Submit(c)
	t := time.NewTimer(h.timeout / 2)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
		h.giveUp(s, o, c, done)
	}
	o.Return = h.rec.Now()
	h.took(o)
	if c.Err != nil {
		return h.unanswered(p, up, o, c)
	}
	todo := h.judge(p, o, c)
	if todo == ended {
		p.answered(o)
	}
	if look != nil && o.Outcome == history.Good {
		look()
	}
	h.rec.Add(o)
	return todo
}

// giveUp ends a command that takes long: every other one is aborted by task
// management first; where that does not help, the session goes.
func (h *plain) giveUp(s *initiator.Session, o *history.Op, c *initiator.Command, done <-chan struct{}) {
	t := time.NewTimer(h.timeout / 2)
	defer t.Stop()
	if o.ID%2 == 0 {
		ctx, cancel := context.WithTimeout(h.ends, h.timeout/2)
		defer cancel()
		h.events.Go(func() { _ = s.AbortCommand(ctx, c) }) // the command tells how it ended
	}
	select {
	case <-done:
	case <-t.C:
		s.Drop(errTimeout)
		<-done
	}
}

// judge says what an answer means.
func (h *plain) judge(p *path, o *history.Op, c *initiator.Command) next {
	switch c.Status {
	case scsi.Good:
		o.Outcome = history.Good
		return ended
	case scsi.ReservationConflict:
		o.Outcome = history.Conflict
		return ended
	case scsi.Busy, scsi.TaskSetFull:
		o.Outcome, o.Note = history.Refused, c.Status.String()
		return again
	case scsi.TaskAborted: // by another host: it goes on as after a reset of its own
		o.Note = c.Status.String()
		aborted(o)
		return resend
	}
	sense, err := scsi.ParseSense(c.Sense)
	o.Note = fmt.Sprintf("%v %xh %v", c.Status, uint8(sense.Key), sense.ASC)
	switch {
	case c.Status != scsi.CheckConditionStatus || err != nil:
	case sense.Key == scsi.Miscompare:
		o.Outcome, o.At = history.Miscompare, int(sense.Info)/h.blockOf(o)
		return ended
	case sense.Key == scsi.UnitAttention:
		if sense.ASC>>8 == 0x29 && p.lost != nil {
			end := p.ending(o.Return)
			end.volume, _, _ = strings.Cut(o.Volume, ":")
			p.lost(p, end)
		}
		o.Outcome = history.Refused
		return again
	case sense.Key == scsi.NotReady:
		o.Outcome = history.Refused
		return again
	case sense.Key == scsi.IllegalRequest:
		o.Outcome = history.Refused
		if sense.ASC != scsi.ASCInvalidRelease { // of a type that another one has changed
			h.fail(fmt.Errorf("%v: a command that is in order was refused", o))
		}
		return ended
	}
	// It failed, perhaps half-way; but it is over.
	o.Outcome, o.Bound, o.Strict = history.Unknown, o.Return, true
	return ended
}

// aborted notes that o was aborted: perhaps half-way, but it is over.
func aborted(o *history.Op) {
	o.Outcome, o.Bound, o.Strict = history.Unknown, o.Return, true
	if o.Kind == history.Read || o.Kind == history.PRKeys || o.Kind == history.PRHeld {
		o.Outcome = history.Refused
	}
}

// unanswered keeps o, which was not answered on a session that has ended. Of
// what changes something it returns when that may be sent again: the path is
// back, or the timeout is over. A read may be at once.
func (h *plain) unanswered(p *path, up int64, o *history.Op, c *initiator.Command) next {
	o.Note = c.Err.Error()
	if c.Sent && errors.Is(c.Err, initiator.ErrAborted) {
		aborted(o)
		h.rec.Add(o)
		return resend
	}
	h.fails(p)
	if !c.Sent || o.Kind == history.Read || o.Kind == history.PRKeys || o.Kind == history.PRHeld {
		o.Outcome = history.Refused
		h.rec.Add(o)
		return again
	}
	o.Outcome, o.Bound = history.Unknown, o.Call+int64(h.timeout)
	if a := h.areaOf(o); a != nil {
		a.note(o)
	}
	// Not even the end of the run makes it shorter.
	limit := time.NewTimer(time.Duration(o.Bound - h.rec.Now()))
	defer limit.Stop()
	for {
		_, at, changed := p.now()
		if at > up {
			o.Bound = min(o.Bound, at)
			break
		}
		select {
		case <-changed:
			continue
		case <-limit.C:
		}
		break
	}
	h.rec.Add(o)
	return resend
}

// await waits until a path may have come or gone, for a while.
func (h *plain) await(ctx context.Context) bool { return pause.For(ctx, 50*time.Millisecond) }
