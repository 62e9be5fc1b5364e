package gateway

import (
	"context"
	"testing"
	"time"

	"sango/internal/cluster"
	"sango/internal/cluster/model"
	"sango/internal/pause"
	"sango/internal/san"
)

// A gateway that was declared dead, and removed, and whose process goes on comes
// back as another member: volumes are reached there.
func TestRemovedGatewayComesBack(t *testing.T) {
	n := startGang(t, subdir(t, "d"), 3)
	t.Cleanup(func() { stop(t, n) })
	v := mappedBy(t, n, "a", 1<<20, san.DriverLayered)
	allServed(t, n)
	k := (ownerOf(t, n, v.ID) + 1) % 3
	id := model.GatewayID(n.gateways()[k].cfg.Name)
	st := n.member.store
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
	if err := cluster.Remove(t.Context(), st, id); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); ; {
		if g, _ = read(); g.Life == model.Alive && g.Incarnation > old {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("not back: %+v", g)
		}
		pause.For(t.Context(), 20*time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := cluster.MoveVolume(ctx, st, v.ID, id); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		c := at(t, n, i, byte(10+i))
		ok := false
		var key uint8
		var asc uint16
		for end := time.Now().Add(6 * time.Second); time.Now().Before(end) && !ok; pause.For(t.Context(), 50*time.Millisecond) {
			key, asc = ready(t, c, 0)
			ok = key == 0
		}
		if !ok {
			t.Errorf("through %s, owner %s: not ready for 6 s: %x/%04x", n.gateways()[i].cfg.Name, id, key, asc)
		}
	}
}
