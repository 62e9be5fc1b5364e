package api

import (
	"context"
	"net"

	"sango/internal/meta"
	"sango/internal/san"
)

// Cluster is what the server needs of a node whose gateway serves together with
// others, or of a witness of such gateways. Errors carry a kind of package san.
type Cluster interface {
	// Self is the name of this node.
	Self() string
	// Here reports whether a gateway is one of this process.
	Here(gateway string) bool
	// Drain has a gateway emptied, and given no volumes, until Undrain.
	Drain(ctx context.Context, gateway string) error
	Undrain(ctx context.Context, gateway string) error
	// Remove forgets a gateway that is dead.
	Remove(ctx context.Context, gateway string) error
	// ConfirmDead says that nothing of a dead gateway can reach a medium any more.
	ConfirmDead(ctx context.Context, gateway string) error
	// Move has a gateway own a volume, and returns when it does.
	Move(ctx context.Context, volume san.UUID, gateway string) error

	// Owner returns who serves a volume, by a linearizable read; nobody where
	// there is none at this moment.
	Owner(ctx context.Context, volume san.UUID) (Member, error)
	// Living reports whether a member is alive, as far as that has been decided.
	Living(ctx context.Context, m Member) (bool, error)
	// Troubles is why volumes could not be opened in this process, last time, or
	// why the owner of one that is dead could not be shut out.
	Troubles() map[san.UUID]error
	// Remembered is what this node was told last of the metadata, and of who has
	// which volume; nil: nothing.
	Remembered(ctx context.Context) (*meta.Snapshot, *meta.State)
	// Dial connects to what another gateway serves by ServePeers.
	Dial(ctx context.Context, gateway string) (net.Conn, error)
}

// Member is one start of a gateway; the zero value is nobody.
type Member struct {
	Gateway     string
	Incarnation uint64
}

// together returns the cluster of a node that is of one.
func together(n Base) (Cluster, error) {
	if c := n.Cluster(); c != nil {
		return c, nil
	}
	return nil, san.Errorf(san.ErrRefused, "this gateway serves alone: there are no others; with 'cluster:' or 'etcd:' in the configuration several serve together")
}
