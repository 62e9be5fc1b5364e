package meta

import (
	"context"
	"errors"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"sango/internal/pause"
	"sango/internal/san"
)

// Errors of the store have one of three kinds that callers must tell apart:
//
//	san.ErrUnavailable  nothing was changed; the store could not be asked
//	san.ErrUnknown      a transaction was sent and not confirmed: it may have
//	                    been made, or be made yet
//	san.ErrRefused      the store answered no, and will again

// opTimeout bounds one request to the store. A disk that stalls longer than
// this makes the call fail as unavailable; it is not the end of the store.
const opTimeout = 15 * time.Second

// storeErr turns an error of etcd into one of ours. changing says that a
// transaction was sent, so that its outcome is unknown.
func storeErr(err error, changing bool) error {
	switch {
	case errors.Is(err, rpctypes.ErrInvalidAuthToken): // before anything is changed; the next call gets another one
		return san.Errorf(san.ErrUnavailable, "etcd wants this node to log in again (%v); try again", err)
	case deniedErr(err):
		return san.Errorf(san.ErrRefused, "etcd does not allow it (%v): give this node's user the rights to read and write keys below /sango/", err)
	case changing:
		return san.Errorf(san.ErrUnknown, "the metadata store did not confirm the change (%v): it may or may not have been made; look before trying again", err)
	case errors.Is(err, rpctypes.ErrNoLeader):
		return san.Errorf(san.ErrUnavailable, "the metadata cluster has no leader (%v): if that lasts, a majority of its members is not running or can't be reached", err)
	}
	return san.Errorf(san.ErrUnavailable, "the metadata store does not answer (%v); if that lasts, its disk is full or stuck, or a majority of its members is gone", err)
}

// commitErr tells the failures that are known to have changed nothing from
// those that leave it open.
func commitErr(err error) error {
	switch {
	case errors.Is(err, rpctypes.ErrNoSpace):
		return san.Errorf(san.ErrUnavailable, "the metadata store is full (%v); make room on its disk", err)
	case errors.Is(err, rpctypes.ErrRequestTooLarge), errors.Is(err, rpctypes.ErrTooManyOps), errors.Is(err, rpctypes.ErrTooManyRequests):
		return san.Errorf(san.ErrUnavailable, "the metadata store refused the change: %v", err)
	case errors.Is(err, rpctypes.ErrNoLeader): // it is looked at before anything is proposed
		return storeErr(err, false)
	}
	return storeErr(err, true)
}

// passing reports whether a read that failed like this may be asked again at
// once: the leader has changed.
func passing(err error) bool {
	return errors.Is(err, rpctypes.ErrLeaderChanged) || errors.Is(err, rpctypes.ErrTimeoutDueToLeaderFail) || errors.Is(err, rpctypes.ErrNotLeader)
}

// getAgain is the wait before a read is repeated.
const getAgain = 10 * time.Millisecond

// askAgain calls f, which changes nothing, until it does not fail because
// the leader has changed, or its time is over.
func askAgain(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	for {
		err := f(ctx)
		if err == nil {
			return nil
		}
		if !passing(err) || !pause.For(ctx, getAgain) {
			return storeErr(err, false)
		}
	}
}

// read is a linearizable read.
func (s *Store) read(ctx context.Context, key string, opts ...clientv3.OpOption) (resp *clientv3.GetResponse, err error) {
	err = askAgain(ctx, func(ctx context.Context) error {
		resp, err = s.kv.Get(ctx, key, opts...)
		return err
	})
	return resp, err
}

// isLeaseGone reports whether a lease has run out.
func isLeaseGone(err error) bool { return errors.Is(err, rpctypes.ErrLeaseNotFound) }
