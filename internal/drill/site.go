package drill

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"connectrpc.com/connect"

	"sango/internal/api"
	v1 "sango/internal/api/gen/sango/v1"
	"sango/internal/initiator"
	"sango/internal/san"
)

// The names of what is made.
const (
	targetName = "iqn.2026-11.io.sango:drill"
	hostName   = "iqn.2026-11.io.sango:drill-host"
	volumeName = "disk"
)

// site is the gateways, and their directories.
type site struct {
	gateways []*process
}

// open starts n gateways below dir, whose metadata has a member in each, and
// waits until they agree.
func (s *site) open(ctx context.Context, program, dir string, n int) error {
	peers, err := freePorts(n)
	if err != nil {
		return err
	}
	var members []string
	for i, p := range peers {
		members = append(members, fmt.Sprintf("gw%d=%s", i+1, p))
	}
	for i, peer := range peers {
		name := fmt.Sprint("gw", i+1)
		own := filepath.Join(dir, name)
		if err := os.Mkdir(own, 0o700); err != nil {
			return err
		}
		text := fmt.Sprintf("name: %s\ndir: %s\nlog: warn\nportals: [{name: %s, listen: \"127.0.0.1:0\"}]\nvolumes: %s\ncluster: {peer: \"%s\", members: [%s], tick: 50ms, election: 500ms}\n",
			name, own, name, filepath.Join(dir, "volumes"), peer, strings.Join(members, ", "))
		if err := os.WriteFile(filepath.Join(own, "config.yaml"), []byte(text), 0o600); err != nil {
			return err
		}
		p, err := start(program, name, own)
		if err != nil {
			return err
		}
		s.gateways = append(s.gateways, p)
	}
	return s.await(ctx, func(c *v1.Cluster) bool {
		alive := 0
		for _, g := range c.GetGateways() {
			if g.GetState() == "serving" && len(g.GetPortals()) > 0 {
				alive++
			}
		}
		return alive == n && c.GetCoordinator() != ""
	})
}

// freePorts returns addresses of this machine that nobody uses.
func freePorts(n int) (list []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		list = append(list, l.Addr().String())
	}
	return list, nil
}

// await waits until every gateway that runs says what ok wants.
func (s *site) await(ctx context.Context, ok func(*v1.Cluster) bool) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, p := range s.gateways {
		if p.ended() {
			continue
		}
		for {
			c, err := status(ctx, p.dir)
			if err == nil && ok(c) {
				break
			}
			select {
			case <-p.done:
				return fmt.Errorf("gateway %s ended by itself; it said:\n%s", p.name, &p.log)
			case <-ctx.Done():
				return fmt.Errorf("gateway %s does not serve: %w; it said:\n%s", p.name, errors.Join(err, ctx.Err()), &p.log)
			case <-time.After(pollTime):
			}
		}
	}
	return nil
}

const pollTime = 20 * time.Millisecond

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// status asks the gateway in dir how the cluster is.
func status(ctx context.Context, dir string) (*v1.Cluster, error) {
	cl := api.NewClient(dir)
	defer cl.Close()
	r, err := cl.GetStatus(ctx, connect.NewRequest(&v1.GetStatusRequest{}))
	if err != nil {
		return nil, err
	}
	if r.Msg.GetCluster() == nil {
		return nil, san.Errorf(san.ErrUnavailable, "it is no member yet")
	}
	return r.Msg.GetCluster(), nil
}

// create makes the volume and the target, and waits until the volume is served.
func (s *site) create(ctx context.Context, size int64) error {
	cl := api.NewClient(s.gateways[0].dir)
	defer cl.Close()
	if _, err := cl.CreateVolume(ctx, connect.NewRequest(&v1.CreateVolumeRequest{Spec: &v1.VolumeSpec{Name: volumeName, Size: size}})); err != nil {
		return err
	}
	if _, err := cl.CreateTarget(ctx, connect.NewRequest(&v1.CreateTargetRequest{Name: targetName, Open: true})); err != nil {
		return err
	}
	if _, err := cl.MapVolume(ctx, connect.NewRequest(&v1.MapVolumeRequest{Target: targetName, Volume: volumeName})); err != nil {
		return err
	}
	return s.await(ctx, func(c *v1.Cluster) bool { return ownership(c).GetState() == "active" })
}

// ownership is who serves the volume.
func ownership(c *v1.Cluster) *v1.Ownership {
	for _, o := range c.GetVolumes() {
		if o.GetVolume() == volumeName {
			return o
		}
	}
	return nil
}

// urls are the paths of a host: one to each gateway.
func urls(c *v1.Cluster) (list []initiator.URL) {
	for _, g := range c.GetGateways() {
		for _, p := range g.GetPortals() {
			list = append(list, initiator.URL{Host: p.GetAdvertise(), Target: targetName})
		}
	}
	return list
}

// gateway returns the process of that name.
func (s *site) gateway(name string) *process {
	for _, p := range s.gateways {
		if p.name == name {
			return p
		}
	}
	return nil
}

// close ends all gateways.
func (s *site) close() {
	for _, p := range s.gateways {
		p.kill()
	}
}
