package meta

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"sango/internal/san"
)

// A store of version 1 has hosts with a "wwn" where version 2 has an "iqn"; the
// migration takes one host a transaction.
func artificial() *schemas {
	return &schemas{oldest: 1, newest: 2, steps: map[int]migration{1: {"hosts have IQNs", func(tx *Tx) (bool, error) {
		var rest []string
		if err := tx.list("hosts/", func(name string, value []byte) error {
			var old struct {
				Name, WWN, IQN string
			}
			if err := decode(name, value, &old); err != nil {
				return err
			}
			if old.WWN != "" {
				rest = append(rest, old.WWN)
			}
			return nil
		}); err != nil || len(rest) == 0 {
			return true, err
		}
		return len(rest) == 1, tx.put("hosts/"+rest[0], &san.Host{Name: rest[0], IQN: "iqn.2026-11.com.example:" + rest[0]})
	}}}}
}

// old makes a store of version 1 and returns its directory.
func old(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	s := open(t, dir, Options{NoSync: true})
	update(t, s, func(tx *Tx) error {
		for i := range 3 {
			name := fmt.Sprintf("h%d", i)
			if err := tx.put("hosts/"+name, map[string]string{"name": name, "wwn": name}); err != nil {
				return err
			}
		}
		return tx.put("schema", 1)
	})
	s.Close()
	return dir
}

func TestUpgrade(t *testing.T) {
	s := open(t, old(t), Options{NoSync: true, schemas: artificial()})
	defer s.Close()
	version := func() int {
		v, newest, err := s.Schema(t.Context())
		if err != nil || newest != 2 {
			t.Fatal(newest, err)
		}
		return v
	}
	upgrade := func() []string {
		waits, err := s.Upgrade(t.Context(), "gw1")
		if err != nil {
			t.Fatal(err)
		}
		return waits
	}
	// A gateway that may be alive and reads version 1 only holds it up; so does
	// every one of them, but not the one that asks, and not the dead.
	var slow, dead *Gateway
	update(t, s, func(tx *Tx) error {
		slow, dead = &Gateway{Name: "gw2", Schema: 1}, &Gateway{Name: "gw3", Schema: 1, State: GatewayDead}
		for _, g := range []*Gateway{{Name: "gw1", Schema: 1}, slow, dead, {Name: "gw4", Schema: 2}} {
			if err := tx.Register(g); err != nil {
				return err
			}
		}
		return nil
	})
	if waits := upgrade(); !slices.Equal(waits, []string{"gw2"}) || version() == 2 {
		t.Fatalf("waits for %v at version %d", waits, version())
	}
	update(t, s, func(tx *Tx) error { return tx.SetGatewayState("gw2", slow.Incarnation, GatewayDead, "") })
	if waits := upgrade(); waits != nil || version() != 2 {
		t.Fatalf("waits for %v at version %d", waits, version())
	}
	snap, err := s.Load(t.Context())
	if err != nil || len(snap.Hosts) != 3 || snap.Hosts["h2"].IQN != "iqn.2026-11.com.example:h2" {
		t.Errorf("%d hosts, %v", len(snap.Hosts), err)
	}
	if waits := upgrade(); waits != nil || version() != 2 {
		t.Errorf("upgraded again: %v", waits)
	}
	// One that does not read the new version does not come back.
	err = s.Update(t.Context(), func(tx *Tx) error { return tx.Register(&Gateway{Name: "gw2", Schema: 1}) })
	if !errors.Is(err, san.ErrRefused) {
		t.Errorf("an old gateway registers after the upgrade: %v", err)
	}
}

// A gateway that registers while the upgrade commits stops it, or is stopped.
func TestUpgradeMeetsRegistration(t *testing.T) {
	k := artificial()
	step := k.steps[1].step
	dir := old(t)
	s := open(t, dir, Options{NoSync: true, schemas: k})
	defer s.Close()
	first := true
	k.steps[1] = migration{"", func(tx *Tx) (bool, error) {
		if first {
			first = false
			update(t, s, func(tx *Tx) error { return tx.Register(&Gateway{Name: "gw2", Schema: 1}) })
		}
		return step(tx)
	}}
	waits, err := s.Upgrade(t.Context(), "gw1")
	if err != nil || !slices.Equal(waits, []string{"gw2"}) {
		t.Errorf("waits for %v, %v", waits, err)
	}
}

// A program that knows neither the version nor a way from it says so.
func TestOlderSchemaIsRefused(t *testing.T) {
	dir := old(t)
	s, err := Open(t.Context(), dir, Options{NoSync: true, Log: quiet(t), schemas: &schemas{oldest: 2, newest: 3}})
	if !errors.Is(err, san.ErrRefused) {
		t.Errorf("Open = %v", err)
	}
	if err == nil {
		s.Close()
	}
}

// A store of the version before this one is upgraded by the real migrations.
func TestUpgradeFromOne(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{NoSync: true})
	update(t, s, func(tx *Tx) error {
		if err := tx.put("schema", 1); err != nil {
			return err
		}
		return tx.put("gateways/gw1", map[string]any{"name": "gw1", "group": 1, "started": "2026-11-22T00:00:00Z"})
	})
	s.Close()
	s = open(t, dir, Options{NoSync: true})
	defer s.Close()
	if v, _, err := s.Schema(t.Context()); err != nil || v != 1 {
		t.Fatalf("opening alone upgraded it: %d, %v", v, err)
	}
	if waits, err := s.Upgrade(t.Context(), "gw1"); err != nil || waits != nil {
		t.Fatal(waits, err)
	}
	if v, newest, err := s.Schema(t.Context()); err != nil || v != newest {
		t.Errorf("version %d, %v", v, err)
	}
}
