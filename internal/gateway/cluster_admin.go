package gateway

import (
	"context"
	"errors"
	"net"

	"sango/internal/api"
	"sango/internal/cluster"
	"sango/internal/cluster/model"
	"sango/internal/meta"
	"sango/internal/san"
)

// clusterAdmin does what administrators want of gateways that serve together
// (api.Cluster). A witness has no members, and asks no gateway for anything.
type clusterAdmin struct {
	self    string
	meta    *meta.Store
	members []*member // of this process
}

var _ api.Cluster = clusterAdmin{}

// Cluster implements api.Node.
func (n *Node) Cluster() api.Cluster {
	if n.member == nil {
		return nil
	}
	a := clusterAdmin{self: n.cfg.Name, meta: n.meta}
	for _, g := range n.gateways() {
		a.members = append(a.members, g.member)
	}
	return a
}

// Self implements api.Cluster.
func (a clusterAdmin) Self() string { return a.self }

// Here implements api.Cluster.
func (a clusterAdmin) Here(gateway string) bool {
	for _, m := range a.members {
		if m.n.cfg.Name == gateway {
			return true
		}
	}
	return false
}

// store returns the records of the cluster; it fails where the metadata has
// none yet.
func (a clusterAdmin) store(ctx context.Context) (cluster.Store, error) {
	if len(a.members) > 0 {
		return a.members[0].store, nil
	}
	return cluster.NewStore(ctx, a.meta, 0)
}

// change has f change the records.
func (a clusterAdmin) change(ctx context.Context, gateway string, f func(context.Context, cluster.Store, model.GatewayID) error) error {
	s, err := a.store(ctx)
	if err != nil {
		return err
	}
	return f(ctx, s, model.GatewayID(gateway))
}

// Drain implements api.Cluster.
func (a clusterAdmin) Drain(ctx context.Context, gateway string) error {
	return a.change(ctx, gateway, cluster.Drain)
}

// Undrain implements api.Cluster.
func (a clusterAdmin) Undrain(ctx context.Context, gateway string) error {
	return a.change(ctx, gateway, cluster.Undrain)
}

// Remove implements api.Cluster. What the gateway had begun to create or to
// delete is ended; a witness leaves that to the next start of a gateway.
func (a clusterAdmin) Remove(ctx context.Context, gateway string) error {
	if err := a.change(ctx, gateway, cluster.Remove); err != nil || len(a.members) == 0 {
		return err
	}
	return a.members[0].n.settleOf(ctx, gateway)
}

// ConfirmDead implements api.Cluster.
func (a clusterAdmin) ConfirmDead(ctx context.Context, gateway string) error {
	return a.change(ctx, gateway, cluster.ConfirmDead)
}

// Move implements api.Cluster.
func (a clusterAdmin) Move(ctx context.Context, v san.UUID, gateway string) error {
	return a.change(ctx, gateway, func(ctx context.Context, s cluster.Store, to model.GatewayID) error {
		return cluster.MoveVolume(ctx, s, v, to)
	})
}

// Owner implements api.Cluster.
func (a clusterAdmin) Owner(ctx context.Context, v san.UUID) (api.Member, error) {
	s, err := a.store(ctx)
	if err != nil {
		return api.Member{}, err
	}
	m, err := cluster.Serving(ctx, s, v)
	return api.Member{Gateway: string(m.Gateway), Incarnation: uint64(m.Incarnation)}, err
}

// Living implements api.Cluster.
func (a clusterAdmin) Living(ctx context.Context, m api.Member) (bool, error) {
	s, err := a.store(ctx)
	if err != nil {
		return false, err
	}
	return cluster.Living(ctx, s, model.Member{Gateway: model.GatewayID(m.Gateway), Incarnation: model.Incarnation(m.Incarnation)})
}

// Troubles implements api.Cluster.
func (a clusterAdmin) Troubles() map[san.UUID]error {
	all := map[san.UUID]error{}
	for _, m := range a.members {
		for v, err := range m.runtime.Trouble() {
			all[v] = err
		}
	}
	for _, m := range a.members {
		for v, who := range m.lost() {
			if err := m.runtime.Unfenced(who, v); err != nil {
				all[v] = err
			}
		}
	}
	return all
}

// Remembered implements api.Cluster.
func (a clusterAdmin) Remembered(ctx context.Context) (*meta.Snapshot, *meta.State) {
	if len(a.members) == 0 {
		return nil, nil // a witness follows nothing
	}
	m := a.members[0]
	st, err := m.runtime.Status(ctx)
	if err != nil {
		return nil, nil // between two lives
	}
	return m.n.view.snapshot(), st.State()
}

// Dial implements api.Cluster.
func (a clusterAdmin) Dial(ctx context.Context, gateway string) (net.Conn, error) {
	if len(a.members) == 0 {
		return nil, errors.New("a witness asks no gateway")
	}
	return a.members[0].dial(ctx, gateway)
}
