package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"syscall"
	"time"

	"sango/internal/meta"
	"sango/internal/pause"
	"sango/internal/relay"
	"sango/internal/san"
)

// bind opens the listeners of all portals, or none.
func (n *Node) bind(ctx context.Context) error {
	var lc net.ListenConfig
	for _, p := range n.cfg.Portals {
		l, err := lc.Listen(ctx, "tcp", p.Listen)
		if err != nil {
			n.unbind()
			return portalErr(p.Listen, err)
		}
		n.listeners = append(n.listeners, l)
	}
	return nil
}

// portalErr is the error of an address that can't be listened on.
func portalErr(addr string, err error) error {
	what, advice := portalProblem(addr, err)
	return san.Errorf(san.ErrRefused, "portal %s: %s; %s", addr, what, advice)
}

// portalProblem says why an address can't be listened on, and what to do.
func portalProblem(addr string, err error) (what, advice string) {
	host, port, _ := net.SplitHostPort(addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "the port is taken by another process", fmt.Sprintf("find it with 'ss -tlnp sport = :%s', stop it or choose another port", port)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "this machine has no address " + host, "'ip addr' shows those it has: choose one of them"
	case errors.Is(err, syscall.EACCES):
		return "ports below 1024 need more rights", "run as root or choose a higher one, such as 3260"
	}
	return err.Error(), "choose another address"
}

func (n *Node) unbind() {
	for _, l := range n.listeners {
		l.Close()
	}
	n.listeners = nil
}

// ttlWait is how long a start waits for others that count heartbeats otherwise:
// where all were stopped, and start to count anew, one whose end could not be
// noted has to be there, and its member of the metadata needs this one's.
const (
	ttlWait  = 10 * time.Second
	ttlAgain = 200 * time.Millisecond
)

// register writes what the node serves on into the metadata, and learns the
// ids of its portals.
func (n *Node) register(ctx context.Context) error {
	end := time.Now().Add(ttlWait)
	var refused error
	for {
		err := n.registerNow(ctx)
		if err != nil && refused != nil && ctx.Err() != nil {
			return refused // and not that there was no time for one more try
		}
		if !errors.As(err, new(*meta.TTLError)) || time.Now().After(end) || !pause.For(ctx, ttlAgain) {
			return err
		}
		said := refused != nil
		refused = err
		if !said {
			n.cfg.Log.Warn("this gateway can't register now; it waits for the others", "time", ttlWait, "error", err)
		}
	}
}

func (n *Node) registerNow(ctx context.Context) error {
	return n.meta.Ensure(ctx, func(tx *meta.Tx) error {
		g := &meta.Gateway{
			Name: n.cfg.Name, Started: n.started, Version: n.cfg.Version, Node: n.id,
		}
		for i, p := range n.cfg.Portals {
			listen := n.listeners[i].Addr().String()
			advertise := p.Advertise
			if advertise == "" {
				advertise = listen
			}
			g.Portals = append(g.Portals, meta.Portal{Name: p.Name, Listen: listen, Advertise: advertise})
		}
		if n.member != nil {
			if err := n.checkMachines(tx); err != nil {
				return err
			}
			if err := n.shareTTL(tx); err != nil {
				return err
			}
			g.Relay, g.Manage = n.member.reached()
			g.Machine = n.machine
			g.Links.Oldest, g.Links.Newest = relay.Versions()
			if n.cfg.Cluster.Through {
				g.Capabilities = append(g.Capabilities, throughMark)
			}
			if len(n.cfg.Cluster.Fence) > 0 {
				g.Capabilities = append(g.Capabilities, meta.FenceCommand)
			}
		}
		if err := tx.Register(g); err != nil {
			return err
		}
		n.gateway = g
		return nil
	})
}

// shareTTL refuses heartbeats that count for another time than those of the
// other gateways. Those of a process that has the metadata for itself need none.
func (n *Node) shareTTL(tx *meta.Tx) error {
	if n.cfg.Cluster.TTL == 0 {
		return nil
	}
	return tx.ShareTTL(n.cfg.Name, n.cfg.Cluster.TTL)
}

// registerAgain registers the gateway where it was removed since: its process
// went on, and begins anew as another member.
func (n *Node) registerAgain(ctx context.Context) error {
	return n.meta.Ensure(ctx, func(tx *meta.Tx) error {
		if err := n.shareTTL(tx); err != nil {
			return err
		}
		_, err := tx.Gateway(n.cfg.Name)
		if !errors.Is(err, san.ErrNotFound) {
			return err
		}
		g := *n.gateway
		g.Portals = slices.Clone(g.Portals)
		return tx.Register(&g)
	})
}

// Portals returns the portals of the node, in the order of its configuration.
func (n *Node) Portals() (all []meta.Portal) {
	for _, g := range n.gateways() {
		all = append(all, g.gateway.Portals...)
	}
	return all
}
