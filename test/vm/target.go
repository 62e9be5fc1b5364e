package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"

	"sango/test/harness"
)

// The guest's initiator and the accounts of both sides.
const (
	initiator    = "iqn.2026-11.example:guest"
	chapUser     = "guest"
	chapSecret   = "guest-secret-16b"
	mutualUser   = "gateway"
	mutualSecret = "gateway-secret16"
)

// target is a gateway with a target of its own for which the guest is a known host.
type target struct{ *gateway }

const vmTarget = "iqn.2026-11.example:vm"

// freePort finds a port of the loopback that is free now. The guest sees the loopback at other addresses, which have to
// be given to the demo before it has opened its ports.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

func startTarget(ctx context.Context, sango string) (*target, error) {
	p1, err := freePort()
	if err != nil {
		return nil, err
	}
	p2, err := freePort()
	if err != nil {
		return nil, err
	}
	g, err := startGateway(ctx, harness.DemoOptions{
		Binary:    sango,
		Portals:   []string{"127.0.0.1:" + p1, "127.0.0.1:" + p2},
		Advertise: []string{"10.0.2.2:" + p1, "10.0.3.2:" + p2},
		Volumes:   []string{"files=512M", "data=512M,block=4096", "scratch=64M", "other=64M"},
	})
	if err != nil {
		return nil, err
	}
	t := &target{g}
	if err := t.configure(ctx); err != nil {
		return nil, errors.Join(err, t.close())
	}
	return t, nil
}

// env is what the guest's scenario has to know.
func (t *target) env() []string {
	port := func(i int) string {
		_, p, _ := strings.Cut(t.demo.Ready.Portals[i], ":")
		return p
	}
	return []string{
		"TARGET=" + vmTarget,
		"INITIATOR=" + initiator,
		"PORTAL1=10.0.2.2:" + port(0),
		"PORTAL2=10.0.3.2:" + port(1),
		"CHAP_ALGS=SHA256",
		"CHAP_USER=" + chapUser,
		"CHAP_SECRET=" + chapSecret,
		"CHAP_USER_IN=" + mutualUser,
		"CHAP_SECRET_IN=" + mutualSecret,
		"GROWN=768M",
	}
}

// configure makes the target, and the host that may use it with CHAP in both directions.
func (t *target) configure(ctx context.Context) error {
	secret, err := t.secret("guest", chapSecret)
	if err != nil {
		return err
	}
	mutual, err := t.secret("gateway", mutualSecret)
	if err != nil {
		return err
	}
	for _, args := range [][]string{
		{"target", "create", vmTarget},
		{"target", "map", vmTarget, "files", "--lun", "0"},
		{"target", "map", vmTarget, "data", "--lun", "1"},
		{"target", "map", vmTarget, "scratch", "--lun", "2"},
		{"target", "map", vmTarget, "other", "--lun", "3"},
		{
			"host", "create", "guest", "--iqn", initiator, "--chap-user", chapUser, "--chap-secret-file", secret,
			"--mutual-user", mutualUser, "--mutual-secret-file", mutual,
		},
		{"host", "allow", "guest", vmTarget},
	} {
		if _, err := t.cli(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

// secret writes a secret to a file and returns its name.
func (t *target) secret(name, value string) (string, error) {
	file := filepath.Join(t.dir, name)
	return file, os.WriteFile(file, []byte(value+"\n"), 0o600)
}
