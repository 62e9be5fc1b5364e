package meta

import (
	"context"
	"errors"
	"log/slog"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"sango/internal/san"
)

// schemaVersion is the version of the key layout that this code writes. A
// store with a newer one is refused: an older program would misread it.
const schemaVersion = 1

// prefix is in front of every key.
const prefix = "/sango/v1/"

// Options are how a store is opened.
type Options struct {
	Log *slog.Logger // nil: slog.Default()
	// NoSync leaves out fsync: for tests that are not about durability.
	NoSync bool
}

// Store is an open metadata store. Its methods may be called from any
// goroutine.
type Store struct {
	etcd *embed.Etcd
	kv   clientv3.KV
	cli  *clientv3.Client
	log  *slog.Logger
	room *room
}

// Open starts the store that lives in dir, and makes it where there is none.
// It returns when the store can be read and written. The caller holds the
// lock of the node's directory.
func Open(ctx context.Context, dir string, o Options) (*Store, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	e, cli, err := startEmbedded(ctx, dir, o)
	if err != nil {
		return nil, err
	}
	s := &Store{etcd: e, kv: cli.KV, cli: cli, log: o.Log, room: newRoom(dir)}
	if err := s.checkSchema(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Close stops the store. Everything that was committed is on disk already.
func (s *Store) Close() {
	// The client wraps the server in this process; closing it first ends the
	// watches, which the server would wait for.
	if err := s.cli.Close(); err != nil && !errors.Is(err, context.Canceled) {
		s.log.Warn("metadata client did not close cleanly", "error", err)
	}
	s.etcd.Close()
}

func (s *Store) checkSchema(ctx context.Context) error {
	return s.Update(ctx, func(tx *Tx) error {
		var v int
		found, err := tx.get("schema", &v)
		switch {
		case err != nil:
			return err
		case !found:
			return tx.put("schema", schemaVersion)
		case v > schemaVersion:
			return san.Errorf(san.ErrRefused, "the metadata has schema version %d and this program knows %d; use the newer sango that wrote it", v, schemaVersion)
		}
		return nil
	})
}

// opTimeout bounds one request to the store. A disk that stalls longer than
// this makes the call fail as unavailable; it is not the end of the store.
const opTimeout = 15 * time.Second

// storeErr turns an error of etcd into one of ours. changing says that a
// transaction was sent, so that its outcome is unknown.
func storeErr(err error, changing bool) error {
	if changing {
		return san.Errorf(san.ErrUnknown, "the metadata store did not confirm the change (%v): it may or may not have been made; look before trying again", err)
	}
	return san.Errorf(san.ErrUnavailable, "the metadata store does not answer (%v); if that lasts, its disk is full or stuck", err)
}
