package meta

import (
	"math"
	"time"

	"sango/internal/san"
)

// Gateway is the registration of one gateway: what it serves on, and what it
// is.
type Gateway struct {
	Name    string    `json:"name"`
	Group   uint16    `json:"group"` // its target port group id, unique, never reused
	Portals []Portal  `json:"portals,omitempty"`
	Started time.Time `json:"started"`
	// Incarnation is that of its process: a number that no other has had.
	Incarnation  uint64       `json:"incarnation,omitempty"`
	Version      string       `json:"version,omitempty"`      // of the program
	Schema       int          `json:"schema,omitempty"`       // newest version of the layout that it reads
	Capabilities []string     `json:"capabilities,omitempty"` // what it can do that not all can
	State        GatewayState `json:"state,omitempty"`
	Reason       string       `json:"reason,omitempty"` // of the state, for people
}

// reads returns the newest version of the layout that the gateway reads. One
// that does not say is of the first.
func (g *Gateway) reads() int {
	if g.Schema == 0 {
		return 1
	}
	return g.Schema
}

// GatewayState is what the cluster thinks of a gateway.
type GatewayState string

// The states of a gateway.
const (
	GatewayJoining  GatewayState = "joining"  // it does not serve yet
	GatewayServing  GatewayState = "serving"  //
	GatewayDraining GatewayState = "draining" // its volumes move away
	GatewayDrained  GatewayState = "drained"  // it may be stopped
	GatewayDead     GatewayState = "dead"     // declared so; this incarnation never comes back
)

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
// used. Without an incarnation it draws one. It is the last one of its name
// from then on: heartbeats of earlier ones fail.
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
	if now, err := tx.schema(); err != nil {
		return err
	} else if g.reads() < now {
		return san.Errorf(san.ErrRefused, "gateway %s reads schema versions up to %d, and the metadata has %d by now: start the newer sango", g.Name, g.reads(), now)
	}
	if g.Incarnation == 0 {
		if g.Incarnation, err = tx.next(incarnations, math.MaxInt64); err != nil {
			return err
		}
	}
	if g.Incarnation <= old.Incarnation && found {
		return san.Errorf(san.ErrRefused, "gateway %s was started again: incarnation %d is over, %d is there", g.Name, g.Incarnation, old.Incarnation)
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
	tx.write(aliveKey(g.Name), aliveValue(g.Incarnation))
	return tx.put("gateways/"+g.Name, g)
}

// RemoveGateway forgets what a gateway serves on. Its portals keep their tags,
// should it come back. Its heartbeats fail from then on.
func (tx *Tx) RemoveGateway(name string) {
	tx.del("gateways/" + name)
	tx.write(aliveKey(name), nil)
	tx.write(beatKey(name), nil)
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

// SetGatewayState changes the state of one incarnation of a gateway. A dead
// one stays dead, and its heartbeats fail. ErrRefused: it is dead, or that
// incarnation is over.
func (tx *Tx) SetGatewayState(name string, incarnation uint64, state GatewayState, reason string) error {
	g, err := tx.Gateway(name)
	if err != nil {
		return err
	}
	if g.Incarnation != incarnation {
		return san.Errorf(san.ErrRefused, "gateway %s was started again: incarnation %d is over, %d is there", name, incarnation, g.Incarnation)
	}
	if g.State == state {
		return nil
	}
	if g.State == GatewayDead {
		return ErrDead
	}
	if g.State, g.Reason = state, reason; state == GatewayDead {
		tx.write(aliveKey(name), nil)
	}
	return tx.put("gateways/"+name, g)
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
