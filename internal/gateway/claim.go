package gateway

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sango/internal/meta"
	"sango/internal/san"
)

// nodeIDName is the file with the identity of a directory.
const nodeIDName = "node-id"

// nodeID returns the identity of the node whose directory is dir, made at its
// first start. It goes where the directory goes: what it stands for are the
// volumes in there.
func nodeID(dir string) (san.UUID, error) {
	path := filepath.Join(dir, nodeIDName)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		id := san.NewUUID()
		return id, meta.WriteFile(path, []byte(id.String()+"\n"))
	}
	if err != nil {
		return san.UUID{}, fmt.Errorf("identity of the directory: %w", err)
	}
	id, err := san.ParseUUID(strings.TrimSpace(string(b)))
	if err != nil {
		return id, san.Errorf(san.ErrRefused, "identity of the directory: %s: %v; restore it from a backup, or remove it, and release the gateway with 'sango cluster release'", path, err)
	}
	return id, nil
}

// claim makes the node the one that serves the volumes of its metadata.
// Without owners of volumes two would write to them at once.
func (n *Node) claim(ctx context.Context) error {
	machine, err := os.Hostname()
	if err != nil {
		machine = "unknown"
	}
	n.claimed = &meta.Claim{Node: n.id, Gateway: n.cfg.Name, Machine: machine, Dir: n.cfg.Dir}
	if err := n.meta.Claim(ctx, n.claimed); err != nil {
		return err
	}
	// One node serves alone: what another name registered is a former life of it,
	// and its portals must not be advertised.
	if err := n.unregister(ctx, n.cfg.Name); err != nil {
		return err
	}
	_, err = n.meta.Upgrade(ctx, n.cfg.Name)
	return err
}

// unregister forgets all gateways but those named, and what they had agreed on.
func (n *Node) unregister(ctx context.Context, but ...string) error {
	return n.meta.Ensure(ctx, func(tx *meta.Tx) error {
		if err := tx.ForgetTTL(); err != nil {
			return err
		}
		all, err := tx.Gateways()
		for _, g := range all {
			if !slices.Contains(but, g.Name) {
				tx.RemoveGateway(g.Name)
			}
		}
		return err
	})
}

// checkClaim ends the node when the claim is another's.
func (n *Node) checkClaim(c *meta.Claim) {
	if n.claimed == nil || c != nil && *c == *n.claimed {
		return
	}
	err := san.Errorf(san.ErrRefused, "the claim of gateway %s on the metadata was released; it serves no more", n.cfg.Name)
	if c != nil {
		err = san.Errorf(san.ErrRefused, "gateway %s on machine %s, directory %s, serves the volumes of this metadata now; this one serves no more", c.Gateway, c.Machine, c.Dir)
	}
	select {
	case n.failed <- err:
	default:
	}
}
