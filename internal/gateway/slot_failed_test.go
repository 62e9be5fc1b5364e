package gateway

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"sango/internal/block"
	"sango/internal/cluster/model"
	"sango/internal/iscsi/iscsitest"
	"sango/internal/pause"
	"sango/internal/san"
)

// outOfService is a device of which a flush has failed.
type outOfService struct{ block.Device }

func (d outOfService) Submit(r *block.Request) { r.End(block.Fail(r, block.Failed, nil)) }

// medium has the device of a volume fail where it is open.
func medium(t *testing.T, n *Node, v san.UUID) (owner int) {
	t.Helper()
	owner = ownerOf(t, n, v)
	s := n.gateways()[owner].member.found(v)
	dev := s.dev.dev.Load().dev
	if s.dev.put(outOfService{dev}); !s.dev.Info().Caps.WriteBack != n.cfg.Cluster.Through {
		t.Fatal("the volume has the wrong cache")
	}
	return owner
}

// wrote writes once, and returns what is wrong.
func wrote(t *testing.T, c *iscsitest.Conn) (key uint8, asc uint16) {
	t.Helper()
	return run(t, c, iscsitest.Write16(lunField(0), 0, make([]byte, 512), 512))
}

// recordOf returns who has a volume.
func recordOf(t *testing.T, n *Node, v san.UUID) (rec model.OwnerRecord) {
	t.Helper()
	st, err := n.member.runtime.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range st.Volumes {
		if o.Volume == v {
			rec = o
		}
	}
	return rec
}

const (
	notReady     = 2
	inTransition = 0x040a
)

// A volume that is out of service on one gateway goes to another, and hosts are
// told to ask again until it is there; through which gateway makes no
// difference.
func TestVolumeGoesWhereItsMediumIsWell(t *testing.T) {
	for _, through := range []bool{false, true} {
		t.Run(fmt.Sprintf("write-through %v", through), func(t *testing.T) { goesWhereItsMediumIsWell(t, through) })
	}
}

func goesWhereItsMediumIsWell(t *testing.T, through bool) {
	n := startGang(t, subdir(t, "d"), 3, func(c *Config) { c.Cluster.Through = through })
	t.Cleanup(func() { stop(t, n) })
	v := mappedBy(t, n, "a", 1<<20, san.DriverLayered)
	allServed(t, n)
	var hosts []*iscsitest.Conn
	for g := range 3 {
		c := at(t, n, g, byte(g))
		moved(t, c, 0)
		hosts = append(hosts, c)
	}
	before := recordOf(t, n, v.ID)
	owner := medium(t, n, v.ID)
	for _, c := range hosts {
		for {
			key, asc := wrote(t, c)
			if key == 0 {
				break
			}
			if key != unitAttention && (key != notReady || asc != inTransition) {
				t.Fatalf("a host is told %x/%04x", key, asc)
			}
			if !pause.For(t.Context(), 10*time.Millisecond) {
				t.Fatal("nobody serves the volume")
			}
		}
	}
	after := recordOf(t, n, v.ID)
	if after.Owner.Gateway == before.Owner.Gateway || after.Epoch != before.Epoch+1 || after.Reason != model.ReasonFailed {
		t.Errorf("%+v, then %+v", before, after)
	}
	if err := n.gateways()[owner].member.runtime.Trouble()[v.ID]; block.ClassOf(err) != block.Failed {
		t.Errorf("why: %v", err)
	}
}

// A host whose flush fails has it answered by the next owner, and learns from that
// that writes may be lost; so does every other one.
func TestFlushThatFailsHasTheVolumeMove(t *testing.T) {
	d := &badDisk{}
	n := startOn(t, subdir(t, "d"), d, 2)
	t.Cleanup(func() { stop(t, n) })
	flushFails(t, n, d, true)
}

// noteless is a device that can't note that a flush has failed.
type noteless struct{ block.Device }

func (noteless) Noted() error { return errNoteless }

var errNoteless = errors.New("out of reach")

// A volume that is written through is given up although that can't be noted:
// nothing can be lost, and the disk is out of reach.
func TestNoteOfAFlushThatFailed(t *testing.T) {
	d := &slotDevice{}
	if d.put(noteless{}); !errors.Is(d.noted(), errNoteless) {
		t.Error("a volume with a cache is given up without a note")
	}
	if d.put(through{noteless{}}); d.noted() != nil {
		t.Error("a volume without one is not given up")
	}
}

func flushFails(t *testing.T, n *Node, d *badDisk, lost bool) {
	t.Helper()
	v := mappedBy(t, n, "a", 1<<20, san.DriverLayered)
	allServed(t, n)
	owner := ownerOf(t, n, v.ID)
	a, b := at(t, n, owner, 1), at(t, n, 1-owner, 2)
	moved(t, a, 0)
	moved(t, b, 0)
	if key, asc := wrote(t, b); key != 0 {
		t.Fatalf("%x/%04x", key, asc)
	}
	d.sync.Store(true)
	wantLost(t, a, lost)
	wantLost(t, b, lost)
	if now := ownerOf(t, n, v.ID); now == owner {
		t.Error("the volume stays where its flush failed")
	}
}
