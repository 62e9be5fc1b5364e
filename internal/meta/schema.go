package meta

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"

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
//	3  several gateways: whether one lives is a record of its own, and what it is
//	   to do are others; gateways have the identity of their directory, volumes
//	   what fences and prefers; reservations may have an epoch around them; the
//	   directory of volumes that all share is known
var known = later(schemas{oldest: 1, newest: 3, steps: map[int]migration{
	1: {"gateways and owners", func(*Tx) (bool, error) { return true, nil }},
	2: {"clusters of gateways", splitGateways},
}})

// clusterSchema is the version from which on gateways may serve together.
const clusterSchema = 3

// splitGateways takes from the registrations of gateways whether they live. A
// gateway that is alone has no record of that; there were no others.
func splitGateways(tx *Tx) (done bool, err error) {
	gateways, err := tx.Gateways()
	if err != nil {
		return false, err
	}
	for _, g := range gateways {
		if err := tx.put("gateways/"+g.Name, g); err != nil {
			return false, err
		}
	}
	for _, old := range []string{"alive/", "heartbeats/", "suspicions/"} {
		if err := tx.each(live+old, func(rest string, _ *mvccpb.KeyValue) error {
			tx.write(live+old+rest, nil)
			return nil
		}); err != nil {
			return false, err
		}
	}
	return true, nil
}

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

// serving returns the gateways that may live. Before clusterSchema one served
// alone, and those that did not are of former times.
func (tx *Tx) serving(all []*Gateway) (some []*Gateway, err error) {
	for _, g := range all {
		var before struct {
			State string `json:"state"`
		}
		b, _, err := tx.fetch(prefix + "gateways/" + g.Name)
		if err != nil {
			return nil, err
		}
		if json.Unmarshal(b, &before) != nil || before.State != "dead" {
			some = append(some, g)
		}
	}
	return some, nil
}

// Clustered returns an error where the layout of the store is one in which
// gateways can't serve together yet.
func (s *Store) Clustered(ctx context.Context) error {
	v, _, err := s.Schema(ctx)
	if err == nil && v < clusterSchema {
		err = san.Errorf(san.ErrRefused, "the metadata has schema version %d, and gateways serve together from %d on: start the newer sango on all nodes, then this one again", v, clusterSchema)
	}
	return err
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

// Layout is the version of the store's layout, and what keeps it there.
type Layout struct {
	Version int
	Newest  int // that a registered gateway reads
	// WaitsFor are the gateways that can't read the next one, by name; empty where
	// no gateway reads more than Version.
	WaitsFor []string
}

// Layout returns it.
func (tx *Tx) Layout() (l Layout, err error) {
	if l.Version, err = tx.schema(); err != nil {
		return l, err
	}
	all, err := tx.Gateways()
	if err != nil {
		return l, err
	}
	l.Newest = l.Version
	for _, g := range all {
		l.Newest = max(l.Newest, g.reads())
	}
	if l.Newest > l.Version {
		l.WaitsFor = short(all, l.Version)
	}
	return l, nil
}

// short returns the gateways but those named that read no more than a version.
func short(all []*Gateway, version int, but ...string) (names []string) {
	for _, g := range all {
		if !slices.Contains(but, g.Name) && g.reads() <= version {
			names = append(names, g.Name)
		}
	}
	return names
}

// Upgrade brings the store to the newest version that this program knows, for
// the gateways self. It stops where another gateway that is registered can't read
// that, and returns the names of these: one that is dead may be started again,
// and one that was removed can't without a registration, which tells it what
// there is by then. The next one that starts tries again, and those that run do
// when registrations change.
func (s *Store) Upgrade(ctx context.Context, self ...string) (waitsFor []string, err error) {
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
			if from < clusterSchema {
				gateways, err = tx.serving(gateways)
			}
			if waitsFor = short(gateways, from, self...); waitsFor != nil || err != nil {
				return err
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
			return waitsFor, nil
		case done:
			s.log.Info("metadata upgraded", "from", from, "to", from+1, "for", s.schemas.steps[from].what)
		}
	}
}
