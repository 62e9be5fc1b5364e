package meta

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"sango/internal/san"
)

// epochLeap is what a restore raises all epochs by at least: those that were
// granted after the backup are known to the volumes, and never granted again.
const epochLeap = 1 << 32

// leap returns the epoch or incarnation at which a restore at the time now goes
// on from n. The time keeps those apart that follow two restores of one backup:
// there are never as many as 1024 in a millisecond.
func leap(n uint64, now time.Time) uint64 {
	return max(n+epochLeap, uint64(max(now.UnixMilli(), 0))<<10)
}

// idLeap is what a restore raises the last id of every other counter by: those
// are 16 bits wide, and so few things have one that a backup is not that many
// behind. Where the store that is replaced can be read, it is raised from there.
const idLeap = 256

// counters are those whose ids are never given twice.
var counters = []string{incarnations, portGroups, relativePorts}

// leapt returns the id after which a counter goes on that had last.
func leapt(counter string, last uint64, now time.Time) uint64 {
	if counter == incarnations {
		return leap(last, now)
	}
	return last + idLeap
}

// remains is what a store that is replaced leaves to the restored one. It is the
// value of the key restoring.
type remains struct {
	Store    san.UUID          `json:"store,omitzero"` // identity
	Counters map[string]uint64 `json:"counters,omitempty"`
}

// restoreOps and restoreBytes bound one transaction of a restore.
const (
	restoreOps   = maxTxnOps / 4
	restoreBytes = maxRequest / 8
)

// Restore opens the store of dir as Open does and puts a backup in the place
// of what it holds. Without replace it refuses a store that holds anything. A
// restore that was cut short leaves a store that does not open; it can be
// repeated. r is read twice.
//
// Where dir holds nothing, a member is the only one of its cluster afterwards,
// whatever others its configuration lists: these are added to it.
func Restore(ctx context.Context, dir string, o Options, r io.ReadSeeker, replace bool) (info BackupInfo, err error) {
	if err := o.Check(); err != nil {
		return info, err
	}
	if info, err = ReadBackup(r, func(string, []byte) error { return nil }); err != nil {
		return info, err
	}
	if _, err = r.Seek(0, io.SeekStart); err != nil {
		return info, err
	}
	if o.Member, err = o.Member.forRestore(ctx, dir, o); err != nil {
		return info, err
	}
	id, err := checkForm(dir, o)
	if err != nil {
		return info, err
	}
	s, err := start(ctx, dir, o)
	if errors.Is(err, san.ErrUnavailable) && o.Member != nil {
		return info, san.Errorf(san.ErrUnavailable, "%v. Only witnesses may run during a restore; where most members are gateways, or lost, stop all nodes, move %s away and restore again: this member is the only one then, and the others join it", err, dir)
	}
	if err != nil {
		return info, err
	}
	defer s.Close()
	if id, err = s.restore(ctx, info, id, r, replace); err != nil {
		return info, err
	}
	return info, remember(dir, o, id)
}

// forRestore is the member whose metadata a restore in dir makes anew: alone, where
// dir holds nothing of it. It must not be while others serve the old metadata.
func (m *Member) forRestore(ctx context.Context, dir string, o Options) (*Member, error) {
	if m == nil {
		return nil, nil
	}
	has, err := holdsStore(dir)
	if err != nil {
		return nil, err
	}
	if has {
		f, err := readForm(dir)
		if err != nil || !f.Store.IsZero() || !unused(dir, o.Log) {
			return m, nil // one of those that its log tells
		}
	}
	for _, p := range m.others() {
		if _, err := m.ask(ctx, p); err == nil {
			return nil, san.Errorf(san.ErrRefused, "the metadata member %s at %s runs: a restore into %s, which has no metadata, would make a second cluster beside it. Stop all nodes first; or, where most members are well, let this one join them ('sango cluster remove' and 'add')", p.name, p.addr, dir)
		}
	}
	alone := *m
	alone.Members, alone.Join = nil, false
	return &alone, nil
}

// restore puts a backup into the store, and returns the identity that it has
// then: that of the backup, or where it has none the store's, or had, or a new
// one.
func (s *Store) restore(ctx context.Context, info BackupInfo, had san.UUID, r io.Reader, replace bool) (id san.UUID, err error) {
	if info.Schema > s.schemas.newest || info.Schema < s.schemas.oldest {
		return id, san.Errorf(san.ErrRefused, "the backup has schema version %d and this program knows %d to %d; use the sango that wrote it, or one in between", info.Schema, s.schemas.oldest, s.schemas.newest)
	}
	if err := s.still(ctx); err != nil {
		return id, err
	}
	left, err := s.clear(ctx, replace)
	if err != nil {
		return id, err
	}
	var ops []clientv3.Op
	size, now := 0, time.Now()
	flush := func() error {
		if len(ops) == 0 {
			return nil
		}
		ctx, cancel := context.WithTimeout(ctx, opTimeout)
		defer cancel()
		resp, err := s.kv.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(prefix+restoring), ">", 0)).Then(ops...).Commit()
		if err != nil {
			return commitErr(err)
		}
		if !resp.Succeeded {
			return san.Errorf(san.ErrRefused, "somebody else restores a backup at the same time")
		}
		ops, size = ops[:0], 0
		return nil
	}
	put := func(key string, value []byte) error {
		if err := s.room.take(changeSize(key, value), false); err != nil {
			return err
		}
		if len(ops) >= restoreOps || size+len(value) > restoreBytes {
			if err := flush(); err != nil {
				return err
			}
		}
		ops, size = append(ops, clientv3.OpPut(prefix+key, string(value))), size+len(value)
		return nil
	}
	volumes, owned := map[string]bool{}, map[string]bool{}
	if _, err := ReadBackup(r, func(key string, value []byte) error {
		if v, ok := strings.CutPrefix(key, "volumes/"); ok {
			volumes[v] = true
		} else if v, ok := strings.CutPrefix(key, "owners/"); ok {
			owned[v] = true
		}
		if counter, ok := strings.CutPrefix(key, "counters/"); ok {
			var last uint64
			err := decode(key, value, &last)
			left.Counters[counter] = max(left.Counters[counter], last)
			return err
		}
		if key == storeKey {
			if err := decode(key, value, &id); err != nil {
				return err
			}
		}
		value, err := restored(key, value, now)
		if value == nil || err != nil {
			return err
		}
		return put(key, value)
	}); err != nil {
		return id, err
	}
	// After the backup these may have been served under epochs all the same, which
	// their files know.
	for v := range volumes {
		if owned[v] || info.Schema < clusterSchema {
			continue
		}
		value, err := json.Marshal(&Owner{State: OwnerNone, Epoch: san.Epoch(leap(0, now))})
		if err == nil {
			err = put("owners/"+v, value)
		}
		if err != nil {
			return id, err
		}
	}
	for _, c := range counters {
		left.Counters[c] = max(left.Counters[c], 0)
	}
	for counter, last := range left.Counters {
		if err := put("counters/"+counter, strconv.AppendUint(nil, leapt(counter, last, now), 10)); err != nil {
			return id, err
		}
	}
	if id.IsZero() {
		for _, id = range []san.UUID{left.Store, had, san.NewUUID()} {
			if !id.IsZero() {
				break
			}
		}
		if err := put(storeKey, []byte(strconv.Quote(id.String()))); err != nil {
			return id, err
		}
	}
	ops = append(ops, clientv3.OpDelete(prefix+restoring))
	return id, flush()
}

// clear empties the store, marks it as half restored, and returns what was in
// it that the restored one goes on from.
func (s *Store) clear(ctx context.Context, replace bool) (left remains, err error) {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	var rev int64
	if err := s.Update(ctx, func(tx *Tx) error {
		left, err = tx.remains()
		if rev = tx.rev; err != nil {
			return err
		}
		if half, err := tx.has(restoring); half || err != nil {
			return err
		}
		if c, err := tx.Claimed(); err != nil {
			return err
		} else if c != nil && s.opts.External != nil && !replace {
			return san.Errorf(san.ErrRefused, "gateway %s on %s serves the volumes of this metadata: stop it, and restore with --replace", c.Gateway, c.Machine)
		}
		n := 0
		if err := tx.list("", func(rest string, _ []byte) error {
			if rest != "schema" && rest != storeKey {
				n++
			}
			return nil
		}); err != nil {
			return err
		}
		if n > 0 && !replace {
			return san.Errorf(san.ErrRefused, "the metadata is not empty: it has %d keys; restore into a new directory, or throw away what is there with --replace", n)
		}
		return nil
	}); err != nil {
		return left, err
	}
	mark, err := json.Marshal(left)
	if err != nil {
		return left, err
	}
	// A first transaction takes the ground away from everybody else's.
	resp, err := s.kv.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(prefix), "<", rev+1).WithPrefix()).Then(
		clientv3.OpDelete(prefix, clientv3.WithRange(prefix+restoring)),
		clientv3.OpDelete(prefix+restoring+"\x00", clientv3.WithRange(clientv3.GetPrefixRangeEnd(prefix))),
		clientv3.OpDelete(live, clientv3.WithPrefix()),
		clientv3.OpPut(prefix+restoring, string(mark)),
	).Commit()
	if err != nil {
		return left, commitErr(err)
	}
	if !resp.Succeeded {
		return left, san.Errorf(san.ErrRefused, "the metadata is being changed: stop the gateways that use it first")
	}
	return left, nil
}

// remains returns what a restore has to go on from. What can't be read is not
// there: that may be why a backup is put back.
func (tx *Tx) remains() (left remains, err error) {
	left.Counters = map[string]uint64{}
	mark, _, err := tx.fetch(prefix + restoring)
	if err != nil {
		return left, err
	}
	if mark != nil { // it was cut short, and what is there is half of it
		if err := json.Unmarshal(mark, &left); err != nil || left.Counters == nil {
			left.Counters = map[string]uint64{}
		}
		return left, nil
	}
	b, _, err := tx.fetch(prefix + storeKey)
	if err != nil {
		return left, err
	}
	if b != nil && json.Unmarshal(b, &left.Store) != nil {
		left.Store = san.UUID{}
	}
	err = tx.list("counters/", func(counter string, value []byte) error {
		var last uint64
		if json.Unmarshal(value, &last) == nil {
			left.Counters[counter] = last
		}
		return nil
	})
	return left, err
}

// restored is what a value becomes: epochs that nobody has had, because those of
// after the backup were handed out too, and gateways without a directory. It is nil for what is not restored: that
// a volume was being made. It may have been finished after the backup, and the
// next start would throw its bytes away.
func restored(key string, value []byte, now time.Time) ([]byte, error) {
	switch {
	case strings.HasPrefix(key, "owners/"):
		var o Owner
		if err := decode(key, value, &o); err != nil {
			return nil, err
		}
		o.Epoch = san.Epoch(leap(uint64(o.Epoch), now))
		return json.Marshal(&o)
	case strings.HasPrefix(key, "gateways/"): // of whatever directory that is to serve now
		var g Gateway
		if err := decode(key, value, &g); err != nil {
			return nil, err
		}
		g.Node = san.UUID{}
		return json.Marshal(&g)
	case strings.HasPrefix(key, "pending/"):
		var p Pending
		err := decode(key, value, &p)
		if what, _ := p.By(); what == PendingCreate || err != nil {
			return nil, err
		}
	}
	return value, nil
}
