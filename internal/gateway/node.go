package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sango/internal/api"
	"sango/internal/meta"
	"sango/internal/san"
	"sango/internal/target"
)

// metaName is the directory of the metadata in the node's.
const metaName = "meta"

// Node is one gateway that runs. A process has one; that of a demo has one for
// each portal, of which the first has the others and does the management.
type Node struct {
	*common
	cfg       Config
	listeners []net.Listener
	view      *view
	server    *target.Server
	gateway   *meta.Gateway
	member    *member // of a cluster; nil: it serves alone
	draining  atomic.Bool
	beside    []*Node // the others of this process
}

// common is what the gateways of a process share.
type common struct {
	lock    *Lock
	id      san.UUID // of the directory
	machine san.UUID // that it runs on
	meta    *meta.Store
	disks   *disks
	api     *api.Server
	claimed *meta.Claim // nil: it does not serve alone
	clock   clockWatch
	boots   boots
	started time.Time
	merging sync.Map // san.UUID → name of the snapshot that was deleted last

	lean    *lean              // until it serves
	cancel  context.CancelFunc // ends what runs until Stop
	run     context.Context    // which is done then
	running sync.WaitGroup
	failed  chan error // what ended without being asked to
}

var _ api.Node = (*Node)(nil)

// Open brings a node up to the point where it can be managed: directory,
// metadata, volumes, management socket, and portals that are bound but let
// nobody in yet. Serve does that. ctx bounds the start only.
func Open(ctx context.Context, cfg Config) (_ *Node, err error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	c := &common{started: time.Now().UTC(), failed: make(chan error, 4), lean: newLean()}
	c.run, c.cancel = context.WithCancel(context.Background())
	c.clock.log = cfg.Log
	if c.boots, err = thisBoot(); err != nil {
		cfg.Log.Warn("hosts can't be told when this machine has lost what they had not flushed", "error", err)
	}
	undo := []func(){c.cancel, c.lean.end}
	defer func() {
		if err != nil {
			for _, f := range slices.Backward(undo) {
				f()
			}
		}
	}()
	if c.lock, err = TakeLock(cfg.Dir); err != nil {
		return nil, err
	}
	undo = append(undo, c.lock.Release)
	var all []*Node
	for _, cfg := range cfg.each() {
		n := &Node{common: c, cfg: cfg}
		n.view = newView(n)
		all = append(all, n)
		if err = n.bind(ctx); err != nil {
			return nil, err
		}
		undo = append(undo, n.unbind)
	}
	n := all[0]
	n.beside = all[1:]
	o := cfg.sharing()
	o.Waits = c.lock.Note
	if c.meta, err = meta.Open(ctx, filepath.Join(cfg.Dir, metaName), o); err != nil {
		return nil, err
	}
	undo = append(undo, c.meta.Close)
	if cfg.Demo {
		if err = n.checkDemo(ctx); err != nil {
			return nil, err
		}
	}
	if c.id, err = nodeID(cfg.Dir); err != nil {
		return nil, err
	}
	c.machine = thisMachine(c.boots.machine)
	if c.disks, err = openDisks(&cfg); err != nil {
		return nil, err
	}
	undo = append(undo, func() { c.disks.close() })
	if err = noteVolumes(&cfg); err != nil {
		return nil, err
	}
	if cfg.clustered() {
		err = n.join(ctx)
	} else {
		err = n.claim(ctx)
	}
	if err != nil {
		return nil, err
	}
	if err = n.settle(ctx); err != nil {
		return nil, err
	}
	for _, n := range all {
		undo = append(undo, n.end)
		if err = n.open(ctx); err != nil {
			return nil, err
		}
	}
	l, err := api.Listen(cfg.Dir)
	if err != nil {
		return nil, err
	}
	c.api = api.NewServer(n)
	n.goes("management", func() error { return c.api.Serve(l) })
	for _, n := range all {
		n.follow()
	}
	n.goes("metadata", func() error { return c.meta.Wait(c.run) })
	c.running.Go(func() { c.clock.run(c.run) })
	return n, nil
}

// open registers one gateway, and makes what it serves.
func (n *Node) open(ctx context.Context) (err error) {
	if n.cfg.clustered() {
		if n.member, err = newMember(ctx, n); err != nil {
			return err
		}
	}
	if err := n.register(ctx); err != nil {
		return err
	}
	cfg := n.cfg.iscsi()
	if n.member != nil {
		cfg.Fence = n.member.fence
	}
	if n.server, err = target.New(cfg, directory{n.view}); err != nil {
		return err
	}
	if n.member != nil {
		if err := n.member.open(ctx); err != nil {
			return err
		}
	}
	snap, err := n.meta.Load(ctx)
	if err != nil {
		return err
	}
	if n.member == nil {
		if n.view.early, err = n.meta.Units(ctx); err != nil {
			return err
		}
	}
	n.view.replace(snap)
	n.view.early = nil
	return nil
}

// end ends what open has begun.
func (n *Node) end() {
	if n.member != nil {
		n.member.close()
	}
	n.view.close()
}

// follow keeps up with the metadata.
func (n *Node) follow() {
	revision := n.view.applied()
	n.goes("metadata", func() error { return n.view.follow(n.run, n.meta, revision) })
	if n.member != nil {
		n.member.start()
	}
}

// gateways returns all gateways of the process.
func (n *Node) gateways() []*Node { return append([]*Node{n}, n.beside...) }

// goes runs f until the node stops; what it returns before is a failure of
// the node.
func (n *Node) goes(what string, f func() error) {
	n.running.Go(func() {
		if err := f(); err != nil {
			select {
			case n.failed <- fmt.Errorf("%s: %w", what, err):
			default:
			}
		}
	})
}

// Serve lets initiators in on all portals. It returns at once.
func (n *Node) Serve() {
	for _, g := range n.gateways() {
		for i, l := range g.listeners {
			p := g.gateway.Portals[i]
			n.goes("portal "+p.Listen, func() error { return g.server.Serve(l, p.TPG) })
		}
	}
	n.running.Go(n.lean.end)
}

// Failed tells when a part of the node has ended without being asked to.
func (n *Node) Failed() <-chan error { return n.failed }

// Meta implements api.Node.
func (n *Node) Meta() *meta.Store { return n.meta }

// Volumes implements api.Node.
func (n *Node) Volumes() api.Volumes { return volumes{n} }

// Sync implements api.Node.
func (n *Node) Sync(ctx context.Context, own int64) error {
	rev, err := n.meta.Current(ctx)
	if err != nil {
		return err
	}
	for _, g := range n.gateways() {
		if err := g.view.wait(ctx, rev, own); err != nil {
			return err
		}
	}
	return nil
}

// Stop ends the node: initiators are asked to log out and dropped if they do
// not, volumes are given to other gateways, everything is flushed and closed.
// When ctx is done before that, what is left is cut off; nothing acknowledged
// is lost either way.
func (n *Node) Stop(ctx context.Context) error {
	n.lean.end()
	all := n.gateways()
	var errs []error
	var stopping sync.WaitGroup
	for _, g := range all {
		g.draining.Store(true)
		stopping.Go(func() { g.drain(ctx) })
	}
	stopping.Wait()
	for _, g := range all {
		if g.member != nil {
			stopping.Go(func() { g.member.leave(ctx) })
		}
	}
	stopping.Wait()
	for _, g := range all {
		errs = append(errs, g.server.Close())
	}
	n.api.Shutdown(ctx)
	for _, g := range all {
		if g.member != nil {
			g.member.close()
		}
	}
	n.cancel()
	n.running.Wait()
	for _, g := range all {
		g.view.close()
	}
	errs = append(errs, n.disks.close())
	n.meta.Close()
	if err := os.Remove(api.SocketPath(n.cfg.Dir)); err != nil && !errors.Is(err, os.ErrNotExist) {
		errs = append(errs, err)
	}
	n.lock.Release()
	return errors.Join(errs...)
}

// drain drains the sessions: their initiators are asked to go.
func (n *Node) drain(ctx context.Context) {
	if err := n.server.Drain(ctx); err != nil {
		n.cfg.Log.Info("not every initiator logged out in time", "error", err)
	}
}
