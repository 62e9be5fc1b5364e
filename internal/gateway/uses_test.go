package gateway

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"sango/internal/cluster"
	"sango/internal/cluster/model"
	"sango/internal/meta"
	"sango/internal/pause"
	"sango/internal/san"
)

// stalledExport begins an export of a volume whose client reads no more until
// resume is called. ended gets how it ended.
func stalledExport(t *testing.T, n *Node, volume, snapshot string) (resume func(), ended <-chan error) {
	t.Helper()
	stalled, more, end := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		first := true
		end <- n.Volumes().Export(t.Context(), volume, snapshot, func(int64) error { return nil }, func(int64, []byte) error {
			if first {
				first = false
				close(stalled)
				<-more
			}
			return nil
		})
	}()
	select {
	case <-stalled:
	case err := <-end:
		t.Fatalf("the export has ended: %v", err)
	}
	return func() { close(more) }, end
}

// written has two blocks that are far from each other written at a gateway, so
// that an export sends two pieces.
func written(t *testing.T, n *Node, gateway int) {
	t.Helper()
	c := at(t, n, gateway, 1)
	moved(t, c, 0)
	for _, lba := range []uint64{0, 4096} {
		if err := c.WriteBlocks(lunField(0), lba, make([]byte, 512), 512); err != nil {
			t.Fatal(err)
		}
	}
}

// readyThrough fails unless a volume is ready through each of the gateways.
func readyThrough(t *testing.T, n *Node, gateways ...int) {
	t.Helper()
	for _, g := range gateways {
		c := at(t, n, g, byte(10+g))
		key, asc := ready(t, c, 0)
		for range 5 {
			if key == unitAttention {
				key, asc = ready(t, c, 0)
			}
		}
		if key != 0 {
			t.Errorf("through gateway %d: %x/%04x", g, key, asc)
		}
		c.Reset()
	}
}

// noExports waits until no snapshot of an export is left.
func noExports(t *testing.T, n *Node, v san.UUID) {
	t.Helper()
	for {
		var cut []meta.Export
		if err := n.meta.Update(t.Context(), func(tx *meta.Tx) (err error) {
			cut, err = tx.Exports()
			return err
		}); err != nil {
			t.Fatal(err)
		}
		snaps, err := n.disks.store.Snapshots(v)
		if err != nil {
			t.Fatal(err)
		}
		left := 0
		for _, s := range snaps {
			if strings.HasPrefix(s.Name, "export-") {
				left++
			}
		}
		if len(cut) == 0 && left == 0 {
			return
		}
		if !pause.For(t.Context(), 10*time.Millisecond) {
			t.Fatalf("left: %v, %v", cut, snaps)
		}
	}
}

// A client that does not read what it asked for does not keep a volume from
// moving, and is told that it has moved when it reads on.
func TestStalledExportLetsTheVolumeMove(t *testing.T) {
	n := startGang(t, subdir(t, "d"), 2)
	t.Cleanup(func() { stop(t, n) })
	v := mappedBy(t, n, "a", 8<<20, san.DriverLayered)
	allServed(t, n)
	from := ownerOf(t, n, v.ID)
	written(t, n, from)
	if err := n.Volumes().Snapshot(t.Context(), "a", "s"); err != nil {
		t.Fatal(err)
	}
	resumeLive, live := stalledExport(t, n, "a", "")
	resumeSnap, snap := stalledExport(t, n, "a", "s")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := cluster.MoveVolume(ctx, n.member.store, v.ID, model.GatewayID(n.gateways()[1-from].cfg.Name)); err != nil {
		t.Fatal(err)
	}
	readyThrough(t, n, 0, 1)
	resumeLive()
	resumeSnap()
	for _, err := range []error{<-live, <-snap} {
		if !errors.Is(err, san.ErrUnavailable) || !strings.Contains(err.Error(), "try again") {
			t.Errorf("the export: %v", err)
		}
	}
	noExports(t, n, v.ID)
	if err := n.Volumes().Export(t.Context(), "a", "s", func(int64) error { return nil }, func(int64, []byte) error { return nil }); err != nil {
		t.Errorf("tried again: %v", err)
	}
}

// Nor does it keep a gateway that was declared dead from coming back.
func TestStalledExportLetsAGatewayComeBack(t *testing.T) {
	n := startGang(t, subdir(t, "d"), 2)
	t.Cleanup(func() { stop(t, n) })
	v := mappedBy(t, n, "a", 8<<20, san.DriverLayered)
	allServed(t, n)
	from := ownerOf(t, n, v.ID)
	written(t, n, from)
	resume, ended := stalledExport(t, n, "a", "")
	back := declareDead(t, n, from)
	back()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := cluster.MoveVolume(ctx, n.member.store, v.ID, model.GatewayID(n.gateways()[from].cfg.Name)); err != nil {
		t.Fatal(err)
	}
	readyThrough(t, n, 0, 1)
	resume()
	if err := <-ended; !errors.Is(err, san.ErrUnavailable) {
		t.Errorf("the export: %v", err)
	}
	noExports(t, n, v.ID)
}

// declareDead does what a coordinator does with a gateway that is cut off. back
// waits for the next member that it is.
func declareDead(t *testing.T, n *Node, gateway int) (back func()) {
	t.Helper()
	st := n.member.store
	id := model.GatewayID(n.gateways()[gateway].cfg.Name)
	key := model.GatewayRecord{ID: id}.Key()
	read := func() (model.GatewayRecord, model.Revision) {
		got, err := st.Read(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		g, _ := got[0].Record.(model.GatewayRecord)
		return g, got[0].Rev
	}
	g, rev := read()
	old := g.Incarnation
	g.Life, g.Why = model.Dead, model.ReasonSilent
	if _, o := st.Commit(t.Context(), model.Txn{Guards: []model.Guard{{Key: key, Rev: rev}}, Puts: []model.Record{g}}); o != model.Committed {
		t.Fatalf("the record was not made: %v", o)
	}
	return func() {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); ; {
			if g, _ := read(); g.Life == model.Alive && g.Incarnation > old {
				return
			}
			if time.Now().After(end) {
				t.Fatal("it does not come back")
			}
			pause.For(t.Context(), 10*time.Millisecond)
		}
	}
}

// While a volume can't be given up, whoever asks for it elsewhere is answered
// that it moves.
func TestTasksAreAnsweredWhileAVolumeIsNotGivenUp(t *testing.T) {
	n := startGang(t, subdir(t, "d"), 2)
	t.Cleanup(func() { stop(t, n) })
	v := mappedBy(t, n, "a", 1<<20, san.DriverLayered)
	allServed(t, n)
	from := ownerOf(t, n, v.ID)
	readyThrough(t, n, 0, 1)
	_, release, err := n.hold(v)
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan error, 1)
	go func() {
		asked <- cluster.MoveVolume(t.Context(), n.member.store, v.ID, model.GatewayID(n.gateways()[1-from].cfg.Name))
	}()
	for { // until it is held
		_, again, err := n.hold(v)
		if err != nil {
			break
		}
		again()
	}
	for g := range 2 {
		c := at(t, n, g, byte(10+g))
		key, asc := ready(t, c, 0)
		for key == unitAttention || key == 0 { // before it noticed
			key, asc = ready(t, c, 0)
		}
		const notReady, inTransition = 2, 0x040a
		if key != notReady || asc != inTransition {
			t.Errorf("through gateway %d: %x/%04x", g, key, asc)
		}
	}
	release()
	if err := <-asked; err != nil {
		t.Fatal(err)
	}
	readyThrough(t, n, 0, 1)
}
