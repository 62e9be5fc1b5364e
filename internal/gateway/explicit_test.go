package gateway

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"sango/internal/iscsi/iscsitest"
	"sango/internal/meta"
	"sango/internal/pause"
	"sango/internal/san"
	"sango/internal/scsi/alua"
)

// What a host is told of moves, as sense key and ASC.
const (
	accessChanged   = 0x2a06
	setGroupsFailed = 0x670a
)

// setGroups asks for a volume to be served by a target port group.
func setGroups(t *testing.T, c *iscsitest.Conn, group uint16) (key uint8, asc uint16) {
	t.Helper()
	list := []byte{0, 0, 0, 0, byte(alua.Optimized), 0, byte(group >> 8), byte(group)}
	k := iscsitest.Command{LUN: lunField(0), Out: list}
	k.CDB[0], k.CDB[1], k.CDB[9] = 0xa4, 0x0a, byte(len(list))
	return run(t, c, k)
}

// why returns why each target port group has its state.
func why(t *testing.T, c *iscsitest.Conn) map[uint16]uint8 {
	t.Helper()
	k := iscsitest.Command{LUN: lunField(0), In: 256}
	k.CDB[0], k.CDB[1], k.CDB[8] = 0xa3, 0x0a, 1
	r, err := c.Do(k)
	if err != nil || r.Status != 0 {
		t.Fatalf("status %#x, %v", r.Status, err)
	}
	groups, _, err := alua.Parse(r.Data)
	if err != nil {
		t.Fatal(err)
	}
	st := map[uint16]uint8{}
	for _, g := range groups {
		st[g.ID] = g.Status
	}
	return st
}

// explicit lets hosts ask for moves, or not.
func explicit(t *testing.T, n *Node, allow bool) {
	t.Helper()
	change(t, n, func(tx *meta.Tx) error {
		rec, err := tx.Target(demoIQN)
		if err != nil {
			return err
		}
		rec.Explicit = allow
		return tx.PutTarget(rec)
	})
}

// ended waits until the target has closed a connection.
func ended(t *testing.T, c *iscsitest.Conn) {
	t.Helper()
	for {
		if _, err := c.Receive(); err != nil {
			if !errors.Is(err, io.EOF) {
				t.Logf("the connection ended: %v", err)
			}
			return
		}
	}
}

// A host has a volume served by the gateway of its choice. All nexuses are told,
// once, but for the one that asked.
func TestHostMovesVolume(t *testing.T) {
	n := startGang(t, subdir(t, "d"), 2)
	t.Cleanup(func() { stop(t, n) })
	v := mappedBy(t, n, "a", 1<<20, san.DriverLayered)
	allServed(t, n)

	groups := map[string]uint16{}
	change(t, n, func(tx *meta.Tx) error {
		all, err := tx.Gateways()
		for _, g := range all {
			groups[g.Name] = g.Group
		}
		return err
	})
	group := func(i int) uint16 { return groups[n.gateways()[i].cfg.Name] }
	plain := at(t, n, 0, 0)
	moved(t, plain, 0)
	if key, asc := setGroups(t, plain, group(1)); key != illegal {
		t.Errorf("where hosts may not ask: %x/%04x", key, asc)
	}
	explicit(t, n, true)
	ended(t, plain)

	var all []*iscsitest.Conn
	for i := range 4 { // two through each gateway
		c := at(t, n, i%2, byte(i))
		moved(t, c, 0)
		all = append(all, c)
	}
	block := bytes.Repeat([]byte{0x5a}, 512)
	if err := all[0].WriteBlocks(lunField(0), 7, block, 512); err != nil {
		t.Fatal(err)
	}
	if st := why(t, all[0]); st[group(0)] != alua.StatusImplicit || st[group(1)] != alua.StatusImplicit {
		t.Errorf("before anybody asked the groups have their states because of %v", st)
	}
	from := ownerOf(t, n, v.ID)
	asking := all[from] // through the present owner
	if key, asc := setGroups(t, asking, group(1-from)); key != 0 {
		t.Fatalf("the move: %x/%04x", key, asc)
	}
	if got := ownerOf(t, n, v.ID); got != 1-from {
		t.Errorf("the volume is at gateway %d", got)
	}
	if st := why(t, asking); st[group(0)] != alua.StatusExplicit || st[group(1)] != alua.StatusExplicit {
		t.Errorf("the groups have their states because of %v", st)
	}
	for i, c := range all {
		if c == asking {
			continue
		}
		for key, asc := ready(t, c, 0); ; key, asc = ready(t, c, 0) { // the other gateway may hear of it a little later
			if key == unitAttention && asc == accessChanged {
				break
			}
			if key != 0 || !pause.For(t.Context(), 10*time.Millisecond) {
				t.Fatalf("nexus %d is told %x/%04x", i, key, asc)
			}
		}
	}
	for i, c := range all { // that was all
		if key, asc := ready(t, c, 0); key != 0 {
			t.Errorf("nexus %d is told %x/%04x", i, key, asc)
		}
		if got, err := c.Read(lunField(0), 7, 1, 512); err != nil || !bytes.Equal(got, block) {
			t.Errorf("read through nexus %d: %v", i, err)
		}
	}
	if key, asc := setGroups(t, asking, group(from)); key != illegal || asc != setGroupsFailed {
		t.Errorf("asking again at once: %x/%04x", key, asc)
	}
	if key, asc := setGroups(t, asking, group(1-from)); key != 0 {
		t.Errorf("asking for what is so: %x/%04x", key, asc)
	}

	explicit(t, n, false)
	for _, c := range all {
		ended(t, c)
	}
}
