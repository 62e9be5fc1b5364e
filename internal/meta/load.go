package meta

import (
	"context"

	"sango/internal/san"
)

// Snapshot is the whole configuration at one revision.
type Snapshot struct {
	Revision int64
	Volumes  map[san.UUID]*san.Volume
	Targets  map[string]*san.Target // with their LUNs
	Hosts    map[string]*san.Host
	Gateways map[string]*Gateway
	Claim    *Claim // nil: nobody serves yet
}

// Load reads everything at one revision.
func (s *Store) Load(ctx context.Context) (*Snapshot, error) {
	var snap *Snapshot
	err := s.Update(ctx, func(tx *Tx) (err error) {
		snap, err = tx.snapshot()
		return err
	})
	return snap, err
}

func (tx *Tx) snapshot() (*Snapshot, error) {
	snap := &Snapshot{
		Volumes: map[san.UUID]*san.Volume{}, Targets: map[string]*san.Target{},
		Hosts: map[string]*san.Host{}, Gateways: map[string]*Gateway{},
	}
	volumes, err := tx.Volumes()
	if err != nil {
		return nil, err
	}
	for _, v := range volumes {
		snap.Volumes[v.ID] = v
	}
	targets, err := tx.Targets()
	if err != nil {
		return nil, err
	}
	for _, t := range targets {
		snap.Targets[t.Name] = t
	}
	hosts, err := tx.Hosts()
	if err != nil {
		return nil, err
	}
	for _, h := range hosts {
		snap.Hosts[h.Name] = h
	}
	gateways, err := tx.Gateways()
	if err != nil {
		return nil, err
	}
	for _, g := range gateways {
		snap.Gateways[g.Name] = g
	}
	if snap.Claim, err = tx.Claimed(); err != nil {
		return nil, err
	}
	snap.Revision = tx.rev
	return snap, nil
}

// Targets returns all targets with their LUN maps, by name.
func (tx *Tx) Targets() ([]*san.Target, error) {
	var all []*san.Target
	byName := map[string]*san.Target{}
	err := tx.list("targets/", func(rest string, value []byte) error {
		t := &san.Target{LUNs: map[san.LUN]san.Mapping{}}
		if err := decode("targets/"+rest, value, t); err != nil {
			return err
		}
		all = append(all, t)
		byName[t.Name] = t
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = tx.list("luns/", func(rest string, value []byte) error {
		u, err := splitLUN(rest)
		if err != nil {
			return err
		}
		var m san.Mapping
		if err := decode("luns/"+rest, value, &m); err != nil {
			return err
		}
		if t := byName[u.Target]; t != nil {
			t.LUNs[u.LUN] = m
		}
		return nil
	})
	return all, err
}

// Hosts returns all hosts, by name.
func (tx *Tx) Hosts() ([]*san.Host, error) {
	var all []*san.Host
	err := tx.list("hosts/", func(rest string, value []byte) error {
		var h san.Host
		if err := decode("hosts/"+rest, value, &h); err != nil {
			return err
		}
		all = append(all, &h)
		return nil
	})
	return all, err
}
