package gateway

import (
	"maps"
	"reflect"
	"slices"

	"sango/internal/cluster/model"
	"sango/internal/lun"
	"sango/internal/meta"
	"sango/internal/san"
)

// setGroups tells every unit which gateways and portals there are. Each
// gateway is one port group; without a cluster it serves all volumes itself.
func (v *view) setGroups() {
	if m := v.n.member; m != nil {
		m.registered()
		return
	}
	v.mu.RLock()
	var groups []lun.PortGroup
	for _, name := range slices.Sorted(maps.Keys(v.groups)) {
		g := v.groups[name]
		pg := lun.PortGroup{ID: g.Group, State: lun.Offline}
		if g.Name == v.n.cfg.Name {
			pg.State, pg.Preferred = lun.ActiveOptimized, true
		}
		for _, p := range g.Portals {
			pg.Ports = append(pg.Ports, p.TPG)
		}
		groups = append(groups, pg)
	}
	units := slices.Collect(maps.Values(v.units))
	v.mu.RUnlock()
	for _, u := range units {
		if u.setGroups(groups) {
			u.unit.AccessChanged(nil)
		}
	}
}

// setGroups tells a unit what target port groups there are, and reports whether
// it knew others.
func (u *unit) setGroups(groups []lun.PortGroup) (changed bool) {
	if reflect.DeepEqual(u.groups, groups) {
		return false
	}
	changed = u.groups != nil
	u.groups = groups
	u.unit.SetPortGroups(groups)
	return changed
}

// setGroupsOf is setGroups for a volume of a cluster: ports has the states of
// the gateways that there are, prefer is the one that is preferred, if any, and
// asked says that a host asked for the states.
func (v *view) setGroupsOf(u *unit, ports []model.Port, prefer model.GatewayID, asked bool) (changed bool) {
	states := map[string]lun.AccessState{}
	for _, p := range ports {
		states[string(p.Gateway)] = p.State
	}
	v.mu.RLock()
	var groups []lun.PortGroup
	for _, name := range slices.Sorted(maps.Keys(v.groups)) {
		g := v.groups[name]
		pg := lun.PortGroup{ID: g.Group, State: lun.Unavailable, Preferred: name == string(prefer)}
		if s, ok := states[name]; ok {
			pg.State = s
			pg.Asked = asked && s != lun.Unavailable
		}
		for _, p := range g.Portals {
			pg.Ports = append(pg.Ports, p.TPG)
		}
		groups = append(groups, pg)
	}
	v.mu.RUnlock()
	return u.setGroups(groups)
}

// relayOf returns where a gateway takes tasks of others, "" where that is not
// known.
func (v *view) relayOf(gateway string) string {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if g := v.groups[gateway]; g != nil {
		return g.Relay
	}
	return ""
}

// manageOf returns where a gateway is managed by others, "" where that is not
// known.
func (v *view) manageOf(gateway string) string {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if g := v.groups[gateway]; g != nil {
		return g.Manage
	}
	return ""
}

// groupName returns the gateway that is a target port group, "" for none.
func (v *view) groupName(id uint16) string {
	v.mu.RLock()
	defer v.mu.RUnlock()
	for name, g := range v.groups {
		if g.Group == id {
			return name
		}
	}
	return ""
}

// portsOf returns a function that tells the target ports of a gateway, nil if it
// is not registered.
func (v *view) portsOf(gateway string) func(san.TPG) bool {
	v.mu.RLock()
	defer v.mu.RUnlock()
	g := v.groups[gateway]
	if g == nil {
		return nil
	}
	return func(p san.TPG) bool {
		return slices.ContainsFunc(g.Portals, func(x meta.Portal) bool { return x.TPG == p })
	}
}
