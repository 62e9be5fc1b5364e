package gateway

import (
	"bytes"
	"encoding/hex"
	"os"
	"slices"
	"strings"

	"sango/internal/block"
	"sango/internal/meta"
	"sango/internal/san"
)

// throughMark is in a registration where the gateway writes volumes past every
// cache (meta.Gateway.Capabilities).
const throughMark = "write-through"

// thisMachine returns the identity of this machine: that of machine-id(5), and
// where there is none, that of its boot.
func thisMachine(boot san.UUID) (id san.UUID) {
	b, err := os.ReadFile("/etc/machine-id")
	if err == nil {
		if b = bytes.TrimSpace(b); hex.DecodedLen(len(b)) == len(id) {
			if _, err := hex.Decode(id[:], b); err == nil {
				return id
			}
		}
	}
	return boot
}

// checkMachines refuses to share volumes with gateways of other machines unless
// all of them write through: what was acknowledged, and not flushed yet, would
// be lost with a machine, and hosts flush through another one then, which knows
// nothing of it (DESIGN R7).
//
// It is asked in the transaction that registers the gateway, so that of two which
// start at one time the later sees the other.
func (n *Node) checkMachines(tx *meta.Tx) error {
	all, err := tx.Gateways()
	if err != nil {
		return err
	}
	var back []string
	elsewhere := false
	for _, g := range all {
		if g.Name == n.cfg.Name || g.Machine.IsZero() || g.Machine == n.machine {
			continue
		}
		elsewhere = true
		if !slices.Contains(g.Capabilities, throughMark) {
			back = append(back, g.Name)
		}
	}
	switch {
	case !elsewhere:
		return nil
	case !n.cfg.Cluster.Through:
		return san.Errorf(san.ErrRefused, "gateways of several machines share the volumes, and what is in the cache of one would be lost with it: set write_through: true in the configuration of gateway %s, as on the others", n.cfg.Name)
	case len(back) > 0:
		return san.Errorf(san.ErrRefused, "gateways of several machines share the volumes, and %s may keep writes in the cache of another machine: set write_through: true there and start it again, or take it away with 'sango gateway remove' if it is gone", strings.Join(back, ", "))
	}
	return nil
}

// through is a device whose writes are stable when they end. It implements
// block.Device.
type through struct{ block.Device }

// writtenThrough returns what a device is that is written through.
func writtenThrough(i block.Info) block.Info {
	i.Caps.WriteBack = false
	return i
}

// Info implements block.Device.
func (t through) Info() block.Info { return writtenThrough(t.Device.Info()) }

// Submit implements block.Device.
func (t through) Submit(r *block.Request) {
	switch r.Op {
	case block.OpWrite, block.OpWriteZeroes, block.OpDiscard:
		r.Flags |= block.FUA
	}
	t.Device.Submit(r)
}
