package meta

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"sango/internal/pause"
	"sango/internal/san"
)

// Coordinator is who was elected to declare failures and to move owners. The
// lease behind it only elects: what a coordinator decides is guarded by the
// revision of this record (RecordCoordinator), so that one which does not know
// yet that it has been followed changes nothing.
type Coordinator struct {
	Gateway     string `json:"gateway"`
	Incarnation uint64 `json:"incarnation"`
	Term        int64  `json:"-"` // the revision of the record; grows with each election
}

const coordinatorKey = live + "coordinator"

// Office is the time of a coordinator.
type Office struct {
	Coordinator
	s     *Store
	lease clientv3.LeaseID

	lost   chan struct{}
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// Campaign waits until the gateway is the coordinator, and returns its office;
// a process that dies gives it up after ttl, rounded up to seconds. ctx bounds
// the wait, and the office with it.
func (s *Store) Campaign(ctx context.Context, c Coordinator, ttl time.Duration) (*Office, error) {
	secs := max(1, int64((ttl+time.Second-1)/time.Second))
	for {
		o, other, err := s.stand(ctx, c, secs)
		if o != nil || err != nil {
			return o, err
		}
		if err := s.vacancy(ctx, other); err != nil {
			return nil, err
		}
	}
}

// stand tries to be elected; where there is a coordinator, it returns the
// revision at which it saw that.
func (s *Store) stand(ctx context.Context, c Coordinator, secs int64) (_ *Office, seen int64, err error) {
	b, err := json.Marshal(c)
	if err != nil {
		return nil, 0, err
	}
	sent := time.Now()
	grant, err := s.cli.Grant(ctx, secs)
	if err != nil {
		return nil, 0, storeErr(err, false)
	}
	resp, err := s.kv.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(coordinatorKey), "=", 0)).
		Then(clientv3.OpPut(coordinatorKey, string(b), clientv3.WithLease(grant.ID))).Commit()
	if err != nil || !resp.Succeeded {
		s.revoke(ctx, grant.ID) // with it the key goes that may have been made
		if err != nil {
			return nil, 0, storeErr(err, false)
		}
		return nil, resp.Header.Revision, nil
	}
	c.Term = resp.Header.Revision
	run, cancel := context.WithCancel(ctx)
	o := &Office{Coordinator: c, s: s, lease: grant.ID, lost: make(chan struct{}), cancel: cancel}
	o.done.Go(func() {
		defer close(o.lost)
		o.keep(run, sent, time.Duration(grant.TTL)*time.Second)
	})
	return o, 0, nil
}

// revokeTime bounds the end of a lease that nobody needs; it ends by itself.
const revokeTime = 2 * time.Second

func (s *Store) revoke(ctx context.Context, id clientv3.LeaseID) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), revokeTime)
	defer cancel()
	if _, err := s.cli.Revoke(ctx, id); err != nil {
		s.log.Debug("lease is left to run out", "error", err)
	}
}

// vacancy waits until the coordinator that was there at a revision is gone.
func (s *Store) vacancy(ctx context.Context, revision int64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for resp := range s.cli.Watch(s.leading(ctx), coordinatorKey, clientv3.WithRev(revision+1), clientv3.WithFilterPut()) {
		switch err := resp.Err(); {
		case errors.Is(err, rpctypes.ErrCompacted):
			return nil // that was long ago: try
		case err != nil && ctx.Err() == nil:
			return storeErr(err, false)
		}
		if len(resp.Events) > 0 {
			return nil
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return san.Errorf(san.ErrUnavailable, "the metadata store ended the watch")
}

// keep renews the lease until ctx is done, or it may have run out.
func (o *Office) keep(ctx context.Context, renewed time.Time, ttl time.Duration) {
	for pause.For(ctx, ttl/4) {
		left := ttl - time.Since(renewed)
		if left <= 0 {
			return
		}
		sent := time.Now()
		once, cancel := context.WithTimeout(ctx, min(left, ttl/2))
		resp, err := o.s.cli.KeepAliveOnce(once, o.lease)
		cancel()
		switch {
		case err == nil && resp.TTL > 0:
			renewed = sent
		case err == nil, isLeaseGone(err):
			return
		}
	}
}

// Lost is closed when the office may be over.
func (o *Office) Lost() <-chan struct{} { return o.lost }

// Resign ends the office; another may be elected at once.
func (o *Office) Resign(ctx context.Context) {
	o.cancel()
	o.done.Wait()
	o.s.revoke(ctx, o.lease)
}
