package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"sango/internal/api"
	"sango/internal/meta"
	"sango/internal/target"
)

// metaName is the directory of the metadata in the node's.
const metaName = "meta"

// Node is one running node.
type Node struct {
	cfg       Config
	lock      *Lock
	listeners []net.Listener
	meta      *meta.Store
	disks     *disks
	view      *view
	server    *target.Server
	api       *api.Server
	gateway   *meta.Gateway
	claimed   *meta.Claim
	clock     clockWatch
	boots     boots
	started   time.Time
	draining  atomic.Bool
	merging   sync.Map // san.UUID → name of the snapshot that was deleted last

	lean    *lean              // until it serves
	cancel  context.CancelFunc // ends what runs until Stop
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
	n := &Node{cfg: cfg, started: time.Now().UTC(), failed: make(chan error, 4)}
	n.clock.log = cfg.Log
	if n.boots, err = thisBoot(); err != nil {
		cfg.Log.Warn("hosts can't be told when this machine has lost what they had not flushed", "error", err)
	}
	n.view = newView(n)
	var undo []func()
	n.lean = newLean()
	defer func() {
		if err != nil {
			n.lean.end()
			for i := len(undo) - 1; i >= 0; i-- {
				undo[i]()
			}
		}
	}()
	if n.lock, err = TakeLock(cfg.Dir); err != nil {
		return nil, err
	}
	undo = append(undo, n.lock.Release)
	if err = n.bind(ctx); err != nil {
		return nil, err
	}
	undo = append(undo, n.unbind)
	if n.meta, err = meta.Open(ctx, filepath.Join(cfg.Dir, metaName), cfg.metaOptions()); err != nil {
		return nil, err
	}
	undo = append(undo, n.meta.Close)
	if cfg.Demo {
		if err = n.checkDemo(ctx); err != nil {
			return nil, err
		}
	}
	if err = n.claim(ctx); err != nil {
		return nil, err
	}
	if n.disks, err = openDisks(&n.cfg); err != nil {
		return nil, err
	}
	undo = append(undo, func() { n.disks.close() })
	if err = n.settle(ctx); err != nil {
		return nil, err
	}
	if err = n.register(ctx); err != nil {
		return nil, err
	}
	if n.server, err = target.New(n.cfg.iscsi(), directory{n.view}); err != nil {
		return nil, err
	}
	snap, err := n.meta.Load(ctx)
	if err != nil {
		return nil, err
	}
	if n.view.early, err = n.meta.Units(ctx); err != nil {
		return nil, err
	}
	n.view.replace(snap)
	n.view.early = nil
	undo = append(undo, n.view.close)
	l, err := api.Listen(cfg.Dir)
	if err != nil {
		return nil, err
	}
	n.api = api.NewServer(n)
	run, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	n.goes("management", func() error { return n.api.Serve(l) })
	n.goes("metadata", func() error { return n.view.follow(run, n.meta, snap.Revision) })
	n.goes("metadata", func() error { return n.meta.Wait(run) })
	n.running.Go(func() { n.clock.run(run) })
	return n, nil
}

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
	for i, l := range n.listeners {
		p := n.gateway.Portals[i]
		n.goes("portal "+p.Listen, func() error { return n.server.Serve(l, p.TPG) })
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
func (n *Node) Sync(ctx context.Context) error {
	rev, err := n.meta.Current(ctx)
	if err != nil {
		return err
	}
	return n.view.wait(ctx, rev)
}

// Stop ends the node: initiators are asked to log out and dropped if they do
// not, everything is flushed and closed. When ctx is done before that, what is
// left is cut off; nothing acknowledged is lost either way.
func (n *Node) Stop(ctx context.Context) error {
	n.lean.end()
	n.draining.Store(true)
	var errs []error
	n.drain(ctx)
	errs = append(errs, n.server.Close())
	n.api.Shutdown(ctx)
	n.cancel()
	n.running.Wait()
	n.view.close()
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
