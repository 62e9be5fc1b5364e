package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

	"sango/internal/meta"
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

// register writes what the node serves on into the metadata, and learns the
// ids of its portals.
func (n *Node) register(ctx context.Context) error {
	return n.meta.Ensure(ctx, func(tx *meta.Tx) error {
		g := &meta.Gateway{
			Name: n.cfg.Name, Started: n.started, Version: n.cfg.Version, Incarnation: n.claimed.Incarnation, State: meta.GatewayServing,
		}
		for i, p := range n.cfg.Portals {
			listen := n.listeners[i].Addr().String()
			advertise := p.Advertise
			if advertise == "" {
				advertise = listen
			}
			g.Portals = append(g.Portals, meta.Portal{Name: p.Name, Listen: listen, Advertise: advertise})
		}
		if err := tx.Register(g); err != nil {
			return err
		}
		n.gateway = g
		return nil
	})
}

// Portals returns the portals of the node, in the order of its configuration.
func (n *Node) Portals() []meta.Portal { return n.gateway.Portals }
