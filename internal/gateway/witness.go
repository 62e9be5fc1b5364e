package gateway

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"

	"sango/internal/api"
	"sango/internal/meta"
	"sango/internal/san"
)

// Witness is a node that keeps a member of the metadata cluster and serves no
// volumes: the third voice of two machines.
type Witness struct {
	cfg     Config
	lock    *Lock
	meta    *meta.Store
	api     *api.Server
	started time.Time
	cancel  context.CancelFunc // ends what runs until Stop
	running sync.WaitGroup
	failed  chan error // what ended without being asked to
}

// OpenWitness starts a witness. ctx bounds the start only.
func OpenWitness(ctx context.Context, cfg Config) (_ *Witness, err error) {
	if err := cfg.checkWitness(); err != nil {
		return nil, err
	}
	w := &Witness{cfg: cfg, started: time.Now().UTC(), failed: make(chan error, 2)}
	if w.lock, err = TakeLock(cfg.Dir); err != nil {
		return nil, err
	}
	o := cfg.metaOptions()
	o.Waits = w.lock.Note
	if w.meta, err = meta.Open(ctx, filepath.Join(cfg.Dir, metaName), o); err != nil {
		w.lock.Release()
		return nil, err
	}
	l, err := api.Listen(cfg.Dir)
	if err != nil {
		w.meta.Close()
		w.lock.Release()
		return nil, err
	}
	w.api = api.NewWitnessServer(w)
	run, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	for _, f := range []func() error{func() error { return w.api.Serve(l) }, func() error { return w.meta.Wait(run) }} {
		w.running.Go(func() {
			if err := f(); err != nil {
				w.failed <- err
			}
		})
	}
	return w, nil
}

var _ api.Base = (*Witness)(nil)

// Meta implements api.Base.
func (w *Witness) Meta() *meta.Store { return w.meta }

// Cluster implements api.Base.
func (w *Witness) Cluster() api.Cluster { return clusterAdmin{self: w.cfg.Name, meta: w.meta} }

// Status implements api.Base.
func (w *Witness) Status(context.Context) (api.Status, error) {
	st := api.Status{Version: w.cfg.Version, Dir: w.cfg.Dir, Started: w.started}
	addSpace(&st, "")
	addExpiry(&st, &w.cfg, time.Now())
	return st, nil
}

// Failed tells when a part of the witness has ended without being asked to.
func (w *Witness) Failed() <-chan error { return w.failed }

// Stop ends the witness.
func (w *Witness) Stop(ctx context.Context) error {
	w.api.Shutdown(ctx)
	w.cancel()
	w.running.Wait()
	w.meta.Close()
	err := os.Remove(api.SocketPath(w.cfg.Dir))
	w.lock.Release()
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// checkWitness is check for a witness.
func (c *Config) checkWitness() error {
	if c.Meta.Member == nil {
		return san.Errorf(san.ErrInvalid, "a witness keeps a member of a metadata cluster: describe it under 'cluster' in the configuration")
	}
	return c.checkNode()
}
