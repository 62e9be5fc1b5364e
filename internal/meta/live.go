package meta

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"sango/internal/san"
)

// live is before the keys that say who is there. They change all the time, are
// of no use in a backup, and only the coordinator watches them.
const live = "/sango/live/"

// ErrDead says that a gateway was declared dead or removed, or that another
// process has registered under its name. It never serves again under this
// incarnation.
var ErrDead = san.Errorf(san.ErrRefused, "this gateway was declared dead, removed or started again: it drops what it has, and has to register anew")

// Heartbeat is the last one of a gateway.
type Heartbeat struct {
	Incarnation uint64 `json:"incarnation"`
	Count       uint64 `json:"count"` // grows with each
}

// Suspicion is what a gateway reports that can't reach another.
type Suspicion struct {
	Suspect     string `json:"suspect"`
	Incarnation uint64 `json:"incarnation"` // of the suspect
	By          string `json:"by"`
	Reason      string `json:"reason,omitempty"`
}

func aliveKey(name string) string            { return live + "alive/" + name }
func aliveValue(incarnation uint64) []byte   { return strconv.AppendUint(nil, incarnation, 10) }
func beatKey(name string) string             { return live + "heartbeats/" + name }
func suspicionKey(suspect, by string) string { return live + "suspicions/" + suspect + "/" + by }

// Beat writes the heartbeat of an incarnation of a gateway, in one transaction
// guarded by its not having been declared dead. The right to serve counts from
// the moment before the call. ErrDead: it has none any more. Other errors say
// nothing of that; ctx bounds how long the answer is waited for.
func (s *Store) Beat(ctx context.Context, name string, h Heartbeat) error {
	return s.whileAlive(ctx, name, h.Incarnation, beatKey(name), h)
}

// Suspect reports a suspicion of the gateway v.By, whose incarnation is by.
func (s *Store) Suspect(ctx context.Context, by uint64, v Suspicion) error {
	return s.whileAlive(ctx, v.By, by, suspicionKey(v.Suspect, v.By), v)
}

// Trust takes a suspicion back.
func (s *Store) Trust(ctx context.Context, by uint64, v Suspicion) error {
	return s.whileAlive(ctx, v.By, by, suspicionKey(v.Suspect, v.By), nil)
}

// whileAlive sets key to v, or deletes it where v is nil, if this incarnation
// of the gateway counts as alive.
func (s *Store) whileAlive(ctx context.Context, name string, incarnation uint64, key string, v any) error {
	op := clientv3.OpDelete(key)
	if v != nil {
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		if err := s.room.take(changeSize(key, b), true); err != nil {
			return err
		}
		op = clientv3.OpPut(key, string(b))
	}
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	resp, err := s.kv.Txn(ctx).If(clientv3.Compare(clientv3.Value(aliveKey(name)), "=", string(aliveValue(incarnation)))).Then(op).Commit()
	if err != nil {
		return commitErr(err)
	}
	if !resp.Succeeded {
		return ErrDead
	}
	return nil
}

// Live is who is there, at one revision.
type Live struct {
	Revision    int64
	Alive       map[string]uint64 // gateway → incarnation that may beat
	Heartbeats  map[string]Heartbeat
	Suspicions  []Suspicion
	Coordinator *Coordinator // nil: there is none
}

// LoadLive reads who is there.
func (s *Store) LoadLive(ctx context.Context) (*Live, error) {
	l := &Live{Alive: map[string]uint64{}, Heartbeats: map[string]Heartbeat{}}
	err := s.Update(ctx, func(tx *Tx) error {
		err := tx.each(live, func(_ string, kv *mvccpb.KeyValue) error {
			c, ok, err := liveChange(kv, false)
			if ok && err == nil {
				l.put(c)
			}
			return err
		})
		l.Revision = tx.rev
		return err
	})
	return l, err
}

func (l *Live) put(c LiveChange) {
	switch {
	case c.Heartbeat != nil:
		l.Heartbeats[c.Gateway] = *c.Heartbeat
	case c.Suspicion != nil:
		l.Suspicions = append(l.Suspicions, *c.Suspicion)
	case c.Coordinator != nil:
		l.Coordinator = c.Coordinator
	case c.Gateway != "":
		l.Alive[c.Gateway] = c.Alive
	}
}

// LiveChange is one thing that changed among who is there.
type LiveChange struct {
	Gateway   string     // not empty: of it there is
	Heartbeat *Heartbeat // a new heartbeat, or else
	Alive     uint64     // the incarnation that may beat, 0: none

	Suspicion *Suspicion // not nil: one was reported, or with Trusted taken back
	Trusted   bool

	Election    bool         // the coordinator changed
	Coordinator *Coordinator // nil: there is none now
}

// liveChange reads a key; ok is false for those that nobody is told of.
func liveChange(kv *mvccpb.KeyValue, gone bool) (c LiveChange, ok bool, err error) {
	key := strings.TrimPrefix(string(kv.Key), live)
	kind, rest, _ := strings.Cut(key, "/")
	switch kind {
	case "alive":
		if c.Gateway = rest; !gone {
			c.Alive, err = strconv.ParseUint(string(kv.Value), 10, 64)
		}
	case "heartbeats":
		if gone {
			return c, false, nil
		}
		c.Gateway, c.Heartbeat = rest, new(Heartbeat)
		err = decode(key, kv.Value, c.Heartbeat)
	case "suspicions":
		c.Suspicion, c.Trusted = new(Suspicion), gone
		if gone {
			c.Suspicion.Suspect, c.Suspicion.By, _ = strings.Cut(rest, "/")
		} else {
			err = decode(key, kv.Value, c.Suspicion)
		}
	case "coordinator":
		if c.Election = true; !gone {
			c.Coordinator = &Coordinator{Term: kv.CreateRevision}
			err = decode(key, kv.Value, c.Coordinator)
		}
	default:
		return c, false, nil
	}
	return c, true, err
}

// WatchLive is Watch for who is there.
func (s *Store) WatchLive(ctx context.Context, revision int64, f func(revision int64, changes []LiveChange) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for resp := range s.cli.Watch(s.leading(ctx), live, clientv3.WithPrefix(), clientv3.WithRev(revision+1)) {
		switch err := resp.Err(); {
		case errors.Is(err, rpctypes.ErrCompacted):
			return ErrBehind
		case err != nil && ctx.Err() != nil:
			return nil
		case err != nil:
			return storeErr(err, false)
		}
		var changes []LiveChange
		for _, e := range resp.Events {
			c, ok, err := liveChange(e.Kv, e.Type == clientv3.EventTypeDelete)
			if err != nil {
				return err
			}
			if ok {
				changes = append(changes, c)
			}
		}
		if len(changes) == 0 {
			continue
		}
		if err := f(resp.Header.Revision, changes); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return san.Errorf(san.ErrUnavailable, "the metadata store ended the watch")
}
