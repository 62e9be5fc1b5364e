package meta

import (
	"context"
	"strconv"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// newPrefix is in front of the names of members that were added: etcd learns the
// name of one when that runs. Nobody else reads these keys, and a backup is
// without them.
const newPrefix = "/sango/new-members/"

// newNames returns the names that members were added by, by id. Those that have
// run are among them.
func (s *Store) newNames(ctx context.Context) (map[uint64]string, error) {
	if s.etcd == nil {
		return nil, nil // members are the business of whoever runs that etcd
	}
	resp, err := s.read(ctx, newPrefix, clientv3.WithPrefix())
	if err != nil {
		return nil, err
	}
	names := map[uint64]string{}
	for _, kv := range resp.Kvs {
		if id, err := strconv.ParseUint(strings.TrimPrefix(string(kv.Key), newPrefix), 16, 64); err == nil {
			names[id] = string(kv.Value)
		}
	}
	return names, nil
}

// nameNew notes the name that a member was added by; empty: forgets it. Where that
// fails the member has its id and its address still.
func (s *Store) nameNew(ctx context.Context, id uint64, name string) {
	key := newPrefix + strconv.FormatUint(id, 16)
	if err := askAgain(ctx, func(ctx context.Context) (err error) {
		if name == "" {
			_, err = s.kv.Delete(ctx, key)
		} else {
			_, err = s.kv.Put(ctx, key, name)
		}
		return err
	}); err != nil {
		s.log.Warn("the name of a new metadata member was not noted; 'sango cluster members' shows it by its address", "member", name, "error", err)
	}
}
