package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"sango/internal/cluster/model"
	"sango/internal/lun"
	"sango/internal/meta"
	"sango/internal/san"
)

// mortal is a store of a process that can be killed: nothing is asked or
// answered from then on.
type mortal struct {
	Store
	dead context.Context
	kill context.CancelFunc
}

func (s *mortal) Commit(ctx context.Context, t model.Txn) (model.Revision, model.Outcome) {
	if s.dead.Err() != nil {
		<-ctx.Done()
		return 0, model.Unknown
	}
	return s.Store.Commit(ctx, t)
}

func (s *mortal) Campaign(ctx context.Context, m model.Member, ttl time.Duration) (Office, error) {
	o, err := s.Store.Campaign(ctx, m, ttl)
	if err != nil {
		return nil, err
	}
	return mortalOffice{o, s}, nil
}

type mortalOffice struct {
	Office
	s *mortal
}

// Resign gives up nothing where the process is dead.
func (o mortalOffice) Resign(ctx context.Context) {
	if o.s.dead.Err() == nil {
		o.Office.Resign(ctx)
	}
}

// freeAddrs returns addresses whose ports were free a moment ago.
func freeAddrs(t *testing.T, n int) (addrs []string) {
	for range n {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		addrs = append(addrs, l.Addr().String())
	}
	return addrs
}

// members opens the stores of a metadata cluster of three.
func members(t *testing.T) []*meta.Store {
	addrs := freeAddrs(t, 3)
	var list []string
	for i, a := range addrs {
		list = append(list, fmt.Sprintf("m%d=%s", i, a))
	}
	log := slog.New(slog.DiscardHandler)
	stores := make([]*meta.Store, 3)
	var wg sync.WaitGroup
	for i := range stores {
		dir := t.TempDir()
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			m := &meta.Member{Name: fmt.Sprintf("m%d", i), Peer: addrs[i], Members: list}
			s, err := meta.Open(ctx, dir, meta.Options{NoSync: true, Log: log, Member: m})
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(s.Close)
			stores[i] = s
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return stores
}

// register registers a gateway where it is not.
func register(ctx context.Context, m *meta.Store, name string) error {
	return m.Ensure(ctx, func(tx *meta.Tx) error {
		if _, err := tx.Gateway(name); !errors.Is(err, san.ErrNotFound) {
			return err
		}
		return tx.Register(&meta.Gateway{Name: name})
	})
}

// TestEtcd has three gateways with three members of etcd: takeovers, a drain,
// reservations and a host's wish, and that all of them leave.
func TestEtcd(t *testing.T) {
	stores := members(t)
	w := newWorld(t, 0, model.FenceDriver)
	const n = 9
	for i := range n {
		v := &san.Volume{ID: volumeID(i), Name: fmt.Sprintf("v%d", i), Driver: san.DriverLayered, Size: 1 << 20, BlockSize: 512, PhysicalBlock: 4096}
		if err := stores[0].Update(t.Context(), func(tx *meta.Tx) error { return tx.Begin(v.ID, v.Name) }); err != nil {
			t.Fatal(err)
		}
		if err := stores[0].Update(t.Context(), func(tx *meta.Tx) error { return tx.CreateVolume(v) }); err != nil {
			t.Fatal(err)
		}
		w.media[v.ID] = &medium{writer: map[san.Epoch]model.Member{}, blocked: map[model.Member]bool{}}
	}
	var ways []*mortal
	for i := range stores {
		s, err := NewStore(t.Context(), stores[i], 0)
		if err != nil {
			t.Fatal(err)
		}
		m := &mortal{Store: s}
		ways = append(ways, m)
		w.add(1, true, func(o *Options) {
			o.Register = func(ctx context.Context) error { return register(ctx, stores[i], string(o.Gateway)) }
			m.dead, m.kill = context.WithCancel(context.Background())
			o.Store, o.Times.Failback, o.Times.Balance = m, model.Millisecond, 50*model.Millisecond
		})
	}
	w.startAll()
	defer w.stop()
	// by returns who serves a volume, with the right to.
	by := func(v san.UUID) *node {
		for _, n := range w.nodes {
			n.mu.Lock()
			x := n.open[v]
			serves := x != nil && x.serves && !n.me.IsZero()
			n.mu.Unlock()
			if serves && n.r.Right() {
				return n
			}
		}
		return nil
	}
	has := func(n *node) (i int) {
		for v := range w.media {
			if by(v) == n {
				i++
			}
		}
		return i
	}
	eventually := func(what string, ok func() bool) {
		t.Helper()
		began := time.Now()
		for !ok() {
			if w.check(); time.Since(began) > time.Minute {
				st, err := w.nodes[0].r.Status(t.Context())
				t.Fatalf("not in a minute: %s: %+v, %v", what, st, err)
			}
			sleep(5 * time.Millisecond)
		}
		t.Logf("%s: %v", what, time.Since(began).Round(time.Millisecond))
	}
	all := func() bool { return has(w.nodes[0])+has(w.nodes[1])+has(w.nodes[2]) == n }
	even := func() bool { return has(w.nodes[0]) == 3 && has(w.nodes[1]) == 3 && has(w.nodes[2]) == 3 }
	eventually("all have the same", even)

	v := volumeID(0)
	from := by(v)
	if err := from.r.Unit(v).Save(lun.StateReservations, []byte("held")); err != nil {
		t.Error(err)
	}
	if err := from.r.Unit(v).Save(lun.StateModePages, []byte("pages")); err != nil {
		t.Error(err)
	}
	var to *node
	for _, x := range w.nodes {
		if x != from {
			to = x
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := from.r.Move(ctx, v, to.name, "a nexus"); err != nil {
		t.Fatal(err)
	}
	eventually("it is there", func() bool { return by(v) == to })
	for name, want := range map[string]string{lun.StateReservations: "held", lun.StateModePages: "pages"} {
		if b, err := to.r.Unit(v).Load(name); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", name, b, err)
		}
		if err := to.r.Unit(v).Save(name, []byte(want)); err != nil {
			t.Error(err)
		}
		if err := from.r.Unit(v).Save(name, []byte("late")); !errors.Is(err, lun.ErrMoved) {
			t.Errorf("%s of the former owner: %v", name, err)
		}
	}
	fresh := make(chan bool)
	to.r.Fresh(func(ok bool) { fresh <- ok })
	if !<-fresh {
		t.Error("it can't say what is current")
	}
	if err := to.r.Weigh(t.Context(), map[san.UUID]int{v: 7}); err != nil {
		t.Error(err)
	}

	// Whoever coordinates is killed, then another one; each comes back.
	for _, coordinates := range []bool{true, false} {
		i := 0
		for w.nodes[i].r.Coordinates() != coordinates {
			i = (i + 1) % 3
		}
		dead := w.nodes[i]
		m := dead.member()
		ways[i].kill()
		dead.kill()
		w.lostBy(m, dead)
		eventually(fmt.Sprintf("all is served again, coordinator %v", coordinates), all)
		dead.start()
		eventually("it is back", func() bool { return has(dead) > 0 })
	}
	if err := Drain(t.Context(), ways[0], w.nodes[1].name); err != nil {
		t.Fatal(err)
	}
	eventually("it is empty", func() bool { return has(w.nodes[1]) == 0 && all() })
	for i, n := range w.nodes {
		if err := n.r.Leave(ctx); err != nil {
			t.Fatal(err)
		}
		if err := <-n.end; err != nil {
			t.Error(err)
		}
		n.over, n.me = true, model.Member{}
		if i < 2 {
			eventually("the others serve", func() bool { return all() })
		}
	}
	owners := map[san.UUID]*meta.Owner{}
	if err := stores[0].Update(t.Context(), func(tx *meta.Tx) (err error) { owners, err = tx.Owners(); return err }); err != nil || len(owners) != n {
		t.Fatal(owners, err)
	}
	for _, o := range owners {
		if o.State != meta.OwnerNone || o.Reason != "left" || o.Since.IsZero() {
			t.Errorf("%+v", o)
		}
	}
	for _, n := range w.nodes {
		if err := Remove(t.Context(), ways[0].Store, n.name); err != nil {
			t.Error(err)
		}
	}
}
