package multipath

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"sango/internal/initiator"
	"sango/internal/pause"
	"sango/internal/san"
	"sango/internal/scsi"
	"sango/internal/scsi/alua"
)

// world is a target in memory with two portals and a network in front of each
// that a test disturbs. Sessions of it stand in for those of package
// initiator, so that whole devices run in simulated time.
type world struct {
	mu       sync.Mutex // guards everything here
	r        *rand.Rand
	disk     []byte
	sessions []*worldSession
	refused  [2]bool
	owner    int
	faults   bool
	failed   error
	ghosts   int // writes that landed after the host had given up their session
	fenced   int // sessions
	takers   uint64
}

const worldBlock = 512

func newWorld(seed uint64, blocks int) *world {
	return &world{r: rand.New(rand.NewPCG(seed, 1)), disk: make([]byte, blocks*worldBlock), faults: true}
}

// fail notes the first thing that went wrong.
func (w *world) fail(format string, args ...any) {
	if w.failed == nil {
		w.failed = fmt.Errorf(format, args...)
	}
}

// delay is the time of a message on its way, or of a command in a queue.
func (w *world) delay() time.Duration {
	if w.faults && w.r.IntN(30) == 0 {
		return time.Duration(w.r.Int64N(int64(8 * time.Second)))
	}
	return time.Duration(50+w.r.IntN(1000)) * time.Microsecond
}

// worldKeeper logs one path in, again and again.
type worldKeeper struct {
	w      *world
	cfg    initiator.Config
	portal int
	up     func(session)
	down   func(session, error)
	failed func(error)
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// keep is Config.keep.
func (w *world) keep(cfg initiator.Config, up func(session), down func(session, error), failed func(error)) keeper {
	k := &worldKeeper{w: w, cfg: cfg, up: up, down: down, failed: failed}
	if cfg.Portal == "b:3260" {
		k.portal = 1
	}
	k.ctx, k.cancel = context.WithCancel(context.Background())
	return k
}

// Start implements keeper.
func (k *worldKeeper) Start() { k.wg.Go(k.run) }

// Stop implements keeper.
func (k *worldKeeper) Stop() {
	k.cancel()
	k.wg.Wait()
}

// Retry implements keeper.
func (k *worldKeeper) Retry() {}

func (k *worldKeeper) run() {
	w := k.w
	for i := k.cfg.Instance; ; i.Login++ {
		w.mu.Lock()
		d, refused := time.Duration(10+w.r.IntN(200))*ms, w.refused[k.portal]
		w.mu.Unlock()
		if !pause.For(k.ctx, d) {
			return
		}
		if refused {
			k.failed(errors.New("connection refused"))
			continue
		}
		s := &worldSession{w: w, portal: k.portal, instance: i, out: map[*initiator.Command]bool{}, done: make(chan struct{})}
		w.mu.Lock()
		w.sessions = append(w.sessions, s)
		w.mu.Unlock()
		k.up(s)
		select {
		case <-s.done:
		case <-k.ctx.Done():
			s.Drop(errors.New("logged out"))
		}
		k.down(s, s.reason)
	}
}

// worldSession is a session. Guarded by world.mu.
type worldSession struct {
	w        *world
	portal   int
	instance san.Instance
	out      map[*initiator.Command]bool
	silent   bool
	closed   bool // the host's end
	deaf     bool // the target's end: nothing more is received
	fenced   bool
	reason   error
	done     chan struct{}
}

// Instance implements session.
func (s *worldSession) Instance() (san.Instance, bool) { return s.instance, true }

// TPG implements session.
func (s *worldSession) TPG() (san.TPG, bool) { return san.TPG(s.portal + 1), true }

// Drop implements session. The target may not notice it for a while, or ever.
func (s *worldSession) Drop(reason error) {
	w := s.w
	w.mu.Lock()
	if s.closed {
		w.mu.Unlock()
		return
	}
	s.closed, s.reason = true, reason
	out := s.out
	s.out = nil
	if w.r.IntN(3) == 0 {
		s.deaf = true
	}
	w.mu.Unlock()
	for c := range out {
		c.Sent, c.Err = true, &initiator.LostError{Reason: reason}
		c.Done(c)
	}
	close(s.done)
}

// Submit implements session.
func (s *worldSession) Submit(c *initiator.Command) {
	w := s.w
	w.mu.Lock()
	c.Err, c.Sense, c.Got, c.Status, c.Sent = nil, nil, 0, 0, false
	if s.closed {
		w.mu.Unlock()
		c.Err = &initiator.LostError{Reason: s.reason}
		c.Done(c)
		return
	}
	c.Sent = true
	s.out[c] = true
	var data []byte // what is on the wire: the buffers are the caller's again after a loss
	for _, b := range c.Out {
		data = append(data, b...)
	}
	n := 0
	for _, b := range c.In {
		n += len(b)
	}
	cdb := c.CDB
	drop := s.silent && w.r.IntN(2) == 0
	cut := w.faults && w.r.IntN(400) == 0
	d, q := w.delay(), w.delay()
	w.mu.Unlock()
	if !drop {
		time.AfterFunc(d, func() {
			w.mu.Lock()
			gone := s.deaf || s.fenced
			w.mu.Unlock()
			if !gone {
				time.AfterFunc(q, func() { s.execute(c, cdb, data, n) })
			}
		})
	}
	if cut {
		s.Drop(errors.New("connection reset"))
	}
}

// Do implements session.
func (s *worldSession) Do(ctx context.Context, c *initiator.Command) error {
	ended := make(chan struct{})
	c.Done = func(*initiator.Command) { close(ended) }
	s.Submit(c)
	select {
	case <-ended:
		return c.Err
	case <-ctx.Done():
	}
	s.w.mu.Lock()
	_, ours := s.out[c]
	delete(s.out, c)
	s.w.mu.Unlock()
	if !ours {
		<-ended
		return c.Err
	}
	return ctx.Err()
}

// execute does a command, and brings its answer to the host.
func (s *worldSession) execute(c *initiator.Command, cdb scsi.CDB, data []byte, n int) {
	w := s.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.fenced {
		return
	}
	in, sense := s.serve(&cdb, data, n)
	if s.silent || s.deaf {
		return
	}
	time.AfterFunc(w.delay(), func() {
		w.mu.Lock()
		if s.closed || s.silent || !s.out[c] {
			w.mu.Unlock()
			return
		}
		delete(s.out, c)
		w.mu.Unlock()
		if sense != nil {
			c.Status, c.Sense = scsi.CheckConditionStatus, sense.Sense.Append(nil, false)
		}
		for _, b := range c.In {
			k := copy(b, in)
			in, c.Got = in[k:], c.Got+k
		}
		c.Done(c)
	})
}

var worldRefusal = scsi.Check(scsi.IllegalRequest, scsi.ASCInvalidOpCode)

// serve is the device server.
func (s *worldSession) serve(cdb *scsi.CDB, data []byte, n int) ([]byte, *scsi.CheckCondition) {
	w := s.w
	at := binary.BigEndian.Uint64(cdb[2:]) * worldBlock
	switch op := scsi.OpCode(cdb[0]); op {
	case scsi.OpInquiry:
		return s.inquiry(cdb)
	case scsi.OpTestUnitReady, scsi.OpSynchronizeCache10, scsi.OpSynchronizeCache16:
		return nil, nil
	case scsi.OpServiceActionIn16:
		if scsi.Action(cdb) != scsi.SAReadCapacity16 {
			return nil, worldRefusal
		}
		k := scsi.Capacity{Blocks: uint64(len(w.disk) / worldBlock), BlockSize: worldBlock}
		return k.Append16(nil), nil
	case scsi.OpMaintenanceIn:
		if scsi.Action(cdb) != scsi.SAReportTargetPortGroups {
			return nil, worldRefusal
		}
		groups := []alua.Group{{ID: 1, State: alua.NonOptimized, Ports: []uint16{1}}, {ID: 2, State: alua.NonOptimized, Ports: []uint16{2}}}
		groups[w.owner].State = alua.Optimized
		return alua.Append(nil, alua.LengthOnly, 0, groups), nil
	case scsi.OpFence:
		return nil, s.fence(cdb, data)
	case scsi.OpRead16:
		return append([]byte(nil), w.disk[at:at+uint64(n)]...), nil
	case scsi.OpWrite16:
		for i := 0; i < len(data); i += worldBlock {
			old, now := binary.BigEndian.Uint64(w.disk[at+uint64(i):]), binary.BigEndian.Uint64(data[i:])
			if now < old {
				w.fail("block %d: version %d was undone by version %d of %v", at/worldBlock, old, now, s.instance)
			}
		}
		if s.instance.Run < w.takers {
			w.fail("run %d wrote when run %d had fenced it", s.instance.Run, w.takers)
		}
		if s.closed {
			w.ghosts++
		}
		copy(w.disk[at:], data)
		return nil, nil
	}
	return nil, worldRefusal
}

func (s *worldSession) inquiry(cdb *scsi.CDB) ([]byte, *scsi.CheckCondition) {
	if cdb[1]&1 == 0 {
		q := scsi.StandardInquiry{Version: 6, TPGS: scsi.TPGSImplicit, CommandQueue: true, Vendor: "SANGO", Product: "WORLD", Revision: "1"}
		return q.Append(nil), nil
	}
	switch scsi.VPDPage(cdb[2]) {
	case scsi.VPDDeviceID:
		group := scsi.Designator{Association: scsi.OfPort, Type: scsi.DesignatorPortGroup, CodeSet: scsi.CodeBinary, Value: []byte{0, 0, 0, byte(s.portal + 1)}}
		return scsi.AppendVPDDeviceID(nil, scsi.PeripheralDisk, []scsi.Designator{scsi.T10Designator("SANGO", "world"), group}), nil
	case scsi.VPDSerial:
		return scsi.AppendVPDSerial(nil, scsi.PeripheralDisk, "world"), nil
	case scsi.VPDSango:
		p := scsi.SangoPage{Fence: true, MaxInstances: 8, Instance: s.instance}
		return p.Append(nil, scsi.PeripheralDisk), nil
	}
	return nil, scsi.Check(scsi.IllegalRequest, scsi.ASCInvalidFieldInCDB)
}

func (s *worldSession) fence(cdb *scsi.CDB, data []byte) *scsi.CheckCondition {
	l, cc := scsi.ParseFenceList(data, scsi.Action(cdb))
	if cc != nil {
		return cc
	}
	if l.Run > 0 {
		s.w.takers = max(s.w.takers, l.Run)
	}
	for _, o := range s.w.sessions {
		hit := o.instance.Group == l.Group && o.instance.Run < l.Run
		for _, e := range l.Entries {
			hit = hit || o.instance == san.Instance{Group: l.Group, Run: e.Run, Login: e.Login}
		}
		if hit && !o.fenced {
			o.fenced = true
			s.w.fenced++
		}
	}
	return nil
}

// disturb does something bad.
func (w *world) disturb() {
	w.mu.Lock()
	var live []*worldSession
	for _, s := range w.sessions {
		if !s.closed {
			live = append(live, s)
		}
	}
	k, portal := w.r.IntN(10), w.r.IntN(2)
	var s *worldSession
	if len(live) > 0 {
		s = live[w.r.IntN(len(live))]
	}
	d := time.Duration(w.r.Int64N(int64(5 * time.Second)))
	drop := false
	switch {
	case k < 3:
		drop = true
	case k < 6 && s != nil:
		s.silent = true
		if w.r.IntN(2) == 0 { // a ping finds it; else a command does
			time.AfterFunc(d, func() { s.Drop(errors.New("no answer to a ping")) })
		}
	case k < 8:
		w.refused[portal] = true
		time.AfterFunc(d, func() {
			w.mu.Lock()
			w.refused[portal] = false
			w.mu.Unlock()
		})
	default:
		w.owner = portal
	}
	w.mu.Unlock()
	if drop && s != nil {
		s.Drop(errors.New("connection reset"))
	}
}
