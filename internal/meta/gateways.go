package meta

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"sango/internal/san"
)

// Gateway is the registration of one gateway: what it serves on, and what it
// is. Whether it lives is in its Incarnation.
type Gateway struct {
	Name         string    `json:"name"`
	Group        uint16    `json:"group"` // its target port group id, unique, never reused
	Portals      []Portal  `json:"portals,omitempty"`
	Started      time.Time `json:"started"`
	Version      string    `json:"version,omitempty"`      // of the program
	Schema       int       `json:"schema,omitempty"`       // newest version of the layout that it reads
	Links        Versions  `json:"links,omitzero"`         // of the protocol between gateways that it speaks
	Capabilities []string  `json:"capabilities,omitempty"` // what it can do that not all can
	// Node is the identity of its directory: two gateways never share a name.
	Node san.UUID `json:"node,omitzero"`
	// Machine is the identity of the machine that it runs on.
	Machine san.UUID `json:"machine,omitzero"`
	// Relay and Manage are where the other gateways reach it, ip:port: for tasks
	// of hosts, and for what administrators want. Empty: it serves alone.
	Relay  string `json:"relay,omitempty"`
	Manage string `json:"manage,omitempty"`
}

// UnmarshalJSON reads strictly, and what versions before 3 kept here too.
func (g *Gateway) UnmarshalJSON(b []byte) error {
	type plain Gateway
	old := struct {
		*plain
		laterGateway
		Incarnation uint64 `json:"incarnation"`
		State       string `json:"state"`
		Reason      string `json:"reason"`
	}{plain: (*plain)(g)}
	return strict(b, &old)
}

// Versions are those of a protocol that a program speaks, all from the oldest to
// the newest. Zero: it did not say, and speaks the first.
type Versions struct {
	Oldest int `json:"oldest"`
	Newest int `json:"newest"`
}

// meet reports whether two programs speak a common version.
func (v Versions) meet(w Versions) bool {
	for _, x := range []*Versions{&v, &w} {
		if *x == (Versions{}) {
			*x = Versions{1, 1}
		}
	}
	return v.Oldest <= w.Newest && w.Oldest <= v.Newest
}

// String implements fmt.Stringer.
func (v Versions) String() string {
	switch {
	case v == Versions{}:
		return "1"
	case v.Oldest == v.Newest:
		return strconv.Itoa(v.Oldest)
	}
	return fmt.Sprintf("%d to %d", v.Oldest, v.Newest)
}

// reads returns the newest version of the layout that the gateway reads. One
// that does not say is of the first.
func (g *Gateway) reads() int {
	if g.Schema == 0 {
		return 1
	}
	return g.Schema
}

// Portal is one target port of a gateway. Its name is its identity: a portal
// that comes back under its name keeps its tag, whatever its address.
type Portal struct {
	Name      string  `json:"name"`
	Listen    string  `json:"listen"`    // ip:port that it is bound to
	Advertise string  `json:"advertise"` // ip:port that hosts are told
	TPG       san.TPG `json:"tpg"`
}

// retired remembers the tags of portals that a gateway no longer has, so that
// one that returns under its name is the same target port again.
type retired struct {
	TPG san.TPG `json:"tpg"`
}

// The counters of the ids of target port groups, one a gateway, and of the tags
// of portals.
const (
	portGroups    = "port-group"
	relativePorts = "relative-port"
)

// Register writes what a gateway serves on, and fills in the group id and the
// tag of each portal: those it has had before, or new ones that were never
// used. ErrRefused: the name is that of another directory, the program is older
// than the store, or there is a gateway with which it has no version of the
// protocol between gateways in common.
func (tx *Tx) Register(g *Gateway) error {
	if err := san.CheckName("gateway", g.Name); err != nil {
		return err
	}
	var old Gateway
	found, err := tx.get("gateways/"+g.Name, &old)
	if err != nil {
		return err
	}
	if g.Schema == 0 {
		g.Schema = tx.s.schemas.newest
	}
	now, err := tx.schema()
	if err != nil {
		return err
	}
	if g.reads() < now {
		return san.Errorf(san.ErrRefused, "gateway %s reads schema versions up to %d, and the metadata has %d by now: start the newer sango", g.Name, g.reads(), now)
	}
	if alone := tx.s.fence.Load() != nil; !alone && !old.Node.IsZero() && old.Node != g.Node {
		return san.Errorf(san.ErrRefused, "there is a gateway %s already, with another directory: give this one another name, or take that one away with 'sango gateway remove %s' if it is gone for good", g.Name, g.Name)
	}
	if now < clusterSchema {
		g.Node, g.Machine, g.Relay, g.Manage, g.Links = san.UUID{}, san.UUID{}, "", "", Versions{} // others could not read it
	} else if err := tx.checkLinks(g); err != nil {
		return err
	}
	g.Group = old.Group
	if !found {
		id, err := tx.next(portGroups, math.MaxUint16)
		if err != nil {
			return err
		}
		g.Group = uint16(id)
	}
	seen := map[string]bool{}
	for i := range g.Portals {
		p := &g.Portals[i]
		if seen[p.Name] {
			return san.Errorf(san.ErrInvalid, "gateway %s has two portals %s; give each its own address or name", g.Name, p.Name)
		}
		seen[p.Name] = true
		var r retired
		key := "portals/" + g.Name + "/" + p.Name
		known, err := tx.get(key, &r)
		if err != nil {
			return err
		}
		if !known {
			id, err := tx.next(relativePorts, math.MaxUint16)
			if err != nil {
				return err
			}
			r.TPG = san.TPG(id)
			if err := tx.put(key, &r); err != nil {
				return err
			}
		}
		p.TPG = r.TPG
	}
	return tx.put("gateways/"+g.Name, g)
}

// checkLinks refuses a gateway that could not speak with another one. Each would
// take the other for dead.
func (tx *Tx) checkLinks(g *Gateway) error {
	all, err := tx.Gateways()
	if err != nil {
		return err
	}
	for _, o := range all {
		if o.Name != g.Name && !g.Links.meet(o.Links) {
			return san.Errorf(san.ErrRefused, "gateway %s speaks version %v of the protocol between gateways, and gateway %s (sango %s) version %v: upgrade all of them to a sango in between first, which speaks with both; or take %s away with 'sango gateway remove %s' if it is gone for good", g.Name, g.Links, o.Name, o.Version, o.Links, o.Name, o.Name)
		}
	}
	return nil
}

// RemoveGateway forgets what a gateway serves on. Its portals keep their tags,
// should it come back.
func (tx *Tx) RemoveGateway(name string) {
	tx.del("gateways/" + name)
	tx.write(RecordKey{RecordBusy, name}.path(), nil)
}

// TakeAway takes a gateway away that is dead, with what it serves on. Both go
// together: one that is removed has no registration, and can't become a member
// before it has registered anew. ErrRefused: it is alive.
func (tx *Tx) TakeAway(name string) error {
	key := RecordKey{RecordIncarnation, name}.path()
	b, _, err := tx.fetch(key)
	if err != nil {
		return err
	}
	if b != nil {
		var i Incarnation
		if err := decode(key, b, &i); err != nil {
			return err
		}
		switch i.Life {
		case Alive:
			return san.Errorf(san.ErrRefused, "gateway %s is alive: stop it first, or wait until it has been declared dead", name)
		case Removed:
		default:
			i.Life = Removed
			if err := tx.store(key, &i); err != nil {
				return err
			}
		}
	}
	tx.RemoveGateway(name)
	return nil
}

// Gateway returns the registration of a gateway.
func (tx *Tx) Gateway(name string) (*Gateway, error) {
	var g Gateway
	found, err := tx.get("gateways/"+name, &g)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, san.Errorf(san.ErrNotFound, "there is no gateway %s; 'sango gateway list' shows what there is", name)
	}
	return &g, nil
}

// Gateways returns all gateways, by name.
func (tx *Tx) Gateways() ([]*Gateway, error) {
	var all []*Gateway
	err := tx.list("gateways/", func(rest string, value []byte) error {
		var g Gateway
		if err := decode("gateways/"+rest, value, &g); err != nil {
			return err
		}
		all = append(all, &g)
		return nil
	})
	return all, err
}
