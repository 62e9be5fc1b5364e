package meta

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"sango/internal/san"
)

// Use is one LUN that maps a volume.
type Use struct {
	Target string
	LUN    san.LUN
}

func lunKey(target string, lun san.LUN) string { return fmt.Sprintf("luns/%s/%05d", target, lun) }

func mappedKey(id san.UUID, target string, lun san.LUN) string {
	return fmt.Sprintf("mapped/%s/%s/%05d", id, target, lun)
}

// splitLUN takes IQN/LUN apart.
func splitLUN(rest string) (Use, error) {
	i := strings.LastIndexByte(rest, '/')
	if i < 0 {
		return Use{}, fmt.Errorf("metadata: %q is not of the form IQN/LUN", rest)
	}
	n, err := strconv.ParseUint(rest[i+1:], 10, 16)
	if err != nil || san.LUN(n) > san.MaxLUN {
		return Use{}, fmt.Errorf("metadata: %q is not of the form IQN/LUN", rest)
	}
	return Use{Target: rest[:i], LUN: san.LUN(n)}, nil
}

// CreateTarget adds a target without LUNs.
func (tx *Tx) CreateTarget(t *san.Target) error {
	if err := t.Check(); err != nil {
		return err
	}
	taken, err := tx.has("targets/" + t.Name)
	if err != nil {
		return err
	}
	if taken {
		return san.Errorf(san.ErrExists, "target %s exists; choose another name", t.Name)
	}
	return tx.PutTarget(t)
}

// PutTarget replaces a target's record, apart from its LUN map. Its hosts must
// exist.
func (tx *Tx) PutTarget(t *san.Target) error {
	if err := t.Check(); err != nil {
		return err
	}
	if err := tx.hostsExist(t.Hosts); err != nil {
		return err
	}
	c := *t
	c.LUNs = nil
	return tx.put("targets/"+t.Name, &c)
}

func (tx *Tx) hostsExist(names []string) error {
	for _, h := range names {
		if _, err := tx.Host(h); err != nil {
			return err
		}
	}
	return nil
}

// Target returns a target with its LUN map.
func (tx *Tx) Target(name string) (*san.Target, error) {
	t, err := tx.bareTarget(name)
	if err != nil {
		return nil, err
	}
	t.LUNs = map[san.LUN]san.Mapping{}
	err = tx.list("luns/"+name+"/", func(rest string, value []byte) error {
		u, err := splitLUN(name + "/" + rest)
		if err != nil {
			return err
		}
		var m san.Mapping
		if err := decode("luns/"+name+"/"+rest, value, &m); err != nil {
			return err
		}
		t.LUNs[u.LUN] = m
		return nil
	})
	return t, err
}

// bareTarget returns a target without its LUN map, which may be long.
func (tx *Tx) bareTarget(name string) (*san.Target, error) {
	var t san.Target
	found, err := tx.get("targets/"+name, &t)
	if err == nil && !found {
		err = san.Errorf(san.ErrNotFound, "there is no target %s; 'sango target list' shows what there is", name)
	}
	return &t, err
}

// DeleteTarget removes a target. ErrRefused: it still maps LUNs.
func (tx *Tx) DeleteTarget(name string) error {
	t, err := tx.Target(name)
	if err != nil {
		return err
	}
	if len(t.LUNs) > 0 {
		return san.Errorf(san.ErrRefused, "target %s still maps %d LUNs; unmap them first with 'sango target unmap %s LUN'", name, len(t.LUNs), name)
	}
	tx.del("targets/" + name)
	return nil
}

// AnyLUN asks Map for the lowest LUN that is free.
const AnyLUN = -1

// Map puts a volume at a LUN of a target, or with AnyLUN at the lowest free
// one, and returns the LUN. ErrExists: the LUN is taken. A volume may be
// mapped by several targets, but once by each.
func (tx *Tx) Map(target string, lun int, m san.Mapping) (san.LUN, error) {
	t, err := tx.bareTarget(target)
	if err != nil {
		return 0, err
	}
	v, err := tx.Volume(m.Volume)
	if err != nil {
		return 0, err
	}
	uses, err := tx.Mappings(m.Volume)
	if err != nil {
		return 0, err
	}
	for _, u := range uses {
		if u.Target == target {
			return 0, san.Errorf(san.ErrExists, "volume %s is LUN %d of %s already", v.Name, u.LUN, target)
		}
	}
	for _, h := range m.Hosts {
		if _, err := tx.Host(h); err != nil {
			return 0, err
		}
		if !t.Open && !slices.Contains(t.Hosts, h) {
			return 0, san.Errorf(san.ErrRefused, "host %s may not log in to %s; run 'sango host allow %s %s' first", h, target, h, target)
		}
	}
	l := san.LUN(lun)
	if lun == AnyLUN {
		if l, err = tx.lowestFree(target); err != nil {
			return 0, err
		}
		if l > san.MaxLUN {
			return 0, san.Errorf(san.ErrRefused, "target %s has no LUN left: it maps %d volumes; use another target for more", target, l)
		}
		lun = int(l)
	}
	if lun < 0 || lun > int(san.MaxLUN) {
		return 0, san.Errorf(san.ErrInvalid, "LUN %d is out of range; use 0 to %d", lun, san.MaxLUN)
	}
	taken, err := tx.has(lunKey(target, l))
	if err != nil {
		return 0, err
	}
	if taken {
		return 0, san.Errorf(san.ErrExists, "LUN %d of %s is taken; leave out the number to get the next free one", l, target)
	}
	if err := tx.put(mappedKey(m.Volume, target, l), struct{}{}); err != nil {
		return 0, err
	}
	return l, tx.put(lunKey(target, l), m)
}

// MaxMapMissing is how many volumes one MapMissing takes.
const MaxMapMissing = 1000

// MapMissing puts those of the volumes that a target does not map yet, for
// every host, at its lowest free LUNs, in the order given.
func (tx *Tx) MapMissing(target string, volumes []san.UUID) error {
	t, err := tx.Target(target)
	if err != nil {
		return err
	}
	mapped := make(map[san.UUID]bool, len(t.LUNs))
	for _, m := range t.LUNs {
		mapped[m.Volume] = true
	}
	lun := san.LUN(0)
	for _, id := range volumes {
		if mapped[id] {
			continue
		}
		if _, err := tx.Volume(id); err != nil {
			return err
		}
		for {
			if _, taken := t.LUNs[lun]; !taken {
				break
			}
			lun++
		}
		if lun > san.MaxLUN {
			return san.Errorf(san.ErrRefused, "target %s has no LUN left: it maps %d volumes; use another target for more", target, len(t.LUNs))
		}
		m := san.Mapping{Volume: id}
		if err := tx.put(mappedKey(id, target, lun), struct{}{}); err != nil {
			return err
		}
		if err := tx.put(lunKey(target, lun), m); err != nil {
			return err
		}
		t.LUNs[lun], mapped[id] = m, true
	}
	return nil
}

// Unmap removes a LUN of a target.
func (tx *Tx) Unmap(target string, lun san.LUN) error {
	if _, err := tx.bareTarget(target); err != nil {
		return err
	}
	var m san.Mapping
	found, err := tx.get(lunKey(target, lun), &m)
	if err != nil {
		return err
	}
	if !found {
		return san.Errorf(san.ErrNotFound, "target %s has no LUN %d", target, lun)
	}
	tx.del(lunKey(target, lun))
	tx.del(mappedKey(m.Volume, target, lun))
	return nil
}

// Mappings lists the LUNs that map a volume.
func (tx *Tx) Mappings(id san.UUID) ([]Use, error) {
	var uses []Use
	err := tx.list("mapped/"+id.String()+"/", func(rest string, _ []byte) error {
		u, err := splitLUN(rest)
		uses = append(uses, u)
		return err
	})
	return uses, err
}
