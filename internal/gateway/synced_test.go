package gateway

import (
	"testing"
	"time"

	"sango/internal/cluster"
	"sango/internal/cluster/model"
	"sango/internal/iscsi/iscsitest"
	"sango/internal/pause"
	"sango/internal/reserve"
	"sango/internal/san"
)

// A RESERVE(6) whose holder's session ended while the volume changed its owner:
// the holder's gateway says Synced, and the new owner has to end it.
func TestSyncedBeforeServe(t *testing.T) {
	n := startGang(t, subdir(t, "d"), 3)
	t.Cleanup(func() { stop(t, n) })
	v := mappedBy(t, n, "a", 1<<20, san.DriverLayered)
	allServed(t, n)
	st := n.member.store
	end := time.Now().Add(8 * time.Second)
	for round := 0; round < 200 && time.Now().Before(end); round++ {
		a := ownerOf(t, n, v.ID)
		b, f := (a+1)%3, (a+2)%3
		holder := san.NexusID{
			Initiator: san.InitiatorPort{Name: "iqn.2026-11.com.example:gone", ISID: san.ISID{0x80, 0, 0, 0, 0, 7}},
			Target:    san.TargetPort{Name: demoIQN, TPG: n.Portals()[f].TPG},
		}
		s, ok := (&reserve.State{}).Reserve6(holder, 1)
		if !ok {
			t.Fatal("not reserved")
		}
		rec := model.ReservationRecord{Volume: v.ID, Data: string(s.Encode())}
		if _, o := st.Commit(t.Context(), model.Txn{Puts: []model.Record{rec}}); o != model.Committed {
			t.Fatalf("the record was not made: %v", o)
		}
		if err := cluster.MoveVolume(t.Context(), st, v.ID, model.GatewayID(n.gateways()[b].cfg.Name)); err != nil {
			t.Fatal(err)
		}
		allServed(t, n)
		y := at(t, n, b, 9)
		status := byte(0xff)
		for began := time.Now(); status != 0 && time.Since(began) < 3*time.Second; pause.For(t.Context(), 10*time.Millisecond) {
			r, err := y.Do(iscsitest.Command{LUN: lunField(0)})
			if err != nil {
				t.Fatal(err)
			}
			status = r.Status
		}
		y.Reset()
		if status != 0 {
			t.Fatalf("round %d: status %#x for 3 s: the reservation of a nexus that is nowhere stands", round, status)
		}
	}
}
