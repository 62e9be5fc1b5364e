package meta

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"sango/internal/san"
)

// prefix is in front of every key.
const prefix = "/sango/v1/"

// Store is an open metadata store. Its methods may be called from any
// goroutine.
type Store struct {
	etcd    *embed.Etcd // nil: external
	kv      clientv3.KV
	cli     *clientv3.Client
	log     *slog.Logger
	room    *room // nil: the disk is not ours
	opts    Options
	schemas *schemas
	fence   atomic.Pointer[fence]  // what all changes are guarded by too
	self    atomic.Pointer[string] // the gateway, where it serves beside others

	asked    asked
	remember func() error // that this is the store of its directory
}

// Open starts the store that lives in dir, or connects to the one that o
// names, and makes it where there is none. It returns when the store can be
// read and written. The caller holds the lock of the node's directory.
func Open(ctx context.Context, dir string, o Options) (*Store, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	id, err := checkForm(dir, o)
	if err != nil {
		return nil, err
	}
	s, err := start(ctx, dir, o)
	if err != nil {
		return nil, err
	}
	if id, err = s.checkStore(ctx, dir, id); err == nil {
		s.remember = func() error { return remember(dir, o, id) }
		if o.External == nil { // else it is that of dir when dir's node has claimed it
			err = s.remember()
		}
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// start is Open without a look at what is in the store.
func start(ctx context.Context, dir string, o Options) (*Store, error) {
	s := &Store{log: o.Log, opts: o, schemas: o.schemas}
	if s.schemas == nil {
		s.schemas = &known
	}
	var err error
	if o.External != nil {
		s.cli, err = dialExternal(ctx, o)
	} else if s.etcd, s.cli, err = startEmbedded(ctx, dir, o); err == nil {
		s.room = newRoom(dir)
	}
	if err != nil {
		return nil, err
	}
	s.kv = s.cli.KV
	if err := s.takePart(ctx, dir); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// takePart makes a node whose store is there, and is that of others too, one of
// them.
func (s *Store) takePart(ctx context.Context, dir string) error {
	if s.shared() && s.opts.Admits != nil {
		resp, err := s.read(ctx, prefix+sharedKey)
		if err != nil {
			return err
		}
		var id san.UUID
		for _, kv := range resp.Kvs {
			if err := json.Unmarshal(kv.Value, &id); err != nil {
				return fmt.Errorf("metadata %s can't be read: %w", sharedKey, err)
			}
		}
		if err := s.opts.Admits(id); err != nil {
			return err
		}
	}
	if m := s.opts.Member; m != nil {
		if err := m.settle(ctx, s.etcd.Server, s.cli, s.log); err != nil {
			return fmt.Errorf("metadata in %s: %w", dir, err)
		}
	}
	return nil
}

// Close stops the store. Everything that was committed is on disk already.
func (s *Store) Close() {
	// The client wraps the server in this process; closing it first ends the
	// watches, which the server would wait for.
	if err := s.cli.Close(); err != nil && !errors.Is(err, context.Canceled) {
		s.log.Warn("metadata client did not close cleanly", "error", err)
	}
	if s.opts.Member != nil {
		s.leave()
	}
	if s.etcd != nil {
		s.etcd.Close()
	}
}

// Wait returns nil when ctx is done, and an error when the embedded member has
// ended before without being asked to.
func (s *Store) Wait(ctx context.Context) error {
	if s.etcd == nil {
		<-ctx.Done()
		return nil
	}
	select {
	case <-ctx.Done():
		return nil
	case <-s.etcd.Server.StopNotify():
	case err := <-s.etcd.Err():
		return san.Errorf(san.ErrUnavailable, "the metadata store does not serve any more: %v", err)
	}
	if s.opts.Member != nil {
		return san.Errorf(san.ErrUnavailable, "the metadata member %s has stopped: it was removed from the cluster, or its disk failed; the log says which", s.opts.Member.Name)
	}
	return san.Errorf(san.ErrUnavailable, "the metadata store has stopped; the log says why")
}

// Form says in a word how the store is run: alone, member or external.
func (s *Store) Form() string {
	switch {
	case s.opts.Member != nil:
		return "member"
	case s.opts.External != nil:
		return "external"
	}
	return "alone"
}

// shared reports whether others than this process change the store.
func (s *Store) shared() bool { return s.opts.Member != nil || s.opts.External != nil }
