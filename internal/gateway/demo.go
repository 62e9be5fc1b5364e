package gateway

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"sango/internal/meta"
	"sango/internal/san"
)

// Demo is what a demo serves: volumes at the LUNs 0, 1, ... of one open
// target.
type Demo struct {
	Target  string // IQN
	Volumes []*san.Volume
	Auth    []san.CHAP // accounts that the target asks for; empty: those it has, if any
}

// DemoLUN is one LUN of the demo target.
type DemoLUN struct {
	LUN    san.LUN `json:"lun"`
	Volume string  `json:"volume"`
	Size   int64   `json:"size"` // bytes
}

// checkDemo refuses the directory of another gateway, whose volumes a demo is
// not to be mixed with.
func (n *Node) checkDemo(ctx context.Context) error {
	snap, err := n.meta.Load(ctx)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(snap.Gateways)) {
		rest, ours := strings.CutPrefix(name, demoName(n.cfg.Name))
		if _, err := strconv.ParseUint(strings.TrimPrefix(rest, "-"), 10, 16); !ours || rest != "" && err != nil {
			return san.Errorf(san.ErrRefused, "directory %s belongs to the gateway %s, and a demo would add a target that is open to everybody; start the gateway with 'sango gateway run --config FILE', or give the demo a directory of its own", n.cfg.Dir, name)
		}
	}
	return nil
}

// demoName returns the name of a demo of which one of the gateways has the name
// given (Config.Each).
func demoName(gateway string) string {
	if i := strings.LastIndexByte(gateway, '-'); i > 0 {
		return gateway[:i]
	}
	return gateway
}

// Prepare makes what d names and is not there yet. Volumes that exist stay as
// they are, wherever they are mapped already. It returns the LUNs of the
// target, and a sentence for each volume that is not quite what d asks for.
func (n *Node) Prepare(ctx context.Context, d Demo) (luns []DemoLUN, notes []string, err error) {
	snap, err := n.meta.Load(ctx)
	if err != nil {
		return nil, nil, err
	}
	have := make(map[string]*san.Volume, len(snap.Volumes))
	for _, v := range snap.Volumes {
		have[v.Name] = v
	}
	ids := make([]san.UUID, 0, len(d.Volumes))
	for _, want := range d.Volumes {
		v := have[want.Name]
		if v == nil {
			c := *want
			v = &c
			if err := n.Volumes().Create(ctx, v); err != nil {
				return nil, nil, err
			}
		} else if note := difference(v, want); note != "" {
			notes = append(notes, note)
		}
		ids = append(ids, v.ID)
	}
	if err := n.meta.Update(ctx, func(tx *meta.Tx) error { return prepareTarget(tx, d) }); err != nil {
		return nil, nil, err
	}
	for batch := range slices.Chunk(ids, meta.MaxMapMissing) {
		if err := n.meta.Update(ctx, func(tx *meta.Tx) error { return tx.MapMissing(d.Target, batch) }); err != nil {
			return nil, nil, err
		}
	}
	if err := n.Sync(ctx, 0); err != nil {
		return nil, nil, err
	}
	if snap, err = n.meta.Load(ctx); err != nil {
		return nil, nil, err
	}
	return demoLUNs(snap, d.Target), notes, nil
}

func prepareTarget(tx *meta.Tx, d Demo) error {
	t, err := tx.Target(d.Target)
	if errors.Is(err, san.ErrNotFound) {
		return tx.CreateTarget(&san.Target{Name: d.Target, Open: true, Auth: d.Auth})
	}
	if err != nil || len(d.Auth) == 0 {
		return err
	}
	t.Auth = d.Auth
	return tx.PutTarget(t)
}

func demoLUNs(snap *meta.Snapshot, target string) []DemoLUN {
	out := []DemoLUN{}
	t := snap.Targets[target]
	if t == nil {
		return out
	}
	for _, lun := range slices.Sorted(maps.Keys(t.LUNs)) {
		if v := snap.Volumes[t.LUNs[lun].Volume]; v != nil {
			out = append(out, DemoLUN{lun, v.Name, v.Size})
		}
	}
	return out
}

// difference says how a volume that exists differs from what was asked for.
func difference(have, want *san.Volume) string {
	switch {
	case have.Size != want.Size:
		return "volume " + have.Name + " exists with " + san.FormatSize(have.Size) + " and stays so; 'sango volume resize' makes it larger"
	case have.Driver != want.Driver, have.BlockSize != want.BlockSize, have.PhysicalBlock != want.PhysicalBlock,
		have.ReadOnly != want.ReadOnly, have.Removable != want.Removable:
		return "volume " + have.Name + " exists with other options and stays as it is; 'sango volume show' tells them"
	}
	return ""
}
