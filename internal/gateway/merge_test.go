package gateway

import (
	"bytes"
	"testing"
	"time"
)

// Who deletes a snapshot can watch the merge behind it to its end.
func TestMergeIsVisibleFromTheStart(t *testing.T) {
	n := node(t, subdir(t, "d"))
	v := mapped(t, n, "a", 64<<20)
	n.disks.store.SetRate(20 << 20)
	c := session(t, n)
	settled(t, c, 0)
	data := bytes.Repeat([]byte{1}, 1<<20)
	write := func() {
		t.Helper()
		for i := range uint64(16) {
			if err := c.WriteBlocks(lunField(0), i*2048, data, 512); err != nil {
				t.Fatal(err)
			}
		}
	}
	write()
	if err := n.Volumes().Snapshot(t.Context(), "a", "s"); err != nil {
		t.Fatal(err)
	}
	write()
	if err := n.Volumes().DeleteSnapshot(t.Context(), "a", "s"); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	seen := 0
	for ; ; <-tick.C {
		j, running, err := n.Volumes().Merge("a", "s")
		if err != nil {
			t.Fatal(err)
		}
		if !running {
			break
		}
		if j.Total > 0 {
			seen++
		}
	}
	if seen == 0 {
		t.Error("no progress was to be seen")
	}
	st, err := n.disks.store.Stat(v.ID)
	if err != nil || st.Layers != 1 {
		t.Errorf("after the merge there are %d layers, %v", st.Layers, err)
	}
}
