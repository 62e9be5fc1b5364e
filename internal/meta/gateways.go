package meta

import (
	"math"
	"time"

	"sango/internal/san"
)

// Gateway is the record of one gateway: what it serves on.
type Gateway struct {
	Name    string    `json:"name"`
	Group   uint16    `json:"group"` // its target port group id, unique, never reused
	Portals []Portal  `json:"portals,omitempty"`
	Started time.Time `json:"started"`
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

// Register writes what a gateway serves on, and fills in the group id and the
// tag of each portal: those it has had before, or new ones that were never
// used.
func (tx *Tx) Register(g *Gateway) error {
	if err := san.CheckName("gateway", g.Name); err != nil {
		return err
	}
	var old Gateway
	found, err := tx.get("gateways/"+g.Name, &old)
	if err != nil {
		return err
	}
	g.Group = old.Group
	if !found {
		id, err := tx.next("port-group", math.MaxUint16)
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
			id, err := tx.next("relative-port", math.MaxUint16)
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

// RemoveGateway forgets what a gateway serves on. Its portals keep their tags,
// should it come back.
func (tx *Tx) RemoveGateway(name string) { tx.del("gateways/" + name) }

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
