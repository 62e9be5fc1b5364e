package gateway

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"sango/internal/iscsi"
	"sango/internal/iscsi/iscsitest"
	"sango/internal/meta"
	"sango/internal/san"
)

// The codes of changes that hosts are told about, as sense key and ASC.
const (
	unitAttention = 6
	illegal       = 5
	lunsChanged   = 0x3f0e
	sizeChanged   = 0x2a09
	noSuchLUN     = 0x2500
)

func TestMappedVolumeShowsUpInAnOpenSession(t *testing.T) {
	n := node(t, subdir(t, "d"))
	mapped(t, n, "a", 1<<20)
	c := session(t, n)
	settled(t, c, 0)
	mapped(t, n, "b", 2<<20)
	if key, asc := ready(t, c, 0); key != unitAttention || asc != lunsChanged {
		t.Errorf("after the map: %x/%04x, want REPORTED LUNS DATA HAS CHANGED", key, asc)
	}
	settled(t, c, 0)
	settled(t, c, 1)
	if got := capacity(t, c, 1); got != 2<<20 {
		t.Errorf("capacity = %d", got)
	}
}

func TestResizeReachesAnOpenSession(t *testing.T) {
	n := node(t, subdir(t, "d"))
	mapped(t, n, "a", 1<<20)
	c := session(t, n)
	settled(t, c, 0)
	for _, size := range []int64{2 << 20, 8 << 20} { // before and after the volume is first used
		if err := n.Volumes().Resize(t.Context(), "a", size); err != nil {
			t.Fatal(err)
		}
		if err := n.Sync(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		if key, asc := ready(t, c, 0); key != unitAttention || asc != sizeChanged {
			t.Errorf("after the resize: %x/%04x, want CAPACITY DATA HAS CHANGED", key, asc)
		}
		if got := capacity(t, c, 0); got != size {
			t.Errorf("capacity = %d, want %d", got, size)
		}
		block := bytes.Repeat([]byte{0xa5}, 512)
		if err := c.WriteBlocks(lunField(0), uint64(size/512-1), block, 512); err != nil {
			t.Error(err)
		}
		got, err := c.Read(lunField(0), uint64(size/512-1), 1, 512)
		if err != nil || !bytes.Equal(got, block) {
			t.Errorf("the last block: %v", err)
		}
	}
}

func TestUnmappedLUNGoesWithACleanError(t *testing.T) {
	n := node(t, subdir(t, "d"))
	mapped(t, n, "a", 1<<20)
	b := mapped(t, n, "b", 1<<20)
	c := session(t, n)
	settled(t, c, 0)
	settled(t, c, 1)
	if err := n.Volumes().Delete(t.Context(), "b"); !errors.Is(err, san.ErrRefused) {
		t.Errorf("deleting a mapped volume: %v", err)
	}
	change(t, n, func(tx *meta.Tx) error { return tx.Unmap(demoIQN, 1) })
	if key, asc := ready(t, c, 1); key != illegal || asc != noSuchLUN {
		t.Errorf("after the unmap: %x/%04x, want LOGICAL UNIT NOT SUPPORTED", key, asc)
	}
	if key, asc := ready(t, c, 0); key != unitAttention || asc != lunsChanged {
		t.Errorf("after the unmap the other LUN says %x/%04x", key, asc)
	}
	if err := n.Volumes().Delete(t.Context(), "b"); err != nil {
		t.Error(err)
	}
	if _, err := n.disks.store.Stat(b.ID); err == nil {
		t.Error("the bytes are still there")
	}
}

func TestOnlyAllowedHostsLogIn(t *testing.T) {
	const closed = "iqn.2026-11.io.sango:closed"
	n := node(t, subdir(t, "d"))
	change(t, n, func(tx *meta.Tx) error { return tx.CreateTarget(&san.Target{Name: closed}) })
	account := san.CHAP{User: "web", Secret: "0123456789ab"}
	change(t, n, func(tx *meta.Tx) error {
		if err := tx.CreateHost(&san.Host{Name: "web", IQN: webIQN, Auth: []san.CHAP{account}}); err != nil {
			return err
		}
		return tx.CreateHost(&san.Host{Name: "far", IQN: "iqn.2026-11.com.example:far", Allowed: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	})
	change(t, n, func(tx *meta.Tx) error { return errors.Join(tx.Allow("web", closed), tx.Allow("far", closed)) })

	refused := func(want iscsi.LoginStatus, l iscsitest.Login) {
		t.Helper()
		_, err := login(t, n, l)
		if e := (*iscsitest.LoginError)(nil); !errors.As(err, &e) || e.Status != want {
			t.Errorf("login of %s: %v, want %v", l.Initiator, err, want)
		}
	}
	refused(iscsi.LoginNotFound, iscsitest.Login{Target: "iqn.2026-11.io.sango:none"})
	refused(iscsi.LoginForbidden, iscsitest.Login{Target: closed, Initiator: "iqn.2026-11.com.example:stranger"})
	refused(iscsi.LoginForbidden, iscsitest.Login{Target: closed, Initiator: "iqn.2026-11.com.example:far"})
	refused(iscsi.LoginAuthFailed, iscsitest.Login{Target: closed})
	refused(iscsi.LoginAuthFailed, iscsitest.Login{Target: closed, Account: &san.CHAP{User: "web", Secret: "ba9876543210"}})

	c, err := login(t, n, iscsitest.Login{Target: closed, Account: &account})
	if err != nil {
		t.Fatal(err)
	}
	if s := n.Sessions(); len(s) != 1 || s[0].Host != "web" || s[0].Initiator.Name != webIQN || s[0].TPG != 1 {
		t.Errorf("sessions = %+v", s)
	}
	if got := (directory{n.view}).Visible("iqn.2026-11.com.example:stranger", netip.MustParseAddr("127.0.0.1")); len(got) != 0 {
		t.Errorf("a stranger sees %v", got)
	}
	change(t, n, func(tx *meta.Tx) error { return tx.Deny("web", closed) })
	if s := n.Sessions(); len(s) != 0 {
		t.Errorf("after deny there are sessions: %+v", s)
	}
	if err := c.Ping([]byte("x")); err == nil {
		t.Error("the session of a host that was denied still answers")
	}
}

// Which LUNs a session sees hangs on the host it belongs to: when its initiator
// becomes a host, the session ends and a new login sees what is right.
func TestSessionEndsWhenItsHostIsAnother(t *testing.T) {
	n := node(t, subdir(t, "d"))
	mapped(t, n, "a", 1<<20)
	b := volume(t, n, "b", 1<<20)
	c := session(t, n)
	settled(t, c, 0)
	stays, err := login(t, n, iscsitest.Login{Initiator: "iqn.2026-11.com.example:strange"})
	if err != nil {
		t.Fatal(err)
	}
	change(t, n, func(tx *meta.Tx) error { return tx.CreateHost(&san.Host{Name: "web", IQN: webIQN}) })
	change(t, n, func(tx *meta.Tx) error {
		_, err := tx.Map(demoIQN, meta.AnyLUN, san.Mapping{Volume: b.ID, Hosts: []string{"web"}})
		return err
	})
	if err := c.Ping([]byte("x")); err == nil {
		t.Error("the session goes on as that of no host")
	}
	if err := stays.Ping([]byte("x")); err != nil {
		t.Errorf("the session of another initiator: %v", err)
	}
	settled(t, session(t, n), 1)
}

// A session that wrote names in capitals is one of the same host and target.
func TestCapitalsInNames(t *testing.T) {
	n := node(t, subdir(t, "d"))
	mapped(t, n, "a", 1<<20)
	change(t, n, func(tx *meta.Tx) error { return tx.CreateHost(&san.Host{Name: "web", IQN: webIQN}) })
	c, err := login(t, n, iscsitest.Login{Initiator: strings.ToUpper(webIQN), Target: strings.ToUpper(demoIQN)})
	if err != nil {
		t.Fatal(err)
	}
	settled(t, c, 0)
	change(t, n, func(tx *meta.Tx) error { return tx.CreateHost(&san.Host{Name: "x", IQN: webIQN + "2"}) })
	if err := c.Ping([]byte("x")); err != nil {
		t.Errorf("the session ended with a change that is none of its own: %v", err)
	}
}
