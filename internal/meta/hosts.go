package meta

import (
	"slices"

	"sango/internal/san"
)

// CreateHost adds a host. ErrExists: the name or the initiator name is taken.
func (tx *Tx) CreateHost(h *san.Host) error {
	if err := h.Check(); err != nil {
		return err
	}
	taken, err := tx.has("hosts/" + h.Name)
	if err != nil {
		return err
	}
	if taken {
		return san.Errorf(san.ErrExists, "a host named %s exists; choose another name", h.Name)
	}
	var other string
	if taken, err = tx.get("host-iqns/"+h.IQN, &other); err != nil {
		return err
	}
	if taken {
		return san.Errorf(san.ErrExists, "initiator %s is host %s already; one initiator name is one host", h.IQN, other)
	}
	if err := tx.put("host-iqns/"+h.IQN, h.Name); err != nil {
		return err
	}
	return tx.put("hosts/"+h.Name, h)
}

// Host returns a host by its name.
func (tx *Tx) Host(name string) (*san.Host, error) {
	var h san.Host
	found, err := tx.get("hosts/"+name, &h)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, san.Errorf(san.ErrNotFound, "there is no host %s; 'sango host list' shows what there is", name)
	}
	return &h, nil
}

// PutHost replaces the allowed addresses and the accounts of a host; its name
// and initiator name stay.
func (tx *Tx) PutHost(h *san.Host) error {
	if err := h.Check(); err != nil {
		return err
	}
	old, err := tx.Host(h.Name)
	if err != nil {
		return err
	}
	if old.IQN != h.IQN {
		return san.Errorf(san.ErrRefused, "host %s has the initiator name %s; delete the host and create it anew to change that", h.Name, old.IQN)
	}
	return tx.put("hosts/"+h.Name, h)
}

// DeleteHost removes a host. ErrRefused: a target or LUN still names it.
func (tx *Tx) DeleteHost(name string) error {
	h, err := tx.Host(name)
	if err != nil {
		return err
	}
	targets, err := tx.Targets()
	if err != nil {
		return err
	}
	for _, t := range targets {
		if slices.Contains(t.Hosts, name) {
			return san.Errorf(san.ErrRefused, "host %s may log in to %s; run 'sango host deny %s %s' first", name, t.Name, name, t.Name)
		}
		for lun, m := range t.LUNs {
			if slices.Contains(m.Hosts, name) {
				return san.Errorf(san.ErrRefused, "LUN %d of %s is mapped for host %s; unmap it first with 'sango target unmap %s %d'", lun, t.Name, name, t.Name, lun)
			}
		}
	}
	tx.del("hosts/" + name)
	tx.del("host-iqns/" + h.IQN)
	return nil
}

// Allow lets a host log in to a target. It changes nothing where it may.
func (tx *Tx) Allow(host, target string) error {
	t, err := tx.Target(target)
	if err != nil {
		return err
	}
	if _, err := tx.Host(host); err != nil {
		return err
	}
	if slices.Contains(t.Hosts, host) {
		return nil
	}
	t.Hosts = append(t.Hosts, host)
	return tx.PutTarget(t)
}

// Deny takes a host's right to log in to a target away. ErrRefused: LUNs are
// mapped for that host alone or among others.
func (tx *Tx) Deny(host, target string) error {
	t, err := tx.Target(target)
	if err != nil {
		return err
	}
	if _, err := tx.Host(host); err != nil {
		return err
	}
	i := slices.Index(t.Hosts, host)
	if i < 0 {
		if t.Open {
			return san.Errorf(san.ErrRefused, "target %s is open to every initiator, so %s can't be denied; create a target without --open for named hosts", target, host)
		}
		return san.Errorf(san.ErrNotFound, "host %s was not allowed to log in to %s", host, target)
	}
	for lun, m := range t.LUNs {
		if slices.Contains(m.Hosts, host) {
			return san.Errorf(san.ErrRefused, "LUN %d of %s is mapped for host %s by name; unmap it first with 'sango target unmap %s %d'", lun, target, host, target, lun)
		}
	}
	t.Hosts = slices.Delete(t.Hosts, i, i+1)
	return tx.PutTarget(t)
}
