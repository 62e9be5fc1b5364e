package relay

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sango/internal/bufpool"
	"sango/internal/cluster/model"
	"sango/internal/lun"
	"sango/internal/san"
	"sango/internal/scsi"
)

var (
	testCluster = san.UUID{15: 1}
	testVolume  = san.UUID{15: 2}
	memberA     = model.Member{Gateway: "a", Incarnation: 1}
	memberB     = model.Member{Gateway: "b", Incarnation: 2}
)

const testIQN = "iqn.2026-11.io.sango:test"

// gateway is one side of a test: a node, and a unit that is not one.
type gateway struct {
	t    testing.TB
	node *Node
	unit *fakeUnit

	mu      sync.Mutex
	known   func(model.Member) (bool, bool)
	found   []model.Member // PeerFound
	lost    []model.Member
	synced  int
	hosts   map[*lun.Nexus]*host
	changed sync.Cond
}

func newGateway(t testing.TB, self model.Member, change func(*Config)) *gateway {
	g := &gateway{t: t, unit: newFakeUnit(), hosts: map[*lun.Nexus]*host{}}
	g.changed.L = &g.mu
	g.known = func(model.Member) (bool, bool) { return true, false }
	cfg := Config{
		Cluster: testCluster, Self: self, Owner: g, local: g.local(), Logger: slog.New(slog.NewTextHandler(testLog, &slog.HandlerOptions{Level: slog.LevelDebug})),
		PeerFound: func(m model.Member) { g.note(&g.found, m) },
		PeerLost:  func(m model.Member) { g.note(&g.lost, m) },
		Synced: func(model.Member, san.UUID, san.Epoch) {
			g.mu.Lock()
			g.synced++
			g.mu.Unlock()
			g.changed.Broadcast()
		},
	}
	cfg.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
		if strings.HasSuffix(addr, ":1") { // nobody is there
			return nil, errDenied
		}
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	}
	if change != nil {
		change(&cfg)
	}
	n, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	g.node = n
	t.Cleanup(n.Close)
	return g
}

func (g *gateway) note(to *[]model.Member, m model.Member) {
	g.mu.Lock()
	*to = append(*to, m)
	g.mu.Unlock()
	g.changed.Broadcast()
}

// wait waits until ok holds.
func (g *gateway) wait(ok func() bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for !ok() {
		g.changed.Wait()
	}
}

func (g *gateway) Known(m model.Member) (bool, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.known(m)
}

// Port gives tags below 100 to gateway a, the others to b.
func (g *gateway) Port(w model.GatewayID, p san.TargetPort) bool {
	return p.Name == testIQN && (p.TPG < 100) == (w == "a")
}

func (g *gateway) Unit(v san.UUID) Unit {
	if v != testVolume {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.unit
}

// listen makes g reachable over TCP, and returns how.
func (g *gateway) listen() Peer {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		g.t.Fatal(err)
	}
	go func() { _ = g.node.Serve(l) }()
	return Peer{Member: g.node.cfg.Self, Addr: l.Addr().String()}
}

// piped makes front dial owner by pipes in memory; cut cuts the last one.
type piped struct {
	owner *gateway
	mu    sync.Mutex
	conns []net.Conn
	deny  error
}

func (p *piped) dial(context.Context, string) (net.Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.deny != nil {
		return nil, p.deny
	}
	a, b := net.Pipe()
	p.conns = append(p.conns, a)
	p.owner.node.accept(b)
	return a, nil
}

// cut ends all connections there are, and lets new ones in only if err is nil.
func (p *piped) cut(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deny = err
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
}

var errDenied = errors.New("denied")

// fakeUnit is a unit at the owner: what it does with a task is run.
type fakeUnit struct {
	mu      sync.Mutex
	run     func(r *fakeRemote, t *lun.Task)
	attach  func() error
	remotes []*fakeRemote // attached
}

func newFakeUnit() *fakeUnit {
	return &fakeUnit{run: func(r *fakeRemote, t *lun.Task) { r.done(t, scsi.Good) }}
}

func (u *fakeUnit) AttachRemote(_ san.Epoch, id san.NexusID, l san.LUN, s lun.Standing, tr lun.RemoteTransport) (Remote, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.attach != nil {
		if err := u.attach(); err != nil {
			return nil, err
		}
	}
	r := &fakeRemote{unit: u, id: id, lun: l, standing: s, tr: tr, tasks: map[uint64]*lun.Task{}}
	r.idle.L = &r.mu
	u.remotes = append(u.remotes, r)
	return r, nil
}

// all returns the nexuses that are attached.
func (u *fakeUnit) all() []*fakeRemote {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]*fakeRemote(nil), u.remotes...)
}

func (u *fakeUnit) set(run func(r *fakeRemote, t *lun.Task)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.run = run
}

type fakeRemote struct {
	unit     *fakeUnit
	id       san.NexusID
	lun      san.LUN
	standing lun.Standing
	tr       lun.RemoteTransport

	mu       sync.Mutex
	idle     sync.Cond
	tasks    map[uint64]*lun.Task
	hastened []uint64
	managed  func(f lun.TMF, done func(lun.TMFResponse))
	dead     bool
	killed   func(t *lun.Task) // how an executing task is aborted; nil: at once
}

func (r *fakeRemote) Admit(t *lun.Task) {
	r.mu.Lock()
	if r.dead {
		panic("a task for a nexus that was detached")
	}
	r.tasks[t.Call] = t
	r.mu.Unlock()
	r.unit.mu.Lock()
	run := r.unit.run
	r.unit.mu.Unlock()
	run(r, t)
}

// done ends t, unless it was aborted.
func (r *fakeRemote) done(t *lun.Task, s scsi.Status) {
	r.end(t, t.Call, func() { t.Status, t.Want = s, uint64(t.In.Len()+t.Out.Len()) })
}

func (r *fakeRemote) end(t *lun.Task, call uint64, f func()) {
	r.mu.Lock()
	mine := r.tasks[call] == t
	if mine {
		delete(r.tasks, call)
		f()
	}
	r.mu.Unlock()
	if !mine {
		return
	}
	r.tr.TaskDone(t)
	r.mu.Lock()
	r.idle.Broadcast()
	r.mu.Unlock()
}

func (r *fakeRemote) abort(t *lun.Task, call uint64) {
	r.mu.Lock()
	killed := r.killed
	r.mu.Unlock()
	if killed != nil {
		killed(t)
		return
	}
	r.end(t, call, func() { t.Aborted = true })
}

func (r *fakeRemote) Cancel(call uint64) {
	r.mu.Lock()
	t := r.tasks[call]
	r.mu.Unlock()
	if t != nil {
		r.abort(t, call)
	}
}

func (r *fakeRemote) Hasten(call uint64) {
	r.mu.Lock()
	r.hastened = append(r.hastened, call)
	r.mu.Unlock()
}

func (r *fakeRemote) Manage(f lun.TMF, done func(lun.TMFResponse)) {
	r.mu.Lock()
	managed := r.managed
	r.mu.Unlock()
	if managed != nil {
		managed(f, done)
		return
	}
	done(lun.TMFComplete)
}

func (r *fakeRemote) Detach() {
	r.mu.Lock()
	r.dead = true
	all := map[uint64]*lun.Task{}
	for c, t := range r.tasks {
		all[c] = t
	}
	r.mu.Unlock()
	for c, t := range all {
		r.abort(t, c)
	}
	r.mu.Lock()
	for len(r.tasks) > 0 {
		r.idle.Wait()
	}
	r.mu.Unlock()
	u := r.unit
	u.mu.Lock()
	defer u.mu.Unlock()
	for i, o := range u.remotes {
		if o == r {
			u.remotes = append(u.remotes[:i], u.remotes[i+1:]...)
			break
		}
	}
}

// host is a session at the front, with one LUN.
type host struct {
	g     *gateway
	vol   *Volume
	nexus *lun.Nexus
	id    san.NexusID
	calls uint64

	mu    sync.Mutex
	lost  int // begun anew
	cuts  int
	told  []lun.Event
	ack   bool // events are acknowledged
	acks  []func()
	drops int
	story []string // what became of its tasks, and its corks
	reads bool     // its reader is at work
	later []func() // what is left for that
}

func testNexus(isid byte, tpg san.TPG) san.NexusID {
	return san.NexusID{
		Initiator: san.InitiatorPort{Name: "iqn.1993-08.org.debian:01:host", ISID: san.ISID{5: isid}},
		Target:    san.TargetPort{Name: testIQN, TPG: tpg},
	}
}

func (g *gateway) host(v *Volume, isid byte) *host {
	h := &host{g: g, vol: v, ack: true}
	h.nexus, h.id = new(lun.Nexus), testNexus(isid, 1)
	g.mu.Lock()
	g.hosts[h.nexus] = h
	g.mu.Unlock()
	v.Join(h.nexus, 0, lun.Standing{Fresh: true, Login: uint64(isid)})
	return h
}

// hear, cut and opened are what package lun does with events.
func (h *host) hear(e lun.Event, done func()) {
	h.mu.Lock()
	h.told = append(h.told, e)
	if !h.ack {
		h.acks = append(h.acks, done)
		h.mu.Unlock()
		return
	}
	h.mu.Unlock()
	done()
}

func (h *host) cut() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cuts++
}

func (h *host) opened(anew uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if anew != 0 {
		h.lost++
	}
}

// losses returns how often it has begun anew.
func (h *host) losses() int {
	synctest.Wait() // it is told after its tasks are
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lost
}

// sent is what a test has to do with a task at the front.
type sent struct {
	host       *host
	end        func(*lun.Task, lun.Outcome)
	repeatable bool
}

// local is the device server of the front.
func (g *gateway) local() *local {
	host := func(n *lun.Nexus) *host {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.hosts[n]
	}
	return &local{
		outgoing: func(t *lun.Task, vec [][]byte) ([16]byte, uint32, [][]byte) {
			return t.CDB, t.Expected, append(vec, t.Out.Vec()...)
		},
		repeatable: func(t *lun.Task) bool { return t.User.(*sent).repeatable },
		timeless:   func(t *lun.Task) bool { return t.User.(*sent).repeatable && t.Ask == lun.AskExecute },
		nexus:      func(t *lun.Task) *lun.Nexus { return t.User.(*sent).host.nexus },
		relayed:    func(t *lun.Task, o lun.Outcome) { t.User.(*sent).end(t, o) },
		id:         func(n *lun.Nexus) san.NexusID { return host(n).id },
		transport:  func(n *lun.Nexus) lun.Transport { return host(n) },
		told:       func(n *lun.Nexus, _ san.LUN, e lun.Event, done func()) { host(n).hear(e, done) },
		cut:        func(n *lun.Nexus, _ san.LUN, _ lun.Relay) { host(n).cut() },
		opened:     func(n *lun.Nexus, _ san.LUN, _ lun.Relay, anew uint64) { host(n).opened(anew) },
	}
}

func (h *host) note(what string) {
	h.mu.Lock()
	h.story = append(h.story, what)
	h.mu.Unlock()
}

func (h *host) Cork()   { h.note("cork") }
func (h *host) Uncork() { h.note("uncork") }

func (h *host) Defer(f func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.reads {
		h.later = append(h.later, f)
	}
	return h.reads
}

// waits is the reader of h that waits for more.
func (h *host) waits() {
	h.mu.Lock()
	later := h.later
	h.reads, h.later = false, nil
	h.mu.Unlock()
	for _, f := range later {
		f()
	}
}

func (h *host) TaskDone(*lun.Task) {}
func (h *host) Drop(string)        { h.drops++ }

// result is a task that was handed back.
type result struct {
	task    *lun.Task
	outcome lun.Outcome
}

// send forwards a command; the result comes over the channel.
func (h *host) send(t *lun.Task) <-chan result {
	c := make(chan result, 1)
	h.calls++
	t.Call = h.calls
	if t.Arrival.IsZero() {
		t.Arrival = time.Now()
	}
	t.User = &sent{h, func(t *lun.Task, o lun.Outcome) {
		h.note("end")
		c <- result{t, o}
	}, !t.Write}
	h.vol.Forward(t)
	return c
}

// read and write make tasks.
func read(n int) *lun.Task {
	return &lun.Task{Read: true, Expected: uint32(n), CDB: [16]byte{byte(scsi.OpRead10)}}
}

func write(data ...byte) *lun.Task {
	t := &lun.Task{Write: true, Expected: uint32(len(data)), CDB: [16]byte{byte(scsi.OpWrite10)}}
	t.Out.Append(buf(data))
	return t
}

func buf(data []byte) *bufpool.Buf {
	b := bufpool.Get(len(data))
	copy(b.B, data)
	return b
}

// expect waits for a result.
func expect(t testing.TB, c <-chan result, want lun.Outcome, s scsi.Status) *lun.Task {
	t.Helper()
	r := <-c
	if r.outcome != want || want == lun.Ended && r.task.Status != s {
		t.Fatalf("outcome %d, status %v; want %d, %v", r.outcome, r.task.Status, want, s)
	}
	return r.task
}

// pending fails if the task has ended.
func pending(t testing.TB, c <-chan result) {
	t.Helper()
	select {
	case r := <-c:
		t.Fatalf("it ended: outcome %d, status %v", r.outcome, r.task.Status)
	default:
	}
}

// testLog is where the nodes log to: os.Stderr to see it.
var testLog io.Writer = io.Discard

// pair returns a front and an owner that are connected by pipes in memory, for
// simulated time, and the front's way to the volume.
func pair(t testing.TB, change func(*Config)) (front, owner *gateway, p *piped, v *Volume) {
	owner = newGateway(t, memberB, change)
	p = &piped{owner: owner}
	front = newGateway(t, memberA, func(c *Config) {
		c.Dial = p.dial
		c.Links = 1
		if change != nil {
			change(c)
		}
	})
	front.node.SetPeers([]Peer{{Member: memberB, Addr: "b:1"}})
	front.wait(func() bool { return len(front.found) > 0 })
	return front, owner, p, front.node.Volume(testVolume, 7, memberB)
}

// slow makes the unit keep its tasks, and returns how to get at them.
func (u *fakeUnit) slow() (started chan *lun.Task) {
	started = make(chan *lun.Task, 1000)
	u.set(func(_ *fakeRemote, t *lun.Task) { started <- t })
	return started
}

// finish ends a task of slow.
func finish(k *lun.Task, s scsi.Status) {
	r := k.User.(*task).to
	r.nexus.(*fakeRemote).done(k, s)
}

func newPipePair(t testing.TB) (a, b net.Conn) {
	a, b = net.Pipe()
	t.Cleanup(func() { _ = a.Close() })
	return a, b
}

// pass lets simulated time pass, or real time until something is looked at again.
func pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // of synctest bubbles, or polling
}
