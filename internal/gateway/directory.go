package gateway

import (
	"maps"
	"net/netip"
	"slices"

	"sango/internal/san"
	"sango/internal/target"
)

// directory answers the target engine's questions from the view.
type directory struct{ v *view }

var (
	_ target.Directory  = directory{}
	_ target.Redirector = directory{}
)

// admits reports whether an initiator may log in to a target, and as which
// host. v.mu is held.
func (v *view) admits(s *served, initiator string, from netip.Addr) (*san.Host, bool) {
	h := v.byIQN[normal(initiator)]
	if h != nil && len(h.Allowed) > 0 && !slices.ContainsFunc(h.Allowed, func(p netip.Prefix) bool { return p.Contains(from.Unmap()) }) {
		return h, false
	}
	if s.rec.Open {
		return h, true
	}
	return h, h != nil && slices.Contains(s.rec.Hosts, h.Name)
}

// hostName is the name that sessions of h carry, "" without a host.
func hostName(h *san.Host) string {
	if h == nil {
		return ""
	}
	return h.Name
}

// Visible implements target.Directory.
func (d directory) Visible(initiator string, from netip.Addr) []string {
	d.v.mu.RLock()
	defer d.v.mu.RUnlock()
	var names []string
	for _, name := range slices.Sorted(maps.Keys(d.v.targets)) {
		if _, ok := d.v.admits(d.v.targets[name], initiator, from); ok {
			names = append(names, name)
		}
	}
	return names
}

// Portals implements target.Directory.
func (d directory) Portals(string) []target.PortalAddr {
	d.v.mu.RLock()
	defer d.v.mu.RUnlock()
	var out []target.PortalAddr
	for _, name := range slices.Sorted(maps.Keys(d.v.groups)) {
		for _, p := range d.v.groups[name].Portals {
			out = append(out, target.PortalAddr{Addr: p.Advertise, TPG: p.TPG})
		}
	}
	return out
}

// Elsewhere implements target.Redirector.
func (d directory) Elsewhere(string) []netip.AddrPort {
	m := d.v.n.member
	if m == nil {
		return nil
	}
	var out []netip.AddrPort
	well := m.others()
	d.v.mu.RLock()
	defer d.v.mu.RUnlock()
	for _, name := range well {
		g := d.v.groups[name]
		if g == nil {
			continue
		}
		for _, p := range g.Portals {
			if a, err := netip.ParseAddrPort(p.Advertise); err == nil {
				out = append(out, a)
			}
		}
	}
	return out
}

// Discovery implements target.Directory. What a discovery session shows are
// names of targets and addresses, and of these only what the initiator's name
// and address may see. The accounts are those of its host, or of the open
// targets that it may see. Where they are demanded, nobody without one is let
// in.
func (d directory) Discovery(initiator string, from netip.Addr) ([]san.CHAP, error) {
	d.v.mu.RLock()
	defer d.v.mu.RUnlock()
	if h := d.v.byIQN[normal(initiator)]; h != nil && len(h.Auth) > 0 {
		return h.Auth, nil
	}
	var accounts []san.CHAP
	for _, name := range slices.Sorted(maps.Keys(d.v.targets)) {
		s := d.v.targets[name]
		if _, ok := d.v.admits(s, initiator, from); ok && s.rec.Open {
			accounts = append(accounts, s.rec.Auth...)
		}
	}
	if len(accounts) == 0 && d.v.n.cfg.ISCSI.DiscoveryCHAP {
		return nil, target.ErrForbidden
	}
	return accounts, nil
}

// Login implements target.Directory. A host with accounts of its own has to
// use one of them everywhere; others need one of an open target's.
func (d directory) Login(initiator string, from netip.Addr, name string) (target.Grant, error) {
	d.v.mu.RLock()
	defer d.v.mu.RUnlock()
	s := d.v.targets[normal(name)]
	if s == nil {
		return target.Grant{}, target.ErrNotFound
	}
	h, ok := d.v.admits(s, initiator, from)
	if !ok {
		return target.Grant{}, target.ErrForbidden
	}
	g := target.Grant{Target: s.target, Host: hostName(h), Accounts: s.rec.Auth}
	if h != nil && len(h.Auth) > 0 {
		g.Accounts = h.Auth
	}
	return g, nil
}
