package meta

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"sango/internal/san"
)

// schemas are the versions of the key layout that a program knows: it reads
// and writes those from oldest to newest, and makes one of the next by a
// migration.
type schemas struct {
	oldest, newest int
	steps          map[int]migration // by the version they start from
}

// migration makes a store of one version one of the next. It is run in
// guarded transactions until step reports that it is done; what one of them
// leaves must be readable by programs of both versions.
type migration struct {
	what string // for the log
	step func(tx *Tx) (done bool, err error)
}

// known are the versions of this program:
//
//	1  one gateway, alone
//	2  gateways have incarnations, states and capabilities; volumes have owners;
//	   claim
var known = schemas{oldest: 1, newest: 2, steps: map[int]migration{
	1: {"gateways and owners", func(*Tx) (bool, error) { return true, nil }},
}}

// restoring is the key that is there while a backup is being put back.
const restoring = "restoring"

// checkStore refuses a store that this program would misread, and one that is
// not that of dir, whose identity is id; zero: dir has had none. It gives a new
// one its version and its identity, and returns that.
func (s *Store) checkStore(ctx context.Context, dir string, id san.UUID) (is san.UUID, err error) {
	err = s.Ensure(ctx, func(tx *Tx) error {
		if half, err := tx.has(restoring); err != nil {
			return err
		} else if half {
			return san.Errorf(san.ErrRefused, "the metadata is half restored from a backup: run 'sango cluster restore' again")
		}
		_, err := tx.schema()
		found, herr := tx.has("schema")
		if err := errors.Join(err, herr); err != nil {
			return err
		}
		named, err := tx.get(storeKey, &is)
		if err != nil {
			return err
		}
		if err := s.sameStore(dir, id, is, named, found); err != nil {
			return err
		}
		if !named {
			is = san.NewUUID() // also for those of a program that gave none
			if err := tx.put(storeKey, is); err != nil {
				return err
			}
		}
		if found {
			return nil
		}
		return tx.put("schema", s.schemas.newest)
	})
	return is, err
}

// storeKey has the identity of the store: that of what is in it, which a backup
// of it has too, wherever it is restored to.
const storeKey = "store"

// sameStore returns an error where the store is not the one that dir had: its
// volumes would look gone, and their bytes be left over.
func (s *Store) sameStore(dir string, had, is san.UUID, named, filled bool) error {
	if had.IsZero() || named && is == had {
		return nil
	}
	what := "is another one, without an identity"
	switch {
	case named:
		what = fmt.Sprintf("is another one, %s", is)
	case !filled:
		what = "is empty"
	}
	return san.Errorf(san.ErrRefused, "%s belongs to the metadata store %s, and what is %s %s: correct the configuration, or put a backup back with 'sango cluster restore'; if the volumes of this node are to be those of this store from now on, remove %s and start again", dir, had, s.place(), what, filepath.Join(dir, formName))
}

// place says where the store is, for people.
func (s *Store) place() string {
	switch {
	case s.opts.External != nil:
		return "in the etcd at " + s.opts.External.where()
	case s.opts.Member != nil:
		return "in its cluster"
	}
	return "there"
}

// schema returns the version of the store, 0 for one that is empty. ErrRefused:
// this program does not know it.
func (tx *Tx) schema() (int, error) {
	var v int
	found, err := tx.get("schema", &v)
	switch k := tx.s.schemas; {
	case err != nil:
		return 0, err
	case !found:
		return 0, nil
	case v > k.newest:
		return v, san.Errorf(san.ErrRefused, "the metadata has schema version %d and this program knows up to %d; use the newer sango that wrote it", v, k.newest)
	case v < k.oldest:
		return v, san.Errorf(san.ErrRefused, "the metadata has schema version %d and this program knows those from %d on; start a sango that knows both once, in between", v, k.oldest)
	}
	return v, nil
}

// Schema returns the version of the store's layout now, and the newest that
// this program reads.
func (s *Store) Schema(ctx context.Context) (version, newest int, err error) {
	err = s.Update(ctx, func(tx *Tx) error {
		version, err = tx.schema()
		return err
	})
	return version, s.schemas.newest, err
}

// Upgrade brings the store to the newest version that this program knows, for
// the gateway self. It stops where another gateway that may be alive can't read
// that, and returns the names of these; the next one that starts tries again.
func (s *Store) Upgrade(ctx context.Context, self string) (waitsFor []string, err error) {
	for {
		var from int
		done := true
		err := s.Ensure(ctx, func(tx *Tx) error {
			waitsFor = nil
			var err error
			if from, err = tx.schema(); err != nil || from == s.schemas.newest {
				return err
			}
			gateways, err := tx.Gateways()
			if err != nil {
				return err
			}
			for _, g := range gateways {
				if g.Name != self && g.State != GatewayDead && g.reads() <= from {
					waitsFor = append(waitsFor, g.Name)
				}
			}
			if waitsFor != nil {
				return nil
			}
			m, ok := s.schemas.steps[from]
			if !ok {
				return fmt.Errorf("metadata: there is no way from schema version %d to the next", from)
			}
			if done, err = m.step(tx); err != nil || !done {
				return err
			}
			return tx.put("schema", from+1)
		})
		switch {
		case err != nil:
			return nil, err
		case from == s.schemas.newest:
			return nil, nil
		case waitsFor != nil:
			s.log.Warn("the metadata stays at its schema version until all gateways know the next", "version", from, "not yet", strings.Join(waitsFor, ", "))
			return waitsFor, nil
		case done:
			s.log.Info("metadata upgraded", "from", from, "to", from+1, "for", s.schemas.steps[from].what)
		}
	}
}
