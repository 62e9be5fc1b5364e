package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"sango/test/harness"
)

// together is three gateways that serve the same volumes to the guest.
type together struct {
	*harness.Cluster
	dir string
	log *os.File // what the gateways write
}

const clusterTarget = "iqn.2026-11.example:cluster"

// startTogether starts three gateways with these volumes (name and size each), from LUN 0 on. What they write is kept in
// share.
func startTogether(ctx context.Context, sango, share string, volumes ...[]string) (_ *together, err error) {
	dir, err := os.MkdirTemp("", "vm")
	if err != nil {
		return nil, err
	}
	t := &together{dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.close())
		}
	}()
	if t.log, err = os.Create(filepath.Join(share, "gateways.log")); err != nil {
		return nil, err
	}
	if t.Cluster, err = harness.StartCluster(ctx, harness.ClusterOptions{
		Binary: sango, Dir: dir, Gateways: 3, Advertise: "10.0.2.2", Log: t.log,
		Extra: "iscsi: {nop_interval: 500ms, nop_timeout: 2500ms, max_age: 1500ms}\n", // as docs/host.md recommends
	}); err != nil {
		return nil, err
	}
	if _, err := t.Run(ctx, 0, "target", "create", clusterTarget, "--open"); err != nil {
		return nil, err
	}
	for lun, v := range volumes {
		if _, err := t.Run(ctx, 0, "volume", "create", v[0], "--size", v[1]); err != nil {
			return nil, err
		}
		if _, err := t.Run(ctx, 0, "target", "map", clusterTarget, v[0], "--lun", strconv.Itoa(lun)); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// prepareCluster serves volumes by three gateways.
func prepareCluster(ctx context.Context, o options, share string) (*outside, error) {
	t, err := startTogether(ctx, o.sango, share, []string{"files", "256M"}, []string{"reserved", "64M"})
	if err != nil {
		return nil, err
	}
	env := []string{"TARGET=" + clusterTarget, "INITIATOR=" + initiator}
	for i, p := range t.Portals {
		env = append(env, fmt.Sprintf("PORTAL%d=%s", i+1, p))
	}
	return &outside{env: env, do: t.do, close: t.close}, nil
}

// do does what the guest asks for. Gateways are numbered from 1 on, as they are named.
func (t *together) do(ctx context.Context, verb string, args []string) (string, error) {
	if verb == "whole" {
		return "", t.AwaitWhole(ctx)
	}
	if verb == "owner" && len(args) == 1 {
		o, err := t.AwaitOwner(ctx, args[0])
		return strconv.Itoa(o + 1), err
	}
	if len(args) == 0 {
		return "", fmt.Errorf("the guest may not ask for %s", verb)
	}
	i, err := strconv.Atoi(args[0])
	if err != nil || i < 1 || i > len(t.Portals) {
		return "", fmt.Errorf("there is no gateway %s", args[0])
	}
	i--
	other := (i + 1) % len(t.Portals)
	switch verb {
	case "kill":
		t.Kill(i)
		return "", nil
	case "start":
		return "", t.Start(i)
	case "stop":
		return "", t.Stop(i)
	case "continue":
		return "", t.Continue(i)
	case "drain", "undrain":
		return t.Run(ctx, other, "gateway", verb, fmt.Sprint("gw", i+1))
	case "move":
		if len(args) == 2 {
			return "", t.Move(ctx, args[1], i)
		}
	case "rival":
		if len(args) == 2 {
			return t.rival(ctx, i, args[1])
		}
	}
	return "", fmt.Errorf("the guest may not ask for %s %s", verb, strings.Join(args, " "))
}

func (t *together) close() error {
	if t.Cluster != nil {
		t.Close()
	}
	var err error
	if t.log != nil {
		err = t.log.Close()
	}
	return errors.Join(err, os.RemoveAll(t.dir))
}
