package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"

	"sango/test/harness"
)

// portals is a gateway with two portals, behind a proxy each that can make trouble.
type portals struct {
	*gateway
	proxies []*harness.Proxy
}

func startPortals(ctx context.Context, sango string, volumes ...string) (*portals, error) {
	g, err := startGateway(ctx, harness.DemoOptions{Binary: sango, Volumes: volumes})
	if err != nil {
		return nil, err
	}
	p := &portals{gateway: g}
	for _, addr := range g.demo.Ready.Portals {
		x, err := harness.NewProxy(addr)
		if err != nil {
			return nil, errors.Join(err, p.close())
		}
		p.proxies = append(p.proxies, x)
	}
	return p, nil
}

// addr is where portal i can be reached, on host.
func (p *portals) addr(i int, host string) string {
	_, port, _ := net.SplitHostPort(p.proxies[i].Addr())
	return net.JoinHostPort(host, port)
}

// do does what the guest asks for: "cut 1" and so on of a portal, and what every gateway does.
func (p *portals) do(ctx context.Context, verb string, args []string) (string, error) {
	act := map[string]func(*harness.Proxy) error{
		"cut":    func(x *harness.Proxy) error { x.Cut(); return nil },
		"refuse": func(x *harness.Proxy) error { x.Refuse(); return nil },
		"accept": (*harness.Proxy).Accept,
	}[verb]
	if act == nil || len(args) != 1 {
		return p.gateway.do(ctx, verb, args)
	}
	i, err := strconv.Atoi(args[0])
	if err != nil || i < 1 || i > len(p.proxies) {
		return "", fmt.Errorf("there is no portal %s", args[0])
	}
	return "", act(p.proxies[i-1])
}

func (p *portals) close() error {
	for _, x := range p.proxies {
		x.Close()
	}
	return p.gateway.close()
}

// preparePortals serves two volumes to the sango attach of the guest.
func preparePortals(ctx context.Context, o options, share string) (*outside, error) {
	if err := buildStatic(ctx, "./cmd/sango", filepath.Join(share, "sango")); err != nil {
		return nil, err
	}
	p, err := startPortals(ctx, o.sango, "files=512M", "data=512M,block=4096")
	if err != nil {
		return nil, err
	}
	env := []string{
		"TARGET=" + p.demo.Ready.Target,
		"PORTAL1=" + p.addr(0, "10.0.2.2"),
		"PORTAL2=" + p.addr(1, "10.0.3.2"),
		"GROWN=768M",
	}
	return &outside{env: env, do: p.do, close: p.close}, nil
}

// prepareManyCPUs is preparePortals with a processor for each connection of an NBD disk: the driver has no more queues
// than processors, and uses the other connections only when these die.
func prepareManyCPUs(ctx context.Context, o options, share string) (*outside, error) {
	out, err := preparePortals(ctx, o, share)
	if err == nil {
		out.qemu = []string{"-smp", "4"}
	}
	return out, err
}
