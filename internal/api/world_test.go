package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"sango/internal/meta"
	"sango/internal/san"
)

// world is some gateways that serve together, each with its own service, over
// one store.
type world struct {
	t     *testing.T
	store *meta.Store
	nodes map[string]*fakeNode

	remembers bool // nobody forgets a gateway that was removed

	mu      sync.Mutex // guards what follows
	calls   []string   // what gateways were asked to do, in order
	merging int        // how often a merge is told to be under way, by whoever has the volume
	moves   func()     // what happens to the next resize, before it is done: it is not
}

// fakeNode is one gateway.
type fakeNode struct {
	w      *world
	name   string
	server *Server
	pipe   *Pipe
	dir    string
	stuck  chan struct{} // not nil: its volumes answer when it is closed
}

func newWorld(t *testing.T, names ...string) *world {
	t.Helper()
	s, err := meta.Open(t.Context(), t.TempDir(), meta.Options{NoSync: true, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	w := &world{t: t, store: s, nodes: map[string]*fakeNode{}}
	for i, name := range names {
		n := &fakeNode{w: w, name: name, dir: t.TempDir(), pipe: NewPipe()}
		w.nodes[name] = n
		w.update(func(tx *meta.Tx) error {
			return tx.Register(&meta.Gateway{Name: name, Portals: []meta.Portal{{Name: "a", Listen: "127.0.0.1:1", Advertise: "127.0.0.1:1"}}})
		})
		w.lives(name, uint64(i+1), meta.Alive)
		n.server = NewServer(n)
		n.server.nodes().wait = 300 * time.Millisecond
		l, err := Listen(n.dir)
		if err != nil {
			t.Fatal(err)
		}
		var serving sync.WaitGroup
		serving.Go(func() { must(t, n.server.Serve(l)) })
		serving.Go(func() {
			if err := n.server.ServePeers(n.pipe); err != nil && !errors.Is(err, net.ErrClosed) {
				t.Error(err)
			}
		})
		t.Cleanup(func() {
			n.server.Shutdown(context.Background())
			serving.Wait()
		})
	}
	return w
}

// nodes returns the way to other gateways.
func (s *Server) nodes() *peers { return s.hops }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

func (w *world) update(f func(*meta.Tx) error) {
	w.t.Helper()
	if err := w.store.Update(w.t.Context(), f); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) put(kind meta.RecordKind, name string, value any) error {
	_, _, err := w.store.Change(context.Background(), nil, []meta.Record{{RecordKey: meta.RecordKey{Kind: kind, Name: name}, Value: value}})
	return err
}

func (w *world) lives(gateway string, number uint64, l meta.Life) {
	w.t.Helper()
	if err := w.put(meta.RecordIncarnation, gateway, &meta.Incarnation{Number: number, Life: l}); err != nil {
		w.t.Fatal(err)
	}
}

// volume makes a volume that a gateway owns; "": nobody.
func (w *world) volume(name, owner string) san.UUID {
	w.t.Helper()
	v := &san.Volume{ID: san.NewUUID(), Name: name, Size: 1 << 20, Created: time.Unix(1, 0)}
	Defaults(v)
	w.update(func(tx *meta.Tx) error { return tx.Begin(v.ID, v.Name) })
	w.update(func(tx *meta.Tx) error { return tx.CreateVolume(v) })
	if owner != "" {
		w.own(v.ID, owner)
	}
	return v.ID
}

// own makes a gateway the owner of a volume.
func (w *world) own(v san.UUID, gateway string) {
	var number uint64
	if err := w.store.Update(context.Background(), func(tx *meta.Tx) error {
		all, err := tx.Incarnations()
		number = all[gateway].Number
		return err
	}); err != nil {
		w.t.Error(err)
	}
	must(w.t, w.put(meta.RecordOwner, v.String(), &meta.Owner{State: meta.OwnerActive, Gateway: gateway, Incarnation: number, Epoch: 7, Reason: "new", Since: time.Unix(2, 0)}))
}

// called returns what was asked for since the last time.
func (w *world) called() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.calls
	w.calls = nil
	return c
}

func (w *world) client(gateway string) *Client {
	c := NewClient(w.nodes[gateway].dir)
	w.t.Cleanup(c.Close)
	return c
}

// Meta implements Node.
func (n *fakeNode) Meta() *meta.Store { return n.w.store }

// Sync implements Node.
func (n *fakeNode) Sync(_ context.Context, own int64) error {
	return n.did("sync", strconv.FormatInt(own, 10))
}

// Status implements Node.
func (n *fakeNode) Status(context.Context) (Status, error) {
	return Status{Gateway: n.name, Version: "test", Dir: n.dir}, nil
}

// Sessions implements Node.
func (n *fakeNode) Sessions() []Session {
	return []Session{{Target: "iqn.2026-11.io.sango:t", Host: "of-" + n.name, TPG: san.TPG(slices.Index(sorted(n.w.nodes), n.name) + 1)}}
}

// Volumes implements Node.
func (n *fakeNode) Volumes() Volumes { return fakeVolumes{n} }

// Cluster implements Node.
func (n *fakeNode) Cluster() Cluster { return fakeCluster{n} }

func (n *fakeNode) did(what, to string) error {
	n.w.mu.Lock()
	stuck := n.stuck
	n.w.calls = append(n.w.calls, n.name+" "+what+" "+to)
	n.w.mu.Unlock()
	if stuck != nil {
		<-stuck
	}
	return nil
}

// fakeCluster decides by the records alone.
type fakeCluster struct{ n *fakeNode }

func (c fakeCluster) Self() string             { return c.n.name }
func (c fakeCluster) Here(gateway string) bool { return c.n.name == gateway }

func (c fakeCluster) Drain(_ context.Context, gateway string) error {
	return c.n.w.put(meta.RecordDrain, gateway, &meta.Drain{})
}

func (c fakeCluster) Undrain(_ context.Context, gateway string) error {
	return c.n.w.put(meta.RecordDrain, gateway, nil)
}

func (c fakeCluster) Remove(_ context.Context, gateway string) error {
	removed := func(tx *meta.Tx) error { tx.RemoveGateway(gateway); return nil }
	if c.n.w.remembers { // nobody coordinates
		return errors.Join(c.n.w.put(meta.RecordIncarnation, gateway, &meta.Incarnation{Number: 2, Life: meta.Removed}), c.n.w.store.Update(context.Background(), removed))
	}
	return errors.Join(c.n.did("remove", gateway), c.n.w.put(meta.RecordIncarnation, gateway, nil),
		c.n.w.store.Update(context.Background(), removed))
}

func (c fakeCluster) ConfirmDead(_ context.Context, gateway string) error {
	return c.n.did("confirm", gateway)
}

func (c fakeCluster) Remembered(context.Context) (*meta.Snapshot, *meta.State) { return nil, nil }

func (c fakeCluster) Move(_ context.Context, v san.UUID, gateway string) error {
	c.n.w.own(v, gateway)
	return nil
}

func (c fakeCluster) Owner(ctx context.Context, v san.UUID) (m Member, err error) {
	err = c.n.w.store.Update(ctx, func(tx *meta.Tx) error {
		now, err := tx.Incarnations()
		if err != nil {
			return err
		}
		o, err := tx.Owner(v)
		if g := holder(o, now); g != "" {
			m = Member{g, o.Incarnation}
		}
		return err
	})
	return m, err
}

// owner returns who has a volume.
func (c fakeCluster) owner(name string) (string, error) {
	var id san.UUID
	if err := c.n.w.store.Update(context.Background(), func(tx *meta.Tx) error {
		v, err := tx.VolumeNamed(name)
		if err == nil {
			id = v.ID
		}
		return err
	}); err != nil {
		return "", err
	}
	m, err := c.Owner(context.Background(), id)
	return m.Gateway, err
}

func (c fakeCluster) Living(ctx context.Context, m Member) (ok bool, err error) {
	err = c.n.w.store.Update(ctx, func(tx *meta.Tx) error {
		now, err := tx.Incarnations()
		ok = alive(now, m.Gateway, m.Incarnation)
		return err
	})
	return ok, err
}

func (c fakeCluster) Troubles() map[san.UUID]error {
	var id san.UUID
	must(c.n.w.t, c.n.w.store.Update(context.Background(), func(tx *meta.Tx) error {
		all, err := tx.Volumes()
		for _, v := range all {
			if v.Name == "broken" {
				id = v.ID
			}
		}
		return err
	}))
	return map[san.UUID]error{id: fmt.Errorf("%s found a bad block", c.n.name)}
}

func (c fakeCluster) Dial(ctx context.Context, gateway string) (net.Conn, error) {
	return c.n.w.nodes[gateway].pipe.Dial(ctx)
}

// fakeVolumes notes what it is asked for.
type fakeVolumes struct{ n *fakeNode }

func (v fakeVolumes) Create(context.Context, *san.Volume) error { return nil }

func (v fakeVolumes) Usage(x *san.Volume) (Usage, error) {
	if err := v.n.did("usage", x.Name); err != nil {
		return Usage{}, err
	}
	u := Usage{Used: int64(v.n.name[2] - '0'), Snapshots: []Snapshot{{Name: "of-" + v.n.name, Created: time.Unix(3, 0), Size: 5}}}
	if j, running, _ := v.Merge(x.Name, ""); running {
		u.Jobs = append(u.Jobs, j)
	}
	return u, nil
}

func (v fakeVolumes) Jobs() map[san.UUID]Job { return nil }
func (v fakeVolumes) Resize(_ context.Context, name string, _ int64) error {
	v.n.w.mu.Lock()
	moves := v.n.w.moves
	v.n.w.moves = nil
	v.n.w.mu.Unlock()
	if moves != nil {
		moves()
		return fmt.Errorf("not here: %w", Moved(name))
	}
	return v.n.did("resize", name)
}
func (v fakeVolumes) Delete(_ context.Context, name string) error { return v.n.did("delete", name) }
func (v fakeVolumes) Snapshot(_ context.Context, volume, snapshot string) error {
	return v.n.did("snapshot", volume+"@"+snapshot)
}

func (v fakeVolumes) DeleteSnapshot(_ context.Context, volume, snapshot string) error {
	return v.n.did("delete", volume+"@"+snapshot)
}

func (v fakeVolumes) Merge(volume, _ string) (j Job, running bool, err error) {
	at, err := fakeCluster(v).owner(volume)
	if err != nil || at != v.n.name {
		return j, false, err
	}
	v.n.w.mu.Lock()
	defer v.n.w.mu.Unlock()
	if v.n.w.merging == 0 {
		return j, false, nil
	}
	v.n.w.merging--
	return Job{Kind: "merge", Subject: "s", Done: int64(10 - v.n.w.merging), Total: 10}, true, nil
}

func (v fakeVolumes) Clone(_ context.Context, volume, snapshot, name string) (*san.Volume, error) {
	return &san.Volume{Name: volume}, v.n.did("clone", volume+"@"+snapshot+" "+name)
}

func (v fakeVolumes) Rollback(_ context.Context, volume, snapshot string) error {
	return errors.Join(v.n.did("rollback", volume+"@"+snapshot), san.Errorf(san.ErrRefused, "volume %s is mapped", volume))
}

func (v fakeVolumes) Import(context.Context, *san.Volume, func(io.WriterAt) error) error { return nil }

func (v fakeVolumes) Export(_ context.Context, volume, snapshot string, begin func(int64) error, send func(int64, []byte) error) error {
	if err := errors.Join(v.n.did("export", volume+"@"+snapshot), begin(8<<20)); err != nil {
		return err
	}
	for off := int64(0); off < 8<<20; off += MaxChunk {
		if err := send(off, make([]byte, MaxChunk)); err != nil {
			return err
		}
	}
	return nil
}

// quiet leaves what is of no interest out of calls.
func quiet(calls []string) (out []string) {
	for _, c := range calls {
		if !slices.Contains([]string{"sync", "usage"}, c[4:min(8, len(c))]) && !slices.Contains([]string{"usage"}, c[4:min(9, len(c))]) {
			out = append(out, c)
		}
	}
	return out
}

func drainStream[A any](s *connect.ServerStreamForClient[A], err error) (n int, _ error) {
	if err != nil {
		return 0, err
	}
	defer s.Close()
	for s.Receive() {
		n++
	}
	return n, FromWire(s.Err())
}
