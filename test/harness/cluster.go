package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"connectrpc.com/connect"

	"sango/internal/api"
	v1 "sango/internal/api/gen/sango/v1"
)

// ClusterOptions say what gateways to start.
type ClusterOptions struct {
	Binary   string
	Dir      string // for everything
	Gateways int
	// Advertise, unless empty, is the address that hosts are told in place of the
	// loopback.
	Advertise string
	Extra     string // more configuration of each
	// Log, unless nil, gets what they write, line by line.
	Log io.Writer
}

// Cluster is gateways of this machine that serve together, gw1 and so on, each with one portal and a copy of the
// metadata. One that another gateway kills is started again, as a supervisor would.
type Cluster struct {
	o        ClusterOptions
	Portals  []string // what hosts are told
	Listen   []string
	gateways []*member
}

type member struct {
	name, dir string
	binary    string
	out       *tail

	mu     sync.Mutex // guards what follows
	cmd    *exec.Cmd
	done   chan struct{}
	wanted bool // it is to run
}

// FreePorts returns addresses of the loopback that nobody uses now.
func FreePorts(n int) (list []string, err error) {
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

// StartCluster starts the gateways and returns when they agree.
func StartCluster(ctx context.Context, o ClusterOptions) (_ *Cluster, err error) {
	ports, err := FreePorts(2 * o.Gateways)
	if err != nil {
		return nil, err
	}
	c := &Cluster{o: o}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	peers := ports[o.Gateways:]
	var members []string
	for i, p := range peers {
		members = append(members, fmt.Sprintf("gw%d=%s", i+1, p))
	}
	for i := range o.Gateways {
		_, port, _ := net.SplitHostPort(ports[i])
		told := ports[i]
		if o.Advertise != "" {
			told = net.JoinHostPort(o.Advertise, port)
		}
		c.Portals, c.Listen = append(c.Portals, told), append(c.Listen, ports[i])
		m := &member{name: fmt.Sprint("gw", i+1), binary: o.Binary, out: &tail{also: o.Log}}
		m.dir = filepath.Join(o.Dir, m.name)
		if err := os.MkdirAll(m.dir, 0o700); err != nil {
			return nil, err
		}
		text := fmt.Sprintf("name: %s\ndir: %s\nlog: info\nportals: [{name: %s, listen: \"%s\", advertise: \"%s\"}]\nvolumes: %s\ncluster: {peer: \"%s\", members: [%s], tick: 50ms, election: 500ms}\n%s",
			m.name, m.dir, m.name, ports[i], told, filepath.Join(o.Dir, "volumes"), peers[i], strings.Join(members, ", "), o.Extra)
		if err := os.WriteFile(filepath.Join(m.dir, "config.yaml"), []byte(text), 0o600); err != nil {
			return nil, err
		}
		c.gateways = append(c.gateways, m)
		if err := m.start(); err != nil {
			return nil, err
		}
	}
	return c, c.AwaitWhole(ctx)
}

func (m *member) start() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wanted = true
	return m.startLocked()
}

func (m *member) startLocked() error {
	_ = os.Remove(filepath.Join(m.dir, "api.sock")) // of the process before; it may not be there
	cmd, done := exec.Command(m.binary, "gateway", "run", "--config", filepath.Join(m.dir, "config.yaml")), make(chan struct{})
	cmd.Stdout, cmd.Stderr = m.out, m.out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("gateway %s: %w", m.name, err)
	}
	m.cmd, m.done = cmd, done
	go func() {
		_ = cmd.Wait() // how it ended shows in what it wrote
		close(done)
		time.AfterFunc(time.Second, func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			w, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
			if m.cmd == cmd && m.wanted && ok && w.Signaled() && w.Signal() == syscall.SIGKILL {
				if err := m.startLocked(); err != nil {
					fmt.Fprintln(m.out, err)
				}
			}
		})
	}()
	return nil
}

func (m *member) kill() {
	m.mu.Lock()
	m.wanted = false
	cmd, done := m.cmd, m.done
	m.mu.Unlock()
	if cmd != nil {
		_ = cmd.Process.Kill() // it may have ended
		<-done
	}
}

func (m *member) signal(s os.Signal) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	err := m.cmd.Process.Signal(s)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// Kill ends gateway i (from 0 on) at once; Start starts it again.
func (c *Cluster) Kill(i int) { c.gateways[i].kill() }

// Start starts gateway i again, which was killed.
func (c *Cluster) Start(i int) error { return c.gateways[i].start() }

// Stop stops the process of gateway i as it is, until Continue.
func (c *Cluster) Stop(i int) error { return c.gateways[i].signal(syscall.SIGSTOP) }

// Continue ends Stop. Another gateway may have killed it.
func (c *Cluster) Continue(i int) error { return c.gateways[i].signal(syscall.SIGCONT) }

// Run runs a command of the command line on gateway i.
func (c *Cluster) Run(ctx context.Context, i int, args ...string) (string, error) {
	return Run(ctx, time.Minute, c.o.Binary, append(args, "--dir", c.gateways[i].dir)...)
}

// Status is the cluster as gateway i sees it.
func (c *Cluster) Status(ctx context.Context, i int) (*v1.Cluster, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	cl := api.NewClient(c.gateways[i].dir)
	defer cl.Close()
	r, err := cl.GetStatus(ctx, connect.NewRequest(&v1.GetStatusRequest{}))
	if err != nil {
		return nil, err
	}
	if r.Msg.GetCluster() == nil {
		return nil, errors.New("it is no member yet")
	}
	return r.Msg.GetCluster(), nil
}

// Owner returns which gateway serves a volume, as any that answers says; -1: nobody.
func (c *Cluster) Owner(ctx context.Context, volume string) int {
	for i := range c.gateways {
		s, err := c.Status(ctx, i)
		if err != nil {
			continue
		}
		for _, o := range s.GetVolumes() {
			if o.GetVolume() != volume || o.GetState() != "active" {
				continue
			}
			for g, m := range c.gateways {
				if m.name == o.GetOwner() {
					return g
				}
			}
		}
		return -1
	}
	return -1
}

// AwaitOwner waits until a volume has an owner, and returns which.
func (c *Cluster) AwaitOwner(ctx context.Context, volume string) (int, error) {
	owner := -1
	err := Await(ctx, time.Minute, "volume "+volume, func() error {
		if owner = c.Owner(ctx, volume); owner < 0 {
			return errors.New("it has no owner")
		}
		return nil
	})
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, c.Output())
	}
	return owner, err
}

// Epoch returns under which epoch a volume is served, as gateway i says.
func (c *Cluster) Epoch(ctx context.Context, i int, volume string) (uint64, error) {
	s, err := c.Status(ctx, i)
	if err != nil {
		return 0, err
	}
	for _, o := range s.GetVolumes() {
		if o.GetVolume() == volume {
			return o.GetEpoch(), nil
		}
	}
	return 0, fmt.Errorf("gateway %d knows no volume %s", i, volume)
}

// Move has gateway i own a volume.
func (c *Cluster) Move(ctx context.Context, volume string, i int) error {
	cl := api.NewClient(c.gateways[i].dir)
	defer cl.Close()
	_, err := cl.MoveVolume(ctx, connect.NewRequest(&v1.MoveVolumeRequest{Volume: volume, Gateway: c.gateways[i].name}))
	return err
}

// AwaitWhole waits until all gateways serve, and each volume has an owner.
func (c *Cluster) AwaitWhole(ctx context.Context) error {
	err := Await(ctx, 2*time.Minute, "the gateways do not serve together", func() error { return c.whole(ctx) })
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, c.Output())
	}
	return err
}

func (c *Cluster) whole(ctx context.Context) error {
	for i, m := range c.gateways {
		s, err := c.Status(ctx, i)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		alive := 0
		for _, g := range s.GetGateways() {
			if g.GetState() == "serving" {
				alive++
			}
		}
		if alive != len(c.gateways) || s.GetCoordinator() == "" || s.GetMoving() > 0 {
			return fmt.Errorf("%s sees %d gateways that serve, coordinator %q, %d volumes that move", m.name, alive, s.GetCoordinator(), s.GetMoving())
		}
	}
	return nil
}

// Output is the end of what the gateways wrote.
func (c *Cluster) Output() string {
	var b strings.Builder
	for _, m := range c.gateways {
		fmt.Fprintf(&b, "%s said:\n%s\n", m.name, m.out.String())
	}
	return b.String()
}

// Close ends all gateways.
func (c *Cluster) Close() {
	for _, m := range c.gateways {
		m.kill()
	}
}
