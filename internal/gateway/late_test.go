package gateway

import (
	"testing"
	"time"

	"sango/internal/iscsi"
	"sango/internal/iscsi/iscsitest"
	"sango/internal/pause"
	"sango/internal/san"
)

// A write whose data takes longer to come than a command may be old is served,
// whichever gateway it comes through.
func TestSlowData(t *testing.T) {
	n := startGang(t, subdir(t, "d"), 2)
	t.Cleanup(func() { stop(t, n) })
	v := mappedBy(t, n, "a", 1<<20, san.DriverMem)
	allServed(t, n)
	data := make([]byte, 64<<10)
	k := iscsitest.Write16(lunField(0), 0, data, 512)
	type write struct {
		*iscsitest.Conn
		itt iscsi.ITT
	}
	var writes []write // through the owner, and through the other one
	owner := ownerOf(t, n, v.ID)
	for _, g := range []int{owner, 1 - owner} {
		c := at(t, n, g, byte(g))
		moved(t, c, 0)
		c.Params.ImmediateData, c.Params.InitialR2T = false, true
		itt, err := c.SendCommand(k)
		if err != nil {
			t.Fatal(err)
		}
		writes = append(writes, write{c, itt})
	}
	const maxAge = 3 * time.Second
	for began := time.Now(); time.Since(began) < maxAge+maxAge/4; pause.For(t.Context(), 200*time.Millisecond) {
		for _, w := range writes { // they are there still
			var h iscsi.BHS
			(&iscsi.NopOut{Immediate: true, ITT: iscsi.NoITT, TTT: iscsi.NoTTT, CmdSN: w.CmdSN, ExpStatSN: w.ExpStatSN}).Put(&h)
			if err := w.Send(&h, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, w := range writes {
		if r, err := w.Finish(k, w.itt); err != nil || r.Status != 0 {
			t.Errorf("write %d: status %#x, %v", i, r.Status, err)
		}
	}
}
