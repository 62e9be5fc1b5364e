package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"sango/test/chaos/world"
	"sango/test/harness"
)

const targetName = "iqn.2026-11.io.sango:chaos"

// settings of iSCSI that every gateway has: it notices a lost host after 3 s,
// and executes no command that waited for 1.5 s. The sum is below hostTimeout,
// after which hosts without a fence send a write again (DESIGN R4).
const iscsiSettings = "{nop_interval: 500ms, nop_timeout: 2500ms, max_age: 1500ms, drain_time: 2s}"

// site is the machines of a run, and what runs on them.
type site struct {
	topology
	dir, logs string // for disks, and for what is kept
	sango     string
	etcd      string // etcd's program
	extra     string // for each gateway's configuration
	defaults  bool   // its iSCSI settings are the defaults

	fabric   *world.Fabric
	gateways []*server
	etcds    []*server
	shared   *world.Disk   // of all gateways, or the spare one; nil where there is neither
	disks    []*world.Disk // of the gateways, and the one that they share
	machines []*world.Node // of the hosts
}

// server is a process with a machine and a disk, which can be killed and
// started again.
type server struct {
	name string
	node *world.Node
	disk *world.Disk
	log  *os.File
	args func() (string, []string)
	wait func(ctx context.Context) error // until it serves

	mu     sync.Mutex // guards what follows; held while it starts and ends
	proc   *world.Process
	served *world.Process // the last one that was seen to serve
	over   bool           // nobody starts it again
}

// start starts the server and waits until it serves.
func (s *server) start(ctx context.Context) error {
	if err := s.launch(); err != nil {
		return err
	}
	return s.await(ctx)
}

func (s *server) launch() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.launchLocked()
}

func (s *server) launchLocked() error {
	program, args := s.args()
	p, err := s.node.Start(s.name, s.log, program, args...)
	if err == nil {
		s.proc = p
		go s.revive(p)
	}
	return err
}

// revive starts the server again when another gateway has killed p, or the
// metadata did not answer while it started, as a supervisor would.
func (s *server) revive(p *world.Process) {
	<-p.Done()
	time.AfterFunc(reviveTime, func() {
		if s.launchAfter(p) {
			_ = s.await(context.Background()) // health tells of one that does not serve
		}
	})
}

// launchAfter starts the server where p was the last of its processes, and is to
// be followed by another one.
func (s *server) launchAfter(p *world.Process) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc != p || s.over || !s.revivableLocked(p) {
		return false
	}
	err := s.launchLocked()
	if err != nil {
		fmt.Fprintf(s.log, "it can't be started again: %v\n", err)
	}
	return err == nil
}

// revivable reports whether p has ended in a way after which it is started
// again.
func (s *server) revivable(p *world.Process) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.revivableLocked(p)
}

func (s *server) revivableLocked(p *world.Process) bool {
	return p.Fenced() || s.served != p && p.GaveUp()
}

// reviveTime is after what time a supervisor starts a gateway again.
const reviveTime = time.Second

func (s *server) await(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return harness.Await(ctx, 2*time.Minute, s.name+" does not serve", func() error {
		p := s.process()
		if !s.revivable(p) {
			if err := p.Ended(); err != nil {
				cancel()
				return err
			}
		}
		if err := s.wait(ctx); err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.served = p
		return nil
	})
}

func (s *server) process() *world.Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proc
}

// end keeps it from being started again, and returns its process.
func (s *server) end() *world.Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	return s.proc
}

// kill ends it at once.
func (s *server) kill() { s.process().Kill() }

// The addresses.
func portalAddr(gateway, portal int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 77, 1, byte(10*gateway + portal + 1)})
}

func etcdAddr(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 77, 2, byte(i + 1)}) }

func machineAddr(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 77, 3, byte(i + 1)}) }

// gatewayAddrs returns all addresses of a gateway.
func (s *site) gatewayAddrs(i int) (list []netip.Addr) {
	for p := range s.portals {
		list = append(list, portalAddr(i, p))
	}
	return list
}

func (s *site) etcdAddrs() (list []netip.Addr) {
	for i := range s.topology.etcds {
		list = append(list, etcdAddr(i))
	}
	return list
}

// portalList returns the portals of all gateways.
func (s *site) portalList() (list []string) {
	for g := range s.topology.gateways {
		for _, a := range s.gatewayAddrs(g) {
			list = append(list, a.String()+":3260")
		}
	}
	return list
}

// diskSize is large enough for the volumes that a run fills.
const diskSize = 6 << 30

// build makes machines, disks and servers, and starts nothing.
func (s *site) build(ctx context.Context) error {
	s.fabric = world.NewFabric()
	for i := range s.topology.machines() {
		n, err := world.NewNode(s.fabric, fmt.Sprint("host ", i), machineAddr(i))
		if err != nil {
			return err
		}
		s.machines = append(s.machines, n)
	}
	for i := range s.topology.etcds {
		e, err := s.server(ctx, fmt.Sprint("etcd", i), etcdAddr(i))
		if err != nil {
			return err
		}
		e.args = func() (string, []string) { return s.etcd, s.etcdArgs(i, e.disk.Path) }
		e.wait = func(ctx context.Context) error { return reach(ctx, e.node, etcdAddr(i).String()+":2379") }
		s.etcds = append(s.etcds, e)
	}
	if s.topology.gateways > 1 || s.spare {
		d, err := world.NewDisk(ctx, s.dir, "shared", diskSize)
		if err != nil {
			return err
		}
		s.shared = d
	}
	for i := range s.topology.gateways {
		g, err := s.server(ctx, fmt.Sprint("gateway", i), s.gatewayAddrs(i)...)
		if err != nil {
			return err
		}
		config := filepath.Join(s.dir, g.name, "config.yaml")
		if err := os.WriteFile(config, []byte(s.config(i, g.disk.Path)), 0o600); err != nil {
			return err
		}
		g.args = func() (string, []string) {
			_ = os.Remove(filepath.Join(g.disk.Path, "api.sock")) // of the process before; it may not be there
			return s.sango, []string{"gateway", "run", "--config", config}
		}
		g.wait = func(ctx context.Context) error {
			c, err := net.Dial("unix", filepath.Join(g.disk.Path, "api.sock"))
			if err != nil {
				return err
			}
			return errors.Join(c.Close(), reach(ctx, g.node, portalAddr(i, 0).String()+":3260"))
		}
		s.gateways, s.disks = append(s.gateways, g), append(s.disks, g.disk)
	}
	if s.shared != nil {
		s.disks = append(s.disks, s.shared)
	}
	return nil
}

func (s *site) server(ctx context.Context, name string, addrs ...netip.Addr) (*server, error) {
	n, err := world.NewNode(s.fabric, name, addrs...)
	if err != nil {
		return nil, err
	}
	d, err := world.NewDisk(ctx, s.dir, name, diskSize)
	if err != nil {
		return nil, err
	}
	log, err := os.OpenFile(filepath.Join(s.logs, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	return &server{name: name, node: n, disk: d, log: log}, err
}

// reach connects from n.
func reach(ctx context.Context, n *world.Node, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	c, err := n.Dial(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	return c.Close()
}

// config is the configuration of a gateway.
func (s *site) config(i int, dir string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "name: gw%d\ndir: %s\nlog: info\n", i, dir)
	if !s.defaults {
		fmt.Fprintf(&b, "iscsi: %s\n", iscsiSettings)
	}
	b.WriteString("portals:\n")
	for p := range s.portals {
		fmt.Fprintf(&b, "  - {name: gw%d-p%d, listen: \"%s:3260\"}\n", i, p, portalAddr(i, p))
	}
	if s.topology.etcds > 0 {
		var list []string
		for _, a := range s.etcdAddrs() {
			list = append(list, fmt.Sprintf("\"http://%s:2379\"", a))
		}
		fmt.Fprintf(&b, "etcd: {endpoints: [%s], insecure: true}\n", strings.Join(list, ", "))
	}
	if s.topology.etcds == 0 && s.topology.gateways > 1 {
		var list []string
		for g := range s.topology.gateways {
			list = append(list, fmt.Sprintf("\"gw%d=%s:2380\"", g, portalAddr(g, 0)))
		}
		fmt.Fprintf(&b, "cluster: {peer: \"%s:2380\", members: [%s], insecure: true, tick: 50ms, election: 500ms}\n", portalAddr(i, 0), strings.Join(list, ", "))
	}
	if s.topology.gateways > 1 {
		fmt.Fprintf(&b, "volumes: %s\nrelay: {listen: \"%s:3262\", insecure: true}\n", filepath.Join(s.shared.Path, "volumes"), portalAddr(i, 0))
	}
	b.WriteString(strings.NewReplacer("{i}", fmt.Sprint(i), "{dir}", s.dir).Replace(s.extra))
	return b.String()
}

func (s *site) etcdArgs(i int, dir string) []string {
	var members []string
	for m := range s.topology.etcds {
		members = append(members, fmt.Sprintf("etcd%d=http://%s:2380", m, etcdAddr(m)))
	}
	peer, client := fmt.Sprintf("http://%s:2380", etcdAddr(i)), fmt.Sprintf("http://%s:2379", etcdAddr(i))
	return []string{
		"--name", fmt.Sprint("etcd", i), "--data-dir", filepath.Join(dir, "data"), "--initial-cluster", strings.Join(members, ","),
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--listen-client-urls", client, "--advertise-client-urls", client,
		"--heartbeat-interval", "50", "--election-timeout", "500", "--max-txn-ops", "4096", "--max-request-bytes", "8388608",
		"--logger", "zap", "--log-level", "warn",
	}
}

// start starts everything, and makes target and volumes.
func (s *site) start(ctx context.Context, volumes []*volume) error {
	for _, list := range [][]*server{s.etcds, s.gateways} {
		for _, x := range list { // members of a cluster wait for each other
			if err := x.launch(); err != nil {
				return err
			}
		}
		for _, x := range list {
			if err := x.await(ctx); err != nil {
				return err
			}
		}
	}
	commands := [][]string{{"target", "create", targetName, "--open"}}
	for _, v := range volumes {
		create := []string{"volume", "create", v.name, "--size", fmt.Sprint(v.size), "--block", fmt.Sprint(v.block)}
		if s.spare && v.block == 4096 {
			file := filepath.Join(s.shared.Path, v.name)
			if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Truncate(file, v.size)); err != nil {
				return err
			}
			create = append(create, "--adopt", file)
		}
		commands = append(commands, create,
			[]string{"target", "map", targetName, v.name, "--lun", fmt.Sprint(v.lun)})
	}
	for _, c := range commands {
		if _, err := s.command(ctx, 0, c...); err != nil {
			return err
		}
	}
	return nil
}

// command runs a command on gateway i.
func (s *site) command(ctx context.Context, i int, args ...string) (string, error) {
	return harness.Run(ctx, time.Minute, s.sango, append(args, "--dir", s.gateways[i].disk.Path)...)
}

// health tells what ended that should not have, or wrote that it broke.
func (s *site) health() error {
	var errs []error
	for _, x := range append(append([]*server{}, s.gateways...), s.etcds...) {
		if p := x.process(); p != nil && !x.revivable(p) {
			errs = append(errs, p.Ended())
		}
		b, err := os.ReadFile(x.log.Name())
		errs = append(errs, err)
		for _, word := range []string{"panic:", "fatal error:", "WARNING: DATA RACE", "invariant"} {
			if strings.Contains(string(b), word) {
				errs = append(errs, fmt.Errorf("%s says %q: see %s", x.name, word, x.log.Name()))
			}
		}
	}
	return errors.Join(errs...)
}

// stop ends all servers as an administrator would, and then everything.
func (s *site) stop(polite bool) error {
	var errs []error
	for _, list := range [][]*server{s.gateways, s.etcds} {
		for _, x := range list {
			p := x.end()
			if p == nil {
				continue
			}
			errs = append(errs, x.disk.Thaw(), p.Resume())
			if polite && x.node != nil && strings.HasPrefix(x.name, "gateway") {
				if err := p.Stop(30 * time.Second); err != nil {
					errs = append(errs, err)
				}
			}
			p.Kill()
		}
	}
	return errors.Join(errs...)
}

// close removes the world.
func (s *site) close() error {
	err := s.stop(false)
	s.fabric.Close()
	for _, x := range append(append([]*server{}, s.gateways...), s.etcds...) {
		err = errors.Join(err, x.disk.Close(), x.log.Close())
	}
	if s.shared != nil {
		err = errors.Join(err, s.shared.Close())
	}
	return err
}
