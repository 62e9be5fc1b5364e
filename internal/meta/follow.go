package meta

import (
	"context"
	"errors"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"sango/internal/san"
)

// Follow tells f all records at one revision (whole), and from then on the
// changes of each transaction or of several, in order and without a gap, until
// ctx is done (it returns nil then), f fails, or the stream ends, as it does
// with ErrBehind where it fell behind the history that is kept. It is one
// stream: a record that is told says that everything older has been told. f is
// told of revisions that changed no record where somebody asked for the
// Current one. What only a coordinator needs, the heartbeats above all, is told
// to those who want everything. Reservations are not told.
func (s *Store) Follow(ctx context.Context, everything bool, f func(revision int64, whole bool, records []Record) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	revision, records, err := s.everyRecord(ctx, everything)
	if err == nil {
		err = f(revision, true, records)
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	ctx = ownStream(s.leading(ctx))
	from := liveForAll
	if everything {
		from = live
	}
	ch := s.cli.Watch(ctx, from, clientv3.WithRange(clientv3.GetPrefixRangeEnd(all)), clientv3.WithRev(revision+1))
	asking, stop := s.asked.watch(ctx, s.cli, revision)
	defer stop()
	for resp := range ch {
		switch err := resp.Err(); {
		case errors.Is(err, rpctypes.ErrCompacted):
			return ErrBehind
		case err != nil && ctx.Err() != nil:
			return nil
		case err != nil:
			return storeErr(err, false)
		}
		records, at := []Record(nil), resp.Header.Revision
		for _, e := range resp.Events {
			at = e.Kv.ModRevision // the header may be ahead of what is told
			r, ok, err := record(e.Kv, e.Type == clientv3.EventTypeDelete)
			if err != nil {
				return err
			}
			if ok && r.Kind != RecordReserved {
				records = append(records, r)
			}
		}
		if at <= revision || len(resp.Events) == 0 && !resp.IsProgressNotify() {
			continue
		}
		revision = at
		asking.seen(at)
		if err := f(at, false, records); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return san.Errorf(san.ErrUnavailable, "the metadata store ended the watch")
}

// everyRecord reads all records that Follow tells, at one revision.
func (s *Store) everyRecord(ctx context.Context, everything bool) (revision int64, records []Record, err error) {
	err = s.Update(ctx, func(tx *Tx) error {
		records = nil
		add := func(key string, kv *mvccpb.KeyValue) error {
			r, ok, err := record(kv, false)
			if ok && err == nil && (everything || key >= liveForAll) {
				records = append(records, r)
			}
			return err
		}
		for _, p := range []string{live, string(RecordOwner), string(RecordVolume), string(RecordCounter)} {
			if err := tx.each(p, func(rest string, kv *mvccpb.KeyValue) error { return add(p+rest, kv) }); err != nil {
				return err
			}
		}
		revision = tx.rev
		return nil
	})
	return revision, records, err
}
