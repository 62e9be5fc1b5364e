package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"sango/test/harness"
)

// portals is a demo with two portals, behind a proxy each that can make trouble.
type portals struct {
	sango   string
	dir     string
	demo    *harness.Demo
	proxies []*harness.Proxy
}

func startPortals(ctx context.Context, sango string, volumes ...string) (_ *portals, err error) {
	dir, err := os.MkdirTemp("", "vm")
	if err != nil {
		return nil, err
	}
	p := &portals{sango: sango, dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	p.demo, err = harness.StartDemo(ctx, harness.DemoOptions{Binary: sango, Dir: dir, Volumes: volumes})
	if err != nil {
		return nil, err
	}
	for _, addr := range p.demo.Ready.Portals {
		x, err := harness.NewProxy(addr)
		if err != nil {
			return nil, err
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

func (p *portals) cli(ctx context.Context, args ...string) (string, error) {
	return harness.Run(ctx, 2*time.Minute, p.sango, append(args, "--dir", p.demo.Dir())...)
}

// do does what the guest asks for: "cut 1" and so on, "grow VOLUME SIZE", and the death and return of the target.
func (p *portals) do(ctx context.Context, verb string, args []string) (string, error) {
	switch {
	case verb == "grow" && len(args) == 2:
		return p.cli(ctx, "volume", "resize", args[0], "--size", args[1])
	case verb == "kill" && len(args) == 0:
		p.demo.Kill()
		return "", nil
	case verb == "start" && len(args) == 0:
		d, err := p.demo.Restart(ctx)
		if err == nil {
			p.demo = d
		}
		return "", err
	}
	if len(args) != 1 {
		return "", fmt.Errorf("the guest may not ask for %s %v", verb, args)
	}
	i, err := strconv.Atoi(args[0])
	if err != nil || i < 1 || i > len(p.proxies) {
		return "", fmt.Errorf("there is no portal %s", args[0])
	}
	x := p.proxies[i-1]
	switch verb {
	case "cut":
		x.Cut()
	case "refuse":
		x.Refuse()
	case "accept":
		return "", x.Accept()
	default:
		return "", fmt.Errorf("the guest may not ask for %s %v", verb, args)
	}
	return "", nil
}

func (p *portals) close() error {
	for _, x := range p.proxies {
		x.Close()
	}
	var err error
	if p.demo != nil {
		err = p.demo.Stop()
	}
	return errors.Join(err, os.RemoveAll(p.dir))
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
