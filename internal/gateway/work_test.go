package gateway

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"sango/internal/block"
	"sango/internal/cluster"
	"sango/internal/cluster/model"
	"sango/internal/meta"
	"sango/internal/pause"
	"sango/internal/san"
	"sango/internal/target"
)

// busyOf returns what a gateway told of a volume's work, and whether it has told
// anything.
func busyOf(t *testing.T, n *Node, v san.UUID) (work int, told bool) {
	t.Helper()
	if err := n.meta.Update(t.Context(), func(tx *meta.Tx) error {
		st, err := tx.State()
		if err != nil {
			return err
		}
		if b := st.Busy[n.cfg.Name]; b != nil {
			work, told = b.Volumes[v], true
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return work, told
}

// The work of a busy volume comes into the metadata, by the gateway that executes
// it, and goes from there when the volume has moved or is idle. Idle volumes are not
// named.
func TestWorkIsTold(t *testing.T) {
	cfg := Config{
		Name: "gw", Dir: t.TempDir(), Each: true, ISCSI: target.Config{DrainTime: 100 * time.Millisecond}, workLook: 100 * time.Millisecond,
		Log:     slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo})),
		Portals: []Portal{{Name: "a", Listen: "127.0.0.1:0"}, {Name: "b", Listen: "127.0.0.1:0"}},
	}
	n, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	n.Serve()
	defer stop(t, n)
	v := mappedBy(t, n, "busy", 1<<20, san.DriverMem)
	allServed(t, n)
	from := ownerOf(t, n, v.ID)
	to := 1 - from
	c := at(t, n, to, 1) // relayed: the owner executes it all the same
	moved(t, c, 0)
	data := make([]byte, 256<<10)
	eventually := func(what string, ok func() bool) {
		t.Helper()
		for !ok() {
			if !pause.For(t.Context(), 10*time.Millisecond) {
				t.Fatal(what)
			}
		}
	}
	write := func() {
		t.Helper()
		if err := c.WriteBlocks(lunField(0), 0, data, 512); err != nil {
			t.Fatal(err)
		}
	}
	gateways := n.gateways()
	told := func(i int) func() bool {
		return func() bool {
			write()
			w, _ := busyOf(t, gateways[i], v.ID)
			return w >= workMore
		}
	}
	eventually("the work is not told", told(from))
	if w, _ := busyOf(t, gateways[to], v.ID); w != 0 {
		t.Errorf("the other gateway has %d work", w)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := cluster.MoveVolume(ctx, n.member.store, v.ID, model.GatewayID(gateways[to].cfg.Name)); err != nil {
		t.Fatal(err)
	}
	moved(t, c, 0)
	eventually("the work is not told after the move", told(to))
	eventually("the former owner tells of it still", func() bool {
		w, _ := busyOf(t, gateways[from], v.ID)
		return w == 0
	})
	eventually("it is not idle", func() bool {
		w, told := busyOf(t, gateways[to], v.ID)
		return w == 0 && told
	})
}

// What is told is a mean, and told anew only when it is much more or less.
func TestWork(t *testing.T) {
	var e effort
	done := uint64(0)
	look := func(n uint64) int { // so many a second
		done += n * 10 * workUnit
		return e.look(done, 10*time.Second)
	}
	for i, n := range []uint64{70000, 1000, 1000, 1000} {
		w := look(n)
		if known := i >= workKnown; known && w != 1000 || !known && w != 0 {
			t.Errorf("look %d: %d", i, w)
		}
	}
	if w := look(7000); w < 1500 || w > 4000 {
		t.Errorf("a moment with more work is %d", w)
	}
	for range 60 {
		look(0)
	}
	if w := look(0); w != 0 {
		t.Errorf("after a while: %d", w)
	}

	a, b := san.UUID{1}, san.UUID{2}
	var w workOf
	if !w.news(map[san.UUID]int{}) {
		t.Error("what a former process told stays")
	}
	w.told = map[san.UUID]int{a: 1000}
	for _, c := range []struct {
		now  map[san.UUID]int
		news bool
	}{
		{map[san.UUID]int{a: 1000}, false},
		{map[san.UUID]int{a: 1499}, false},
		{map[san.UUID]int{a: 1500}, true},
		{map[san.UUID]int{a: 667}, false},
		{map[san.UUID]int{a: 600}, true},
		{map[san.UUID]int{a: 1000, b: 249}, false},
		{map[san.UUID]int{a: 1000, b: 250}, true},
		{map[san.UUID]int{}, true},
	} {
		if w.news(c.now) != c.news {
			t.Errorf("%v after %v: %v", c.now, w.told, !c.news)
		}
	}
}

// What counting costs a request.
func BenchmarkCount(b *testing.B) {
	d := &slotDevice{}
	d.put(&nothingDevice{})
	r := &block.Request{Op: block.OpRead, Len: 4096, Done: func(*block.Request) {}}
	b.ReportAllocs()
	for b.Loop() {
		d.Submit(r)
	}
}

// nothingDevice does nothing.
type nothingDevice struct{ block.Device }

func (nothingDevice) Submit(r *block.Request) { r.End(nil) }
