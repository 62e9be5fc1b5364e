package gateway

import (
	"testing"
	"time"

	"sango/internal/iscsi/iscsitest"
	"sango/internal/meta"
	"sango/internal/pause"
	"sango/internal/san"
	"sango/internal/scsi"
	"sango/internal/scsi/alua"
)

// preferred returns the port groups that REPORT TARGET PORT GROUPS tells to
// prefer.
func preferred(t *testing.T, c *iscsitest.Conn) (ids []uint16) {
	t.Helper()
	k := iscsitest.Command{LUN: lunField(0), In: 256}
	k.CDB[0], k.CDB[1], k.CDB[8] = 0xa3, 0x0a, 1
	r, err := c.Do(k)
	for ; err == nil && scsi.Status(r.Status) == scsi.CheckConditionStatus; r, err = c.Do(k) { // the volume has moved
		moved(t, c, 0)
	}
	if err != nil || r.Status != 0 {
		t.Fatalf("status %#x, %v", r.Status, err)
	}
	groups, _, err := alua.Parse(r.Data)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range groups {
		if g.Preferred {
			ids = append(ids, g.ID)
		}
	}
	return ids
}

// Which gateway is preferred is told through every path alike, as soon as it has
// been decided.
func TestPreferenceIsTold(t *testing.T) {
	n := startGang(t, subdir(t, "d"), 2)
	t.Cleanup(func() { stop(t, n) })
	v := mappedBy(t, n, "a", 1<<20, san.DriverMem)
	allServed(t, n)
	var paths []*iscsitest.Conn
	for i := range n.gateways() {
		c := at(t, n, i, byte(i))
		moved(t, c, 0)
		paths = append(paths, c)
	}
	name := n.gateways()[1-ownerOf(t, n, v.ID)].cfg.Name
	for _, prefer := range []string{name, n.gateways()[0].cfg.Name, n.gateways()[1].cfg.Name, "", name} {
		var list []string
		if prefer != "" {
			list = []string{prefer}
		}
		if err := n.meta.Update(t.Context(), func(tx *meta.Tx) error { return tx.PlaceVolume(v.ID, san.FenceDriver, list) }); err != nil {
			t.Fatal(err)
		}
		for i, c := range paths {
			got := preferred(t, c)
			if prefer == "" && len(got) > 0 || prefer != "" && (len(got) != 1 || n.view.groupName(got[0]) != prefer) {
				t.Errorf("through gateway %d groups %v are preferred, not that of %q", i, got, prefer)
			}
		}
	}
	change(t, n, func(tx *meta.Tx) error { return tx.Unmap(demoIQN, 0) })
	if err := n.Volumes().Delete(t.Context(), v.Name); err != nil {
		t.Fatal(err)
	}
	for _, g := range n.gateways() {
		for !current(g) && pause.For(t.Context(), 10*time.Millisecond) {
		}
		g.member.mu.Lock()
		if k := len(g.member.prefers); k > 0 {
			t.Errorf("%s remembers what %d volumes that were deleted prefer", g.cfg.Name, k)
		}
		g.member.mu.Unlock()
	}
}
