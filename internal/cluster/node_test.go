package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"sango/internal/cluster/model"
	"sango/internal/pause"
	"sango/internal/san"
)

// times are those of the tests: much happens in a minute.
var times = model.Config{
	TTL: 3 * model.Second, Failback: 5 * model.Second, Sticky: 10 * model.Second, Balance: 2 * model.Second, AskEvery: model.Second,
}

// world is a cluster in one process, in simulated time.
type world struct {
	t     *testing.T
	m     *memory
	nodes []*node
	hosts sync.WaitGroup // what writes

	mu      sync.Mutex // guards what follows
	media   map[san.UUID]*medium
	noFence bool
	fences  int
	wrong   error
	blind   bool // nobody looks at the right to serve: something must go wrong
}

// medium is what several gateways can write to.
type medium struct {
	served  san.Epoch
	writer  map[san.Epoch]model.Member
	blocked map[model.Member]bool
	writes  int
}

func volumeID(n int) san.UUID {
	return san.UUID{0: 1, 13: byte(n >> 16), 14: byte(n >> 8), 15: byte(n)}
}

func newWorld(t *testing.T, volumes int, f model.Fencing) *world {
	w := &world{t: t, m: newMemory(), media: map[san.UUID]*medium{}}
	w.m.judge = judge
	for i := range volumes {
		id := volumeID(i)
		w.media[id] = &medium{writer: map[san.Epoch]model.Member{}, blocked: map[model.Member]bool{}}
		w.m.put(model.VolumeRecord{ID: id, Fencing: f})
	}
	return w
}

// judge looks at what no transaction may do.
func judge(old, now model.Record) error {
	o, _ := old.(model.OwnerRecord)
	n, ok := now.(model.OwnerRecord)
	if !ok {
		return nil
	}
	granted := n.State == model.Moving && (o.State != model.Moving || o.To != n.To || o.Epoch != n.Epoch)
	if granted && n.Epoch != o.Epoch+1 || !granted && n.Epoch != o.Epoch {
		return fmt.Errorf("epoch %d follows %d: %+v after %+v", n.Epoch, o.Epoch, n, o)
	}
	return nil
}

func (w *world) fail(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.wrong == nil {
		w.wrong = fmt.Errorf(format, args...)
	}
}

// check ends the test where something was wrong.
func (w *world) check() {
	w.t.Helper()
	w.mu.Lock()
	wrong := w.wrong
	w.mu.Unlock()
	w.m.mu.Lock()
	wrong = errors.Join(wrong, w.m.wrong)
	w.m.mu.Unlock()
	if wrong != nil && !w.blind {
		w.t.Fatal(wrong)
	}
}

// saw reports whether something went wrong, as it was to.
func (w *world) saw() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.blind && w.wrong != nil
}

// FenceVolume implements Fencer.
func (w *world) FenceVolume(_ context.Context, m model.Member, v san.UUID) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fences++
	if w.noFence {
		return errors.New("no")
	}
	w.media[v].blocked[m] = true
	return nil
}

// FenceGateway implements Fencer.
func (w *world) FenceGateway(_ context.Context, m model.Member) error {
	w.mu.Lock()
	w.fences++
	no := w.noFence
	if !no {
		for _, d := range w.media {
			d.blocked[m] = true
		}
	}
	w.mu.Unlock()
	if no {
		return errors.New("no")
	}
	return nil
}

// node is one gateway: a runtime with a driver that hosts write through.
type node struct {
	w    *world
	name model.GatewayID
	way  *way
	opts func(*Options)

	r    *Runtime
	end  chan error
	over bool // end was taken
	stop context.CancelFunc

	mu      sync.Mutex // guards what follows
	me      model.Member
	open    map[san.UUID]*opened
	load    bool // hosts write
	attends int
	fenced  int
	lost    int
	view    map[san.UUID]model.OwnerRecord
	list    []model.GatewayRecord
	slow    time.Duration  // of opens, at most
	broken  bool           // opens fail
	leave   func(san.UUID) // called by Close; nil: nothing
}

type opened struct {
	member model.Member
	epoch  san.Epoch
	serves bool
	flight int
	drain  func()
}

func (w *world) add(n int, load bool, opts func(*Options)) {
	for range n {
		i := len(w.nodes)
		w.nodes = append(w.nodes, &node{
			w: w, name: model.GatewayID(fmt.Sprintf("g%03d", i)), way: w.m.way(uint64(i)), open: map[san.UUID]*opened{}, load: load, opts: opts,
			view: map[san.UUID]model.OwnerRecord{},
		})
	}
}

func (n *node) start() {
	o := Options{Gateway: n.name, Times: times, Store: n.way, Driver: n, Fencer: n.w, Log: slog.New(slog.DiscardHandler)}
	if testing.Verbose() {
		o.Log = slog.New(slog.NewTextHandler(n.w.t.Output(), nil)).With("gateway", n.name)
	}
	if n.opts != nil {
		n.opts(&o)
	}
	r, err := New(o)
	if err != nil {
		n.w.t.Fatal(err)
	}
	n.mu.Lock()
	n.r, n.end, n.over, n.me = r, make(chan error, 1), false, model.Member{}
	n.open, n.view = map[san.UUID]*opened{}, map[san.UUID]model.OwnerRecord{}
	n.mu.Unlock()
	var ctx context.Context
	ctx, n.stop = context.WithCancel(context.Background())
	n.way.set(func(w *way) { w.cut = false })
	go func(end chan error) { end <- r.Run(ctx) }(n.end)
}

// sleep lets simulated time pass.
func sleep(d time.Duration) { <-time.After(d) }

// kill ends the process: nothing of it reaches the store any more.
func (n *node) kill() {
	n.way.set(func(w *way) { w.cut = true })
	n.mu.Lock()
	n.me = model.Member{}
	n.mu.Unlock()
	n.halt()
	n.ends()
}

// ends waits until Run has returned after it was cut short.
func (n *node) ends() {
	if err := <-n.end; err != nil && !errors.Is(err, context.Canceled) {
		n.w.fail("%s: Run: %w", n.name, err)
	}
	n.over = true
}

// halt ends the process and what it does for hosts.
func (n *node) halt() {
	n.stop()
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, o := range n.open {
		o.serves = false
	}
}

// startAll starts all nodes, and stop ends them.
func (w *world) startAll() {
	for _, n := range w.nodes {
		n.start()
	}
}

func (w *world) stop() {
	for _, n := range w.nodes {
		n.halt()
	}
	for _, n := range w.nodes {
		if !n.over {
			n.ends()
		}
	}
	w.hosts.Wait()
	w.check()
}

// lostBy has all nodes but some miss a member.
func (w *world) lostBy(m model.Member, except ...*node) {
	for _, n := range w.nodes {
		skip := n.member() == m
		for _, x := range except {
			skip = skip || x == n
		}
		if !skip {
			n.r.PeerLost(m)
		}
	}
}

func (n *node) member() model.Member {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.me
}

// Joined implements Driver.
func (n *node) Joined(m model.Member) {
	n.mu.Lock()
	n.me = m
	n.mu.Unlock()
}

// RightLost implements Driver.
func (n *node) RightLost() {
	n.mu.Lock()
	n.lost++
	n.mu.Unlock()
}

// RightBack implements Driver.
func (n *node) RightBack() {}

// Fenced implements Driver.
func (n *node) Fenced() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fenced++
	for _, o := range n.open {
		o.serves = false
	}
}

// Open implements Driver.
func (n *node) Open(ctx context.Context, v san.UUID, e san.Epoch) error {
	n.mu.Lock()
	slow, broken, me := n.slow, n.broken, n.me
	n.mu.Unlock()
	if slow > 0 && !pause.For(ctx, slow) {
		return ctx.Err()
	}
	n.w.mu.Lock()
	blocked := n.w.media[v].blocked[me]
	n.w.mu.Unlock()
	if broken || blocked {
		return errors.New("it can't be opened")
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.open[v] != nil {
		n.w.fail("%v opens what it has open", me)
	}
	n.open[v] = &opened{member: me, epoch: e}
	return nil
}

// Serve implements Driver.
func (n *node) Serve(v san.UUID, e san.Epoch) {
	n.mu.Lock()
	o := n.open[v]
	if o == nil || o.epoch != e {
		n.mu.Unlock()
		n.w.fail("%s serves what is not open", n.name)
		return
	}
	o.serves = true
	load := n.load
	n.mu.Unlock()
	n.w.mu.Lock()
	if d := n.w.media[v]; e > d.served {
		d.served = e
	}
	n.w.mu.Unlock()
	if load {
		n.w.hosts.Go(func() { n.write(v, o) })
	}
}

// write has hosts write to a volume as long as it is served here.
func (n *node) write(v san.UUID, o *opened) {
	for {
		n.mu.Lock()
		if !o.serves {
			n.mu.Unlock()
			return
		}
		o.flight++
		r := n.r
		n.mu.Unlock()
		sleep(time.Millisecond) // it is executed
		if r.Right() || n.w.blind {
			n.w.land(v, o.member, o.epoch)
		}
		n.ended(o)
		sleep(9 * time.Millisecond)
	}
}

func (n *node) ended(o *opened) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if o.flight--; o.flight == 0 && o.drain != nil {
		o.drain()
		o.drain = nil
	}
}

// land is a write that reaches the medium.
func (w *world) land(v san.UUID, m model.Member, e san.Epoch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := w.media[v]
	if d.blocked[m] {
		return
	}
	d.writes++
	switch other, ok := d.writer[e]; {
	case e < d.served && w.wrong == nil:
		w.wrong = fmt.Errorf("%v writes under epoch %d to %v when epoch %d serves", m, e, v, d.served)
	case ok && other != m && w.wrong == nil:
		w.wrong = fmt.Errorf("%v and %v write under epoch %d", m, other, e)
	}
	d.writer[e] = m
}

// Hold implements Driver.
func (n *node) Hold(v san.UUID, drained func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	o := n.open[v]
	if o == nil {
		n.w.fail("%s holds what is not open", n.name)
		return
	}
	if o.serves = false; o.flight == 0 {
		drained()
		return
	}
	o.drain = drained
}

// Refuse implements Driver.
func (n *node) Refuse(san.UUID) {}

// Cancel implements Driver.
func (n *node) Cancel(san.UUID) {}

// Prepare implements Driver.
func (n *node) Prepare(ctx context.Context, _ san.UUID) { pause.For(ctx, time.Millisecond) }

// Flush implements Driver.
func (n *node) Flush(ctx context.Context, _ san.UUID) { pause.For(ctx, time.Millisecond) }

// Close implements Driver.
func (n *node) Close(v san.UUID) {
	for {
		n.mu.Lock()
		o := n.open[v]
		if o == nil {
			n.mu.Unlock()
			n.w.fail("%s closes what is not open", n.name)
			return
		}
		if o.serves = false; o.flight == 0 {
			leave := n.leave
			n.mu.Unlock()
			if leave != nil {
				leave(v)
			}
			n.mu.Lock()
			delete(n.open, v)
			n.mu.Unlock()
			return
		}
		n.mu.Unlock()
		sleep(time.Millisecond)
	}
}

// Publish implements Driver.
func (n *node) Publish(v san.UUID, o model.OwnerRecord) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.view[v] = o
}

// Prefer implements Driver.
func (n *node) Prefer(san.UUID, model.GatewayID) {}

// PublishGateways implements Driver.
func (n *node) PublishGateways(all []model.GatewayRecord) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = all
}

// Attend implements Driver.
func (n *node) Attend(san.UUID, string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.attends++
}

// eventually waits until ok, for a time that is more than enough.
func (w *world) eventually(what string, ok func() bool) time.Duration {
	w.t.Helper()
	began := time.Now()
	for !ok() && !w.saw() {
		w.check()
		if time.Since(began) > 5*time.Minute {
			for _, o := range w.m.owners() {
				w.t.Logf("%+v", o)
			}
			w.t.Fatalf("not in five minutes: %s", what)
		}
		sleep(time.Millisecond)
	}
	w.check()
	return time.Since(began)
}

// served reports whether all volumes are served, each by one node that lives.
func (w *world) served() bool {
	for v := range w.media {
		if w.by(v) == nil {
			return false
		}
	}
	return true
}

// by returns who serves a volume, nil for nobody, or one without the right.
func (w *world) by(v san.UUID) *node {
	o := get(w.m, model.OwnerRecord{Volume: v})
	if o.State != model.Active {
		return nil
	}
	for _, n := range w.nodes {
		n.mu.Lock()
		x := n.open[v]
		here := n.me == o.Owner && x != nil && x.serves && x.epoch == o.Epoch
		n.mu.Unlock()
		if here && n.r.Right() {
			return n
		}
	}
	return nil
}

// has counts the volumes that a node owns.
func (w *world) has(n *node) int {
	i := 0
	for _, o := range w.m.owners() {
		if o.State == model.Active && o.Owner == n.member() {
			i++
		}
	}
	return i
}

// even waits until each node has about as much as the others.
func (w *world) even() {
	w.t.Helper()
	w.eventually("all have the same", func() bool {
		least, most := len(w.media), 0
		for _, n := range w.nodes {
			i := w.has(n)
			least, most = min(least, i), max(most, i)
		}
		return w.served() && most-least <= 1
	})
}

// coordinator returns the node that is it.
func (w *world) coordinator() *node {
	for _, n := range w.nodes {
		if n.r != nil && n.r.Coordinates() {
			return n
		}
	}
	return nil
}
