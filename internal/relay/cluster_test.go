package relay

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sango/internal/block"
	"sango/internal/block/mem"
	"sango/internal/bufpool"
	"sango/internal/cluster/model"
	"sango/internal/lun"
	"sango/internal/lun/luntest"
	"sango/internal/san"
	"sango/internal/scsi"
)

// These tests have device servers at both ends: two gateways that take turns in
// owning a volume, and hosts at both.

// medium is one device under the units of several gateways.
type medium struct{ block.Device }

func (medium) Close() error { return nil }

// member is one gateway.
type member struct {
	name   model.Member
	node   *Node
	unit   *lun.Unit
	target *lun.Target
	pipes  *piped  // to the other one
	relay  *Volume // while the other one owns the volume
}

func (m *member) Known(model.Member) (bool, bool) { return true, false }
func (m *member) Port(g model.GatewayID, p san.TargetPort) bool {
	return (p.TPG < 100) == (g == "a")
}

func (m *member) Unit(v san.UUID) Unit {
	if v != testVolume {
		return nil
	}
	return For(m.unit)
}

// twins are two gateways of one volume.
type twins struct {
	t       testing.TB
	members [2]*member
	owner   int
	epoch   san.Epoch
}

func newTwins(t testing.TB, connect func(m, other *member) (func(context.Context, string) (net.Conn, error), string), change func(*Config)) *twins {
	vol := san.Volume{ID: testVolume, Name: "v", Driver: "mem", Size: 64 << 20, BlockSize: 512, PhysicalBlock: 4096, NAA: 5}
	dev, err := mem.New(mem.Options{Size: vol.Size, BlockSize: vol.BlockSize, PhysicalBlock: vol.PhysicalBlock})
	if err != nil {
		t.Fatal(err)
	}
	store := &luntest.Store{}
	log := slog.New(slog.NewTextHandler(testLog, nil))
	w := &twins{t: t}
	for i, name := range []model.Member{memberA, memberB} {
		m := &member{name: name, target: lun.NewTarget(testIQN, lun.TargetOptions{Logger: log})}
		if m.unit, err = lun.NewUnit(vol, medium{dev}, store, lun.UnitOptions{Shared: true, Logger: log}); err != nil {
			t.Fatal(err)
		}
		m.target.SetMap(map[san.LUN]lun.MapEntry{0: {Unit: m.unit}})
		w.members[i] = m
	}
	for i, m := range w.members {
		cfg := Config{Cluster: testCluster, Self: m.name, Owner: m, Logger: log}
		cfg.Dial, _ = connect(m, w.members[1-i])
		if change != nil {
			change(&cfg)
		}
		if m.node, err = New(cfg); err != nil {
			t.Fatal(err)
		}
	}
	for i, m := range w.members {
		o := w.members[1-i]
		_, addr := connect(m, o)
		m.node.SetPeers([]Peer{{Member: o.name, Addr: addr}})
	}
	t.Cleanup(func() {
		for _, m := range w.members {
			m.node.Close()
		}
		for _, m := range w.members {
			_ = m.unit.Close()
		}
	})
	w.serve(0)
	return w
}

// serve makes member i the owner.
func (w *twins) serve(i int) {
	w.epoch++
	w.owner = i
	m, o := w.members[i], w.members[1-i]
	if err := m.unit.Serve(w.epoch); err != nil {
		w.t.Fatal(err)
	}
	for _, x := range w.members {
		if x.relay != nil {
			x.relay.Over()
			x.relay = nil
		}
	}
	o.relay = o.node.Volume(testVolume, w.epoch, m.name)
	o.unit.RelayTo(w.epoch, o.relay)
	o.relay.Joined()
}

// move makes the other one the owner.
func (w *twins) move() {
	m := w.members[w.owner]
	drained := make(chan struct{})
	m.unit.Hold(func() { close(drained) })
	<-drained
	m.unit.Release()
	w.serve(1 - w.owner)
}

// session is a nexus of a host, which comes back when it was dropped.
type session struct {
	t      testing.TB
	m      *member
	id     san.NexusID
	nexus  *lun.Nexus
	tag    uint32
	ended  chan *lun.Task
	mu     sync.Mutex
	drops  int
	orphan bool
}

func (m *member) login(t testing.TB, isid byte) *session {
	s := &session{t: t, m: m, ended: make(chan *lun.Task, 64)}
	s.id = testNexus(isid, 1)
	if m.name.Gateway != "a" {
		s.id.Target.TPG = 100
	}
	s.attach()
	return s
}

func (s *session) attach() {
	var err error
	if s.nexus, err = s.m.target.Attach(s.id, "", s); err != nil {
		s.t.Fatal(err)
	}
}

func (s *session) TaskDone(t *lun.Task) { s.ended <- t }

func (s *session) Drop(string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.orphan = true
	s.drops++
}

// do executes a command; ok is false when its end is not known, or it came to
// nothing.
func (s *session) do(t *lun.Task) (st scsi.Status, ok bool) {
	s.mu.Lock()
	again := s.orphan
	s.orphan = false
	s.mu.Unlock()
	if again {
		s.nexus.Detach()
		s.attach()
	}
	s.tag++
	t.Tag, t.Arrival = s.tag, time.Now()
	data := t.Out
	t.Out = bufpool.List{}
	s.nexus.Admit(t)
	if t.OutLen > 0 {
		t.Out = data
		t.Ready()
	}
	for {
		select {
		case <-s.ended:
			return t.Status, !t.Aborted && t.Status != scsi.CheckConditionStatus
		case <-time.After(100 * time.Millisecond):
			s.mu.Lock()
			dropped := s.orphan
			s.mu.Unlock()
			if dropped {
				s.nexus.Detach()
				<-s.ended
				s.mu.Lock()
				s.orphan = false
				s.mu.Unlock()
				s.attach()
				return 0, false
			}
		}
	}
}

func (s *session) write(block uint32, v uint64) bool {
	t := &lun.Task{Write: true, Expected: 512}
	t.CDB[0] = byte(scsi.OpWrite10)
	binary.BigEndian.PutUint32(t.CDB[2:], block)
	t.CDB[8] = 1
	p := make([]byte, 512)
	binary.BigEndian.PutUint64(p, v)
	t.Out.Append(buf(p))
	st, ok := s.do(t)
	return ok && st == scsi.Good
}

func (s *session) read(block uint32) (uint64, bool) {
	t := &lun.Task{Read: true, Expected: 512}
	t.CDB[0] = byte(scsi.OpRead10)
	binary.BigEndian.PutUint32(t.CDB[2:], block)
	t.CDB[8] = 1
	st, ok := s.do(t)
	if !ok || st != scsi.Good {
		return 0, false
	}
	return binary.BigEndian.Uint64(t.In.Vec()[0]), true
}

// simulated connects two gateways by pipes.
func simulated(m, other *member) (func(context.Context, string) (net.Conn, error), string) {
	if m.pipes == nil {
		m.pipes = &piped{}
	}
	return func(ctx context.Context, a string) (net.Conn, error) {
		m.pipes.mu.Lock()
		if m.pipes.owner == nil {
			m.pipes.owner = &gateway{node: other.node}
		}
		m.pipes.mu.Unlock()
		return m.pipes.dial(ctx, a)
	}, "other:1"
}

// connected connects two gateways over TCP, with TLS if a is not nil.
func connected(t testing.TB) func(m, other *member) (func(context.Context, string) (net.Conn, error), string) {
	addrs := map[*member]string{}
	return func(m, other *member) (func(context.Context, string) (net.Conn, error), string) {
		if other.node != nil && addrs[other] == "" {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			go func() { _ = other.node.Serve(l) }()
			addrs[other] = l.Addr().String()
		}
		return nil, addrs[other]
	}
}

// Two gateways take turns in owning the volume, and links break; hosts at both
// write numbers that grow, and read them: what was acknowledged is there, and
// nothing older ever comes back.
func TestMovesAndCuts(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newTwins(t, simulated, nil)
				w.load(seed, 60, 400*time.Millisecond, func(r *rand.Rand) {
					p := w.members[r.IntN(2)].pipes
					if r.IntN(3) > 0 {
						p.cut(nil)
						return
					}
					p.cut(errDenied)
					pass(time.Duration(r.IntN(4000)) * time.Millisecond)
					p.cut(nil)
				})
			})
		})
	}
}

// The same over TCP and TLS, in real time: connections are reset by either side
// with whatever is on its way.
func TestMovesAndCutsOverTCP(t *testing.T) {
	a := newAuthority(t)
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls=%v", secure), func(t *testing.T) {
			w := newTwins(t, connected(t), func(c *Config) {
				if secure {
					c.TLS = a.config([]string{string(c.Self.Gateway)})
				}
			})
			w.load(1, 40, 50*time.Millisecond, func(r *rand.Rand) {
				i := r.IntN(2)
				m, o := w.members[i], w.members[1-i]
				if r.IntN(2) == 0 {
					l := m.node.peer(o.name).lines[r.IntN(2)]
					l.mu.Lock()
					c := l.conn
					l.mu.Unlock()
					if c != nil {
						c.pipe.kill()
					}
					return
				}
				m.node.mu.Lock()
				in := m.node.inbounds[inboundKey{o.name, uint16(r.IntN(2))}]
				m.node.mu.Unlock()
				if in != nil {
					in.conn.pipe.kill()
				}
			})
		})
	}
}

// load has hosts write at both gateways, while the volume moves and cut is
// called, steps times in all.
func (w *twins) load(seed uint64, steps int, gap time.Duration, cut func(r *rand.Rand)) {
	t := w.t
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var acked atomic.Int64
	for h := range 6 {
		wg.Add(1)
		s := w.members[h%2].login(t, byte(h))
		r := rand.New(rand.NewPCG(seed, uint64(h)+2))
		go func() {
			defer wg.Done()
			s.count(uint32(h)*8, r, stop, &acked)
		}()
	}
	moves := 0
	r := rand.New(rand.NewPCG(seed, 1))
	for range steps {
		pass(time.Duration(r.Int64N(int64(gap))))
		if r.IntN(2) == 0 {
			w.move()
			moves++
		} else {
			cut(r)
		}
	}
	close(stop)
	wg.Wait()
	t.Logf("%d writes acknowledged, %d moves, %d cuts", acked.Load(), moves, steps-moves)
	if acked.Load() < 50 {
		t.Error("hardly anything was written")
	}
}

// count writes 1, 2, 3 ... to a block until stop, the same again while nobody
// says that it was done.
func (s *session) count(block uint32, r *rand.Rand, stop <-chan struct{}, acked *atomic.Int64) {
	for v := uint64(1); ; v++ {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(r.IntN(10)) * time.Millisecond):
		}
		for !s.write(block, v) {
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
		acked.Add(1)
		if got, ok := s.read(block); ok && got != v {
			s.t.Errorf("block %d is %d after %d was acknowledged", block, got, v)
			return
		}
	}
}

// A reset through a front reaches the tasks and the hosts of all gateways.
func TestResetReachesAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTwins(t, simulated, nil)
		pass(time.Second)
		var all []*session
		for i := range 4 {
			s := w.members[i%2].login(t, byte(i))
			for !s.write(uint32(i), 1) { // past the power on
				continue
			}
			all = append(all, s)
		}
		done := make(chan lun.TMFResponse, 1)
		all[1].nexus.Manage(lun.TMF{Function: lun.LogicalUnitReset}, func(r lun.TMFResponse) { done <- r })
		if r := <-done; r != lun.TMFComplete {
			t.Fatal(r)
		}
		for i, s := range all {
			k := &lun.Task{}
			if st, _ := s.do(k); st != scsi.CheckConditionStatus || k.Sense[2]&0xf != byte(scsi.UnitAttention) || k.Sense[12] != 0x29 {
				t.Errorf("host %d: %v, %x", i, st, k.Sense)
			}
			if st, ok := s.do(&lun.Task{}); !ok || st != scsi.Good {
				t.Errorf("host %d: %v", i, st)
			}
		}
	})
}

// A reservation that one host has at a front holds for the hosts of the owner
// and of the front, and ends with its nexus.
func TestReservationReachesAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTwins(t, simulated, nil)
		pass(time.Second)
		a, b, b2 := w.members[0].login(t, 1), w.members[1].login(t, 2), w.members[1].login(t, 3)
		for _, s := range []*session{a, b, b2} {
			for !s.write(8, 1) {
				continue
			}
		}
		reserve := &lun.Task{}
		reserve.CDB[0] = 0x16 // RESERVE(6)
		if st, ok := b.do(reserve); !ok || st != scsi.Good {
			t.Fatal(st)
		}
		for _, s := range []*session{a, b2} {
			k := &lun.Task{Read: true, Expected: 512}
			k.CDB[0], k.CDB[8] = byte(scsi.OpRead10), 1
			if st, _ := s.do(k); st != scsi.ReservationConflict {
				t.Errorf("%v", st)
			}
		}
		if !b.write(8, 2) {
			t.Error("its holder can't write")
		}
		b.nexus.Detach()
		synctest.Wait()
		if !a.write(8, 3) {
			t.Error("it outlived its nexus")
		}
	})
}
