package meta

import (
	"context"
	"fmt"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"sango/internal/san"
)

// Units is what the units of all volumes keep, read at once: a node that starts
// with thousands of volumes would spend most of its time asking for the state
// of each.
type Units struct {
	s    *Store
	kept map[san.UUID]map[string]keptState // nil: ask for each
}

// keptState is one state of one unit.
type keptState struct {
	value []byte
	rev   int64 // mod revision
}

// Units reads what all units keep. It is for the start of a node, before units
// run. Where others change the store too, it reads nothing: each unit asks when
// it begins.
func (s *Store) Units(ctx context.Context) (*Units, error) {
	u := &Units{s: s}
	if s.shared() {
		return u, nil
	}
	const under = prefix + "units/"
	resp, err := s.read(ctx, under, clientv3.WithPrefix())
	if err != nil {
		return nil, err
	}
	u.kept = map[san.UUID]map[string]keptState{}
	for _, kv := range resp.Kvs {
		id, name, _ := strings.Cut(strings.TrimPrefix(string(kv.Key), under), "/")
		vol, err := san.ParseUUID(id)
		if err != nil {
			return nil, fmt.Errorf("metadata %s: %w", kv.Key, err)
		}
		if u.kept[vol] == nil {
			u.kept[vol] = map[string]keptState{}
		}
		u.kept[vol][name] = keptState{kv.Value, kv.ModRevision}
	}
	return u, nil
}

// Unit is Store.Unit for a unit whose first Load of each name, until its first
// Save, is answered by what was read.
func (u *Units) Unit(id san.UUID) *UnitState {
	st := u.s.Unit(id)
	st.early, st.kept = u.kept != nil, u.kept[id]
	return st
}

// first returns what was read of name before the unit began, if that may be
// relied on still.
func (u *UnitState) first(name string) (k keptState, ok bool) {
	_, known := u.seen[name]
	return u.kept[name], u.early && !known
}
