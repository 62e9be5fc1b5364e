package meta

import (
	"context"
	"errors"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"sango/internal/san"
)

// A read that meets a change of the leader is asked again; what has other
// reasons is told at once, and what ends by its time too.
func TestReadsOutliveALeader(t *testing.T) {
	n := 0
	err := askAgain(t.Context(), func(context.Context) error {
		if n++; n < 3 {
			return rpctypes.ErrLeaderChanged
		}
		return nil
	})
	if err != nil || n != 3 {
		t.Errorf("after %d calls: %v", n, err)
	}
	if err := askAgain(t.Context(), func(context.Context) error { return rpctypes.ErrTimeout }); !errors.Is(err, san.ErrUnavailable) {
		t.Errorf("a time-out = %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := askAgain(ctx, func(context.Context) error { return rpctypes.ErrLeaderChanged }); !errors.Is(err, san.ErrUnavailable) {
		t.Errorf("an end in between = %v", err)
	}
}

// What is known to have changed nothing is not told as an unknown outcome, and
// the other way round.
func TestKindsOfCommitErrors(t *testing.T) {
	for _, tc := range []struct {
		err  error
		kind error
	}{
		{rpctypes.ErrNoSpace, san.ErrUnavailable},
		{rpctypes.ErrTooManyRequests, san.ErrUnavailable},
		{rpctypes.ErrNoLeader, san.ErrUnavailable},
		{rpctypes.ErrInvalidAuthToken, san.ErrUnavailable},
		{rpctypes.ErrPermissionDenied, san.ErrRefused},
		{rpctypes.ErrTimeout, san.ErrUnknown},
		{rpctypes.ErrTimeoutDueToLeaderFail, san.ErrUnknown},
		{rpctypes.ErrStopped, san.ErrUnknown},
		{context.DeadlineExceeded, san.ErrUnknown},
		{errors.New("connection reset"), san.ErrUnknown},
	} {
		if err := commitErr(tc.err); !errors.Is(err, tc.kind) {
			t.Errorf("%v: %v, want %v", tc.err, err, tc.kind)
		}
	}
}
