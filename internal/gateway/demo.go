package gateway

import (
	"context"
	"errors"

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

// Prepare makes what d names and is not there yet. Volumes that exist stay as
// they are, wherever they are mapped already. It returns the LUNs of the
// target, and a sentence for each volume that is not quite what d asks for.
func (n *Node) Prepare(ctx context.Context, d Demo) (luns []DemoLUN, notes []string, err error) {
	for _, want := range d.Volumes {
		have, err := (volumes{n}).named(ctx, want.Name)
		if errors.Is(err, san.ErrNotFound) {
			v := *want
			if err := n.Volumes().Create(ctx, &v); err != nil {
				return nil, nil, err
			}
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		if note := difference(have, want); note != "" {
			notes = append(notes, note)
		}
	}
	if err := n.meta.Update(ctx, func(tx *meta.Tx) error { return prepareTarget(tx, d) }); err != nil {
		return nil, nil, err
	}
	for _, want := range d.Volumes {
		if err := n.meta.Update(ctx, func(tx *meta.Tx) error { return mapOnce(tx, d.Target, want.Name) }); err != nil {
			return nil, nil, err
		}
	}
	if err := n.Sync(ctx); err != nil {
		return nil, nil, err
	}
	err = n.meta.Update(ctx, func(tx *meta.Tx) error {
		luns, err = demoLUNs(tx, d.Target)
		return err
	})
	return luns, notes, err
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

func mapOnce(tx *meta.Tx, target, volume string) error {
	v, err := tx.VolumeNamed(volume)
	if err != nil {
		return err
	}
	uses, err := tx.Mappings(v.ID)
	if err != nil {
		return err
	}
	for _, u := range uses {
		if u.Target == target {
			return nil
		}
	}
	_, err = tx.Map(target, meta.AnyLUN, san.Mapping{Volume: v.ID})
	return err
}

func demoLUNs(tx *meta.Tx, target string) ([]DemoLUN, error) {
	t, err := tx.Target(target)
	if err != nil {
		return nil, err
	}
	out := []DemoLUN{}
	for lun := san.LUN(0); len(out) < len(t.LUNs); lun++ {
		m, ok := t.LUNs[lun]
		if !ok {
			continue
		}
		v, err := tx.Volume(m.Volume)
		if err != nil {
			return nil, err
		}
		out = append(out, DemoLUN{lun, v.Name, v.Size})
	}
	return out, nil
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
