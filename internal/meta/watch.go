package meta

import (
	"context"
	"errors"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"sango/internal/san"
)

// Change is one thing that changed. Exactly one of the groups is set; where a
// pointer is nil, the thing was deleted.
type Change struct {
	VolumeID san.UUID // not zero: Volume changed
	Volume   *san.Volume

	Target string // not empty: the target changed, or with LUN its LUN
	Record *san.Target
	LUN    *san.LUN
	Map    *san.Mapping

	Host     string // not empty: HostInfo changed
	HostInfo *san.Host

	Gateway     string // not empty: GatewayInfo changed
	GatewayInfo *Gateway

	Claimed bool // the claim changed
	Claim   *Claim
}

// ErrBehind ends a Watch whose revision is too old to go on from: the history
// has been compacted. Load again and watch from there.
var ErrBehind = errors.New("metadata history is gone")

// Watch calls f with the changes of each transaction after revision, in order,
// until ctx is done (it returns nil then), f fails or the store goes away. A
// target record in a change has no LUNs; they come as changes of their own.
// Transactions that changed nothing of this are told with no changes, so that
// f learns every revision.
func (s *Store) Watch(ctx context.Context, revision int64, f func(revision int64, changes []Change) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ctx = ownStream(s.leading(ctx))
	ch := s.cli.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithRev(revision+1))
	asking, stop := s.asked.watch(ctx, s.cli, revision)
	defer stop()
	for resp := range ch {
		if resp.IsProgressNotify() {
			if asking.seen(resp.Header.Revision); resp.Header.Revision > revision {
				revision = resp.Header.Revision
				if err := f(revision, nil); err != nil {
					return err
				}
			}
			continue
		}
		switch err := resp.Err(); {
		case errors.Is(err, rpctypes.ErrCompacted):
			return ErrBehind
		case err != nil:
			if ctx.Err() != nil {
				return nil
			}
			return storeErr(err, false)
		}
		for i := 0; i < len(resp.Events); {
			rev := resp.Events[i].Kv.ModRevision
			var changes []Change
			for ; i < len(resp.Events) && resp.Events[i].Kv.ModRevision == rev; i++ {
				c, ok, err := change(resp.Events[i])
				if err != nil {
					return err
				}
				if ok {
					changes = append(changes, c)
				}
			}
			revision = rev
			asking.seen(rev)
			if err := f(rev, changes); err != nil {
				return err
			}
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return san.Errorf(san.ErrUnavailable, "the metadata store ended the watch")
}

// change reads one event; ok is false for keys that are indexes or state of
// units.
func change(e *clientv3.Event) (c Change, ok bool, err error) {
	key := strings.TrimPrefix(string(e.Kv.Key), prefix)
	kind, rest, _ := strings.Cut(key, "/")
	gone := e.Type == clientv3.EventTypeDelete
	into := func(v any) error {
		if gone {
			return nil
		}
		return decode(key, e.Kv.Value, v)
	}
	switch kind {
	case "volumes":
		c.Volume = new(san.Volume)
		if c.VolumeID, err = san.ParseUUID(rest); err == nil {
			err = into(c.Volume)
		}
		if gone {
			c.Volume = nil
		}
	case "targets":
		c.Target, c.Record = rest, new(san.Target)
		err = into(c.Record)
		if gone {
			c.Record = nil
		}
	case "luns":
		var u Use
		if u, err = splitLUN(rest); err == nil {
			c.Target, c.LUN, c.Map = u.Target, &u.LUN, new(san.Mapping)
			err = into(c.Map)
		}
		if gone {
			c.Map = nil
		}
	case "hosts":
		c.Host, c.HostInfo = rest, new(san.Host)
		err = into(c.HostInfo)
		if gone {
			c.HostInfo = nil
		}
	case "gateways":
		c.Gateway, c.GatewayInfo = rest, new(Gateway)
		err = into(c.GatewayInfo)
		if gone {
			c.GatewayInfo = nil
		}
	case claimKey:
		c.Claimed, c.Claim = true, new(Claim)
		err = into(c.Claim)
		if gone {
			c.Claim = nil
		}
	default:
		return c, false, nil
	}
	return c, true, err
}
