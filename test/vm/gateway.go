package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"sango/test/harness"
)

// gateway is a sango demo that the guest uses, on a directory of its own.
type gateway struct {
	sango string
	dir   string
	demo  *harness.Demo
}

// startGateway starts a demo as o says, but for the directory.
func startGateway(ctx context.Context, o harness.DemoOptions) (*gateway, error) {
	dir, err := os.MkdirTemp("", "vm")
	if err != nil {
		return nil, err
	}
	o.Dir = dir
	g := &gateway{sango: o.Binary, dir: dir}
	if g.demo, err = harness.StartDemo(ctx, o); err != nil {
		return nil, errors.Join(err, g.close())
	}
	return g, nil
}

func (g *gateway) cli(ctx context.Context, args ...string) (string, error) {
	return harness.Run(ctx, 2*time.Minute, g.sango, append(args, "--dir", g.demo.Dir())...)
}

// do does what the guest may ask of every gateway: to die ("kill") and to come back ("start"), and "grow VOLUME SIZE".
func (g *gateway) do(ctx context.Context, verb string, args []string) (string, error) {
	switch {
	case verb == "kill" && len(args) == 0:
		g.demo.Kill()
		return "", nil
	case verb == "start" && len(args) == 0:
		d, err := g.demo.Restart(ctx)
		if err == nil {
			g.demo = d
		}
		return "", err
	case verb == "grow" && len(args) == 2:
		return g.cli(ctx, "volume", "resize", args[0], "--size", args[1])
	}
	return "", fmt.Errorf("the guest may not ask for %s %v", verb, args)
}

func (g *gateway) close() error {
	var err error
	if g.demo != nil {
		err = g.demo.Stop()
	}
	return errors.Join(err, os.RemoveAll(g.dir))
}
