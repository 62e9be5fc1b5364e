package meta

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"sango/internal/san"
)

func TestVolumeLife(t *testing.T) {
	s := fresh(t)
	v := volume(t, s, "disk1")
	if v.NAA>>60 != 3 {
		t.Errorf("NAA %016x is not locally assigned (type 3)", v.NAA)
	}
	for want, fn := range map[error]func(*Tx) error{
		san.ErrExists:   func(tx *Tx) error { return tx.Begin(san.NewUUID(), "disk1") },
		san.ErrNotFound: func(tx *Tx) error { _, err := tx.VolumeNamed("other"); return err },
		san.ErrRefused:  func(tx *Tx) error { return tx.ResizeVolume(v.ID, 1<<20) },
		san.ErrInvalid:  func(tx *Tx) error { return tx.ResizeVolume(v.ID, 1<<30+1) },
	} {
		if err := s.Update(t.Context(), fn); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	update(t, s, func(tx *Tx) error { return tx.ResizeVolume(v.ID, 2<<30) })
	update(t, s, func(tx *Tx) error {
		got, err := tx.VolumeNamed("disk1")
		if err == nil && got.Size != 2<<30 {
			t.Errorf("size = %d", got.Size)
		}
		return err
	})
	update(t, s, func(tx *Tx) error { return tx.DeleteVolume(v.ID) })
	update(t, s, func(tx *Tx) error {
		p, err := tx.Pending()
		if p[v.ID] != PendingDelete {
			t.Errorf("pending = %v", p)
		}
		tx.Settle(v.ID)
		return err
	})
	volume(t, s, "disk1") // the name is free again
	update(t, s, func(tx *Tx) error {
		p, err := tx.Pending()
		if len(p) != 0 {
			t.Errorf("pending = %v", p)
		}
		return err
	})
}

func TestHostsAndTargets(t *testing.T) {
	s := fresh(t)
	const disks, open = "iqn.2026-11.com.example:disks", "iqn.2026-11.com.example:open"
	v := volume(t, s, "disk1")
	web := &san.Host{Name: "web", IQN: "iqn.2026-11.com.example:web", Allowed: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	must := func(fn func(*Tx) error) { t.Helper(); update(t, s, fn) }
	fail := func(want error, fn func(*Tx) error) {
		t.Helper()
		if err := s.Update(context.Background(), fn); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	must(func(tx *Tx) error { return tx.CreateHost(web) })
	fail(san.ErrExists, func(tx *Tx) error { return tx.CreateHost(web) })
	fail(san.ErrExists, func(tx *Tx) error { return tx.CreateHost(&san.Host{Name: "web2", IQN: web.IQN}) })
	must(func(tx *Tx) error { return tx.CreateTarget(&san.Target{Name: disks}) })
	must(func(tx *Tx) error { return tx.CreateTarget(&san.Target{Name: open, Open: true}) })
	fail(san.ErrExists, func(tx *Tx) error { return tx.CreateTarget(&san.Target{Name: disks}) })
	fail(san.ErrRefused, func(tx *Tx) error {
		_, err := tx.Map(disks, 0, san.Mapping{Volume: v.ID, Hosts: []string{"web"}})
		return err
	})
	fail(san.ErrNotFound, func(tx *Tx) error { return tx.Allow("nobody", disks) })
	must(func(tx *Tx) error { return tx.Allow("web", disks) })
	must(func(tx *Tx) error { return tx.Allow("web", disks) })
	for _, lun := range []int{-2, int(san.MaxLUN) + 1} {
		fail(san.ErrInvalid, func(tx *Tx) error { _, err := tx.Map(disks, lun, san.Mapping{Volume: v.ID}); return err })
	}
	must(func(tx *Tx) error {
		_, err := tx.Map(disks, 300, san.Mapping{Volume: v.ID, Hosts: []string{"web"}})
		return err
	})
	fail(san.ErrExists, func(tx *Tx) error { _, err := tx.Map(disks, 1, san.Mapping{Volume: v.ID}); return err })
	must(func(tx *Tx) error { _, err := tx.Map(open, AnyLUN, san.Mapping{Volume: v.ID}); return err })
	fail(san.ErrRefused, func(tx *Tx) error { return tx.DeleteVolume(v.ID) })
	fail(san.ErrRefused, func(tx *Tx) error { return tx.DeleteTarget(disks) })
	fail(san.ErrRefused, func(tx *Tx) error { return tx.DeleteHost("web") })
	fail(san.ErrRefused, func(tx *Tx) error { return tx.Deny("web", disks) })
	fail(san.ErrRefused, func(tx *Tx) error { return tx.Deny("web", open) })
	fail(san.ErrNotFound, func(tx *Tx) error { return tx.Unmap(disks, 0) })
	must(func(tx *Tx) error { return tx.Unmap(disks, 300) })
	must(func(tx *Tx) error { return tx.Unmap(open, 0) })
	must(func(tx *Tx) error { return tx.Deny("web", disks) })
	fail(san.ErrNotFound, func(tx *Tx) error { return tx.Deny("web", disks) })
	must(func(tx *Tx) error { return tx.DeleteHost("web") })
	must(func(tx *Tx) error { return tx.DeleteTarget(disks) })
	fail(san.ErrNotFound, func(tx *Tx) error { return tx.DeleteTarget(disks) })
	must(func(tx *Tx) error { return tx.DeleteVolume(v.ID) })
}

// A portal keeps its tag through restarts and address changes; a new one never
// gets a tag that was used.
func TestPortalTagsAreNeverReused(t *testing.T) {
	s := fresh(t)
	register := func(gw string, names ...string) map[string]san.TPG {
		t.Helper()
		g := &Gateway{Name: gw}
		for _, n := range names {
			g.Portals = append(g.Portals, Portal{Name: n, Listen: "127.0.0.1:" + n})
		}
		update(t, s, func(tx *Tx) error { return tx.Register(g) })
		tags := map[string]san.TPG{}
		for _, p := range g.Portals {
			tags[p.Name] = p.TPG
		}
		return tags
	}
	first := register("gw1", "a", "b")
	if first["a"] != 1 || first["b"] != 2 {
		t.Errorf("first tags: %v", first)
	}
	if got := register("gw1", "c"); got["c"] != 3 {
		t.Errorf("a new portal got tag %d", got["c"])
	}
	if got := register("gw2", "a"); got["a"] != 4 {
		t.Errorf("a portal of another gateway got tag %d", got["a"])
	}
	if got := register("gw1", "b", "a"); got["a"] != 1 || got["b"] != 2 {
		t.Errorf("portals that came back got %v", got)
	}
	if err := s.Update(t.Context(), func(tx *Tx) error {
		return tx.Register(&Gateway{Name: "gw1", Portals: []Portal{{Name: "x"}, {Name: "x"}}})
	}); !errors.Is(err, san.ErrInvalid) {
		t.Errorf("two portals of one name: %v", err)
	}
	snap, err := s.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if a, b := snap.Gateways["gw1"].Group, snap.Gateways["gw2"].Group; a == b || a == 0 || b == 0 {
		t.Errorf("port groups %d and %d", a, b)
	}
}
