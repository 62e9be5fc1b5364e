package meta

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"sango/internal/san"
)

// contract is what every form of store keeps to. Each test has two handles:
// of one store, of two members of a cluster, or of two clients of an etcd.
var contract = map[string]func(t *testing.T, s, s2 *Store){
	"CountersNeverRepeat":          countersNeverRepeat,
	"NamesAreUnique":               namesAreUnique,
	"MapAgainstDelete":             mapAgainstDelete,
	"LUNsAreUnique":                lunsAreUnique,
	"UnitStateIsGuarded":           unitStateIsGuarded,
	"WatchTellsEveryChangeInOrder": watchTellsEveryChangeInOrder,
	"WatchFromCompactedRevision":   watchFromCompactedRevision,
	"CurrentReachesTheWatch":       currentReachesTheWatch,
	"ClaimFences":                  claimFences,
	"NamesHaveOneDirectory":        namesHaveOneDirectory,
	"ChangesAreGuarded":            changesAreGuarded,
	"ReservationsGoBothWays":       reservationsGoBothWays,
	"SavesUnderOneOwner":           savesUnderOneOwner,
	"OneCoordinator":               oneCoordinator,
	"BackupAndRestore":             backupAndRestore,
	"FollowTellsAllInOrder":        followTellsAllInOrder,
	"StreamsHaveNoGap":             streamsHaveNoGap,
}

func TestContract(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(t *testing.T) (s, s2 *Store){
		"alone":    func(t *testing.T) (s, s2 *Store) { s = fresh(t); return s, s },
		"member":   func(t *testing.T) (s, s2 *Store) { m := cluster(t, 3); return m[0].Store, m[1].Store },
		"external": externals,
	} {
		t.Run(name, func(t *testing.T) {
			s, s2 := open(t)
			for name, test := range contract {
				t.Run(name, func(t *testing.T) {
					s.fence.Store(nil)
					s2.fence.Store(nil)
					wipe(t, s)
					test(t, s, s2)
				})
			}
		})
	}
}

// either takes the handles in turn.
func either(i int, s, s2 *Store) *Store {
	if i%2 == 0 {
		return s
	}
	return s2
}

// wipe makes a store as empty as a new one.
func wipe(t *testing.T, s *Store) {
	t.Helper()
	for _, p := range []string{prefix, live} {
		if _, err := s.kv.Delete(t.Context(), p, clientv3.WithPrefix()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.checkStore(t.Context(), "", san.UUID{}); err != nil {
		t.Fatal(err)
	}
}

// running is one member of a cluster in a test.
type running struct {
	*Store
	dir  string
	opts Options
}

// freeAddrs returns addresses whose ports were free a moment ago.
func freeAddrs(t testing.TB, n int) []string {
	t.Helper()
	var out []string
	for range n {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		out = append(out, l.Addr().String())
	}
	return out
}

// cluster starts members that list each other, the first with an address for
// clients.
func cluster(t *testing.T, n int) []*running {
	t.Helper()
	addrs := freeAddrs(t, n+1)
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf("m%d=%s", i, addrs[i]))
	}
	members := make([]*running, n)
	var wg sync.WaitGroup
	for i := range n {
		m := &Member{Name: fmt.Sprintf("m%d", i), Peer: addrs[i], Members: list}
		if i == 0 {
			m.Client = addrs[n]
		}
		members[i] = &running{dir: t.TempDir(), opts: Options{NoSync: true, Member: m}}
		wg.Go(func() { members[i].start(t) })
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return members
}

// start opens the member; it is closed with the test.
func (r *running) start(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	o := r.opts
	o.Log = quiet(t)
	s, err := Open(ctx, r.dir, o)
	if err != nil {
		t.Error(err)
		return
	}
	r.Store = s
	t.Cleanup(r.stop)
}

// stop closes it, if it is open.
func (r *running) stop() {
	if r.Store != nil {
		r.Close()
		r.Store = nil
	}
}

// quiet is a log that tells errors only: etcd warns of much that tests mean.
func quiet(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError + 1}))
}

// externals are two clients of an etcd in this process, by its socket.
func externals(t *testing.T) (s, s2 *Store) {
	t.Helper()
	m := cluster(t, 1)[0]
	return external(t, m.opts.Member.Client), external(t, m.opts.Member.Client)
}

func external(t *testing.T, addr string) *Store {
	t.Helper()
	s, err := Open(t.Context(), t.TempDir(), Options{Log: quiet(t), External: &External{Endpoints: []string{addr}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}
