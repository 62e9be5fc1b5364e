package gateway

import (
	"context"

	"sango/internal/cluster"
	"sango/internal/cluster/model"
	"sango/internal/meta"
)

// join makes the node's gateways ones of a cluster: no claim, and one directory
// of volumes for all of them.
func (n *Node) join(ctx context.Context) error {
	if err := n.meta.Join(ctx, n.cfg.Name, n.id); err != nil {
		return err
	}
	var names []string
	for _, c := range n.gateways() {
		names = append(names, c.cfg.Name)
	}
	// All that there are may be the gateways of this process. What others served
	// on, and owned, was in a former one.
	if n.cfg.alone() {
		if err := n.unregister(ctx, names...); err != nil {
			return err
		}
	}
	if _, err := n.meta.Upgrade(ctx, names...); err != nil { // what it waits for, followSchema tells
		return err
	}
	if !n.cfg.alone() {
		return n.shareVolumes(ctx)
	}
	store, err := cluster.NewStore(ctx, n.meta, 0)
	if err != nil {
		return err
	}
	ids := make([]model.GatewayID, len(names))
	for i, name := range names {
		ids[i] = model.GatewayID(name)
	}
	return cluster.Retire(ctx, store, ids...)
}

// shareVolumes makes sure that all gateways of the cluster have the same
// directory of volumes.
func (n *Node) shareVolumes(ctx context.Context) error {
	return n.meta.Ensure(ctx, func(tx *meta.Tx) error { return tx.ShareVolumes(n.disks.store.Identity()) })
}
