package meta

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"sango/internal/san"
)

// A store of version 3 has hosts with a "wwn" where version 4 has an "iqn"; the
// migration takes one host a transaction.
func artificial() *schemas {
	return &schemas{oldest: 3, newest: 4, steps: map[int]migration{3: {"hosts have IQNs", func(tx *Tx) (bool, error) {
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

// old makes a store of version 3 and returns its directory.
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
		return tx.put("schema", 3)
	})
	s.Close()
	return dir
}

func TestUpgrade(t *testing.T) {
	s := open(t, old(t), Options{NoSync: true, schemas: artificial()})
	defer s.Close()
	version := func() int {
		v, newest, err := s.Schema(t.Context())
		if err != nil || newest != 4 {
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
	// Every gateway that is registered and reads version 3 only holds it up, dead
	// or alive, but not the one that asks.
	update(t, s, func(tx *Tx) error {
		for _, g := range []*Gateway{{Name: "gw1", Schema: 3}, {Name: "gw2", Schema: 3}, {Name: "gw3", Schema: 3}, {Name: "gw4", Schema: 4}} {
			if err := tx.Register(g); err != nil {
				return err
			}
		}
		return nil
	})
	change1(t, s, nil, incarnationRecord("gw2", 1, Alive), incarnationRecord("gw3", 2, Dead))
	layout := func() (l Layout) {
		update(t, s, func(tx *Tx) (err error) { l, err = tx.Layout(); return err })
		return l
	}
	if waits := upgrade(); !slices.Equal(waits, []string{"gw2", "gw3"}) || version() == 4 {
		t.Fatalf("waits for %v at version %d", waits, version())
	}
	update(t, s, func(tx *Tx) error { return tx.TakeAway("gw3") })
	change1(t, s, nil, incarnationRecord("gw2", 1, Dead))
	if waits := upgrade(); !slices.Equal(waits, []string{"gw2"}) || version() == 4 {
		t.Fatalf("waits for %v at version %d, and gw2 may be started again", waits, version())
	}
	if l := layout(); l.Version != 3 || l.Newest != 4 || !slices.Equal(l.WaitsFor, []string{"gw1", "gw2"}) {
		t.Errorf("%+v", l)
	}
	update(t, s, func(tx *Tx) error { return tx.TakeAway("gw2") })
	if waits := upgrade(); waits != nil || version() != 4 {
		t.Fatalf("waits for %v at version %d", waits, version())
	}
	if l := layout(); l.Version != 4 || l.Newest != 4 || l.WaitsFor != nil {
		t.Errorf("%+v", l)
	}
	snap, err := s.Load(t.Context())
	if err != nil || len(snap.Hosts) != 3 || snap.Hosts["h2"].IQN != "iqn.2026-11.com.example:h2" {
		t.Errorf("%d hosts, %v", len(snap.Hosts), err)
	}
	if waits := upgrade(); waits != nil || version() != 4 {
		t.Errorf("upgraded again: %v", waits)
	}
	// One that does not read the new version does not come back.
	err = s.Update(t.Context(), func(tx *Tx) error { return tx.Register(&Gateway{Name: "gw2", Schema: 3}) })
	if !errors.Is(err, san.ErrRefused) {
		t.Errorf("an old gateway registers after the upgrade: %v", err)
	}
}

// A gateway that registers while the upgrade commits stops it, or is stopped.
func TestUpgradeMeetsRegistration(t *testing.T) {
	k := artificial()
	step := k.steps[3].step
	dir := old(t)
	s := open(t, dir, Options{NoSync: true, schemas: k})
	defer s.Close()
	first := true
	k.steps[3] = migration{"", func(tx *Tx) (bool, error) {
		if first {
			first = false
			update(t, s, func(tx *Tx) error { return tx.Register(&Gateway{Name: "gw2", Schema: 3}) })
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
	s, err := Open(t.Context(), dir, Options{NoSync: true, Log: quiet(t), schemas: &schemas{oldest: 4, newest: 5}})
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
	t.Cleanup(s.Close)
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

// Version 2 had in the registration of a gateway whether it lives, and beside it
// which one may beat.
func TestUpgradeFromTwo(t *testing.T) {
	s := fresh(t)
	update(t, s, func(tx *Tx) error {
		tx.write(live+"alive/gw1", []byte("7"))
		tx.write(live+"heartbeats/gw1", []byte(`{"incarnation":7,"count":1}`))
		tx.write(live+"suspicions/gw2/gw1", []byte(`{"suspect":"gw2","incarnation":6,"by":"gw1"}`))
		tx.write(prefix+"gateways/gw2", []byte(`{"name":"gw2","group":2,"started":"2026-11-22T00:00:00Z","incarnation":6,"schema":2,"state":"dead","reason":"x"}`))
		tx.write(prefix+"gateways/gw1", []byte(`{"name":"gw1","group":1,"started":"2026-11-22T00:00:00Z","incarnation":7,"schema":2,"state":"serving"}`))
		return tx.put("schema", 2)
	})
	g := &Gateway{Name: "gw3", Node: san.NewUUID()}
	if update(t, s, func(tx *Tx) error { return tx.Register(g) }); !g.Node.IsZero() {
		t.Error("programs of version 2 can't read the registration")
	}
	if waits, err := s.Upgrade(t.Context(), "gw3"); err != nil || !slices.Equal(waits, []string{"gw1"}) {
		t.Fatal(waits, err)
	}
	update(t, s, func(tx *Tx) error { tx.RemoveGateway("gw3"); return nil })
	if waits, err := s.Upgrade(t.Context(), "gw1"); err != nil || waits != nil {
		t.Fatal(waits, err)
	}
	snap, err := s.Load(t.Context())
	if err != nil || len(snap.Gateways) != 2 || snap.Gateways["gw2"].Group != 2 {
		t.Errorf("%+v, %v", snap, err)
	}
	resp, err := s.read(t.Context(), live, clientv3.WithPrefix())
	if err != nil || len(resp.Kvs) > 0 {
		t.Errorf("%d keys are left, %v", len(resp.Kvs), err)
	}
	if resp, err = s.read(t.Context(), prefix+"gateways/gw2"); err != nil || strings.Contains(string(resp.Kvs[0].Value), "state") {
		t.Errorf("%s, %v", resp.Kvs[0].Value, err)
	}
	if err := s.Clustered(t.Context()); err != nil {
		t.Error(err)
	}
}
