package gateway

import (
	"context"

	"sango/internal/san"
)

// heard notes up to which revision the metadata has told everything, before it
// is put into effect; some: there are changes up to it, and gateways: some of
// them are about gateways.
func (v *view) heard(revision int64, some, gateways bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.told = revision
	if some {
		v.changed = revision
	}
	if gateways {
		v.pending = revision
	}
	v.wake()
}

// applied returns the revision up to which everything has been applied, if not
// ended.
func (v *view) applied() int64 {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.access
}

// wake has those who wait look again. v.mu is held.
func (v *view) wake() {
	close(v.moved)
	v.moved = make(chan struct{})
}

// waitGateways waits until everything up to revision that is about gateways is
// in effect, and reports whether that was before ctx was done. It waits for no
// other changes, nor for tasks: what hosts ask of the cluster must not depend on a
// volume that does not close.
func (v *view) waitGateways(ctx context.Context, revision int64) bool {
	return v.waitFor(ctx, revision, func() int64 {
		if v.pending > v.access {
			return v.access
		}
		return max(v.told, v.access)
	})
}

// waitAccess waits until everything up to revision is in effect but for the end
// of tasks, and the closing of volumes, which may take as long as their medium
// does. It reports whether that was before ctx was done.
func (v *view) waitAccess(ctx context.Context, revision int64) bool {
	return v.waitFor(ctx, revision, func() int64 {
		if v.changed <= v.access {
			return max(v.access, v.told)
		}
		return v.access
	})
}

// waitFor waits until known, which is called with the lock, has come to revision,
// and reports whether that was before ctx was done.
func (v *view) waitFor(ctx context.Context, revision int64, known func() int64) bool {
	for {
		v.mu.RLock()
		now, moved, failed := known(), v.moved, v.failed
		v.mu.RUnlock()
		switch {
		case now >= revision:
			return true
		case failed != nil:
			return false
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return false
		}
	}
}

// wait returns when everything up to revision is applied, and what the change of
// revision own (0: all up to revision; api.Applied: none) took away has ended.
func (v *view) wait(ctx context.Context, revision, own int64) error {
	for {
		v.mu.RLock()
		done, moved, failed := v.access >= revision && v.ended(revision, own), v.moved, v.failed
		v.mu.RUnlock()
		switch {
		case done:
			return nil
		case failed != nil:
			return failed
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return san.Errorf(san.ErrUnavailable, "the change is made, but not in effect yet: %v", ctx.Err())
		}
	}
}

// fail tells those who wait that nothing more will come.
func (v *view) fail(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.failed = err
	v.wake()
}
