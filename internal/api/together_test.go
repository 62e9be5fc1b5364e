package api

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	v1 "sango/internal/api/gen/sango/v1"
	"sango/internal/meta"
	"sango/internal/pause"
	"sango/internal/san"
)

// What needs the bytes of a volume is done by its owner, whoever is asked.
func TestCallsReachTheOwner(t *testing.T) {
	w := newWorld(t, "gw1", "gw2")
	w.volume("db", "gw2")
	for _, asked := range []string{"gw1", "gw2"} {
		cl := w.client(asked)
		ctx := t.Context()
		for what, f := range map[string]func() error{
			"resize db": func() error {
				_, err := cl.ResizeVolume(ctx, connect.NewRequest(&v1.ResizeVolumeRequest{Name: "db", Size: 1}))
				return err
			},
			"delete db": func() error {
				_, err := cl.DeleteVolume(ctx, connect.NewRequest(&v1.DeleteVolumeRequest{Name: "db"}))
				return err
			},
			"snapshot db@of-gw2": func() error {
				r, err := cl.CreateSnapshot(ctx, connect.NewRequest(&v1.CreateSnapshotRequest{Volume: "db", Snapshot: "of-gw2"}))
				if err == nil && r.Msg.GetSnapshot().GetSize() != 5 {
					t.Errorf("snapshot = %v", r.Msg)
				}
				return err
			},
			"delete db@s": func() error {
				_, err := drainStream(cl.DeleteSnapshot(ctx, connect.NewRequest(&v1.DeleteSnapshotRequest{Volume: "db", Snapshot: "s"})))
				return err
			},
			"clone db@s new": func() error {
				_, err := cl.CloneVolume(ctx, connect.NewRequest(&v1.CloneVolumeRequest{Volume: "db", Snapshot: "s", Name: "new"}))
				return err
			},
			"export db@": func() error {
				n, err := drainStream(cl.ExportVolume(ctx, connect.NewRequest(&v1.ExportVolumeRequest{Volume: "db"})))
				if n != 9 {
					t.Errorf("an export of %d messages", n)
				}
				return err
			},
			"rollback db@s": func() error {
				_, err := cl.RollbackVolume(ctx, connect.NewRequest(&v1.RollbackVolumeRequest{Volume: "db", Snapshot: "s"}))
				if !errors.Is(err, san.ErrRefused) || err.Error() != "volume db is mapped" {
					return fmt.Errorf("not the error of the owner: %w", err)
				}
				return nil
			},
		} {
			if err := f(); err != nil {
				t.Errorf("%s through %s: %v", what, asked, err)
			}
			if got := quiet(w.called()); !slices.Equal(got, []string{"gw2 " + what}) {
				t.Errorf("%s through %s: %q", what, asked, got)
			}
		}
	}
}

// What no gateway could open is deleted by whoever is asked; all else needs an
// owner.
func TestDeleteOfWhatNobodyCanOpen(t *testing.T) {
	w := newWorld(t, "gw1", "gw2")
	id := w.volume("db", "gw2")
	must(t, w.put(meta.RecordOwner, id.String(), &meta.Owner{State: meta.OwnerNone, Epoch: 9, Reason: "failed", Failed: "gw2"}))
	w.nodes["gw1"].server.hops.wait = 50 * time.Millisecond
	cl := w.client("gw1")
	if _, err := cl.ResizeVolume(t.Context(), connect.NewRequest(&v1.ResizeVolumeRequest{Name: "db", Size: 1})); !errors.Is(err, san.ErrUnavailable) {
		t.Errorf("a resize: %v", err)
	}
	if _, err := cl.DeleteVolume(t.Context(), connect.NewRequest(&v1.DeleteVolumeRequest{Name: "db"})); err != nil {
		t.Error(err)
	}
	if got := quiet(w.called()); !slices.Equal(got, []string{"gw1 delete db"}) {
		t.Errorf("%q", got)
	}
	must(t, w.put(meta.RecordOwner, id.String(), &meta.Owner{State: meta.OwnerNone, Epoch: 9, Reason: "left"}))
	if _, err := cl.DeleteVolume(t.Context(), connect.NewRequest(&v1.DeleteVolumeRequest{Name: "db"})); !errors.Is(err, san.ErrUnavailable) {
		t.Errorf("a delete of what waits for an owner: %v", err)
	}
}

// A call comes once to another gateway: that which sees somebody else as the
// owner says so.
func TestCallsAreNotThrownToAndFro(t *testing.T) {
	w := newWorld(t, "gw1", "gw2", "gw3")
	w.volume("db", "gw3")
	_, err := w.nodes["gw1"].server.hops.volumes("gw2").ResizeVolume(t.Context(), connect.NewRequest(&v1.ResizeVolumeRequest{Name: "db", Size: 1}))
	if err = FromWire(err); !errors.Is(err, san.ErrUnavailable) {
		t.Errorf("err = %v", err)
	}
	if got := quiet(w.called()); len(got) != 0 {
		t.Errorf("done: %q", got)
	}
}

// What other gateways are served is not for those who are none.
func TestPeersAreGateways(t *testing.T) {
	w := newWorld(t, "gw1")
	r, err := w.nodes["gw1"].server.hops.http.Post(base("gw1")+"/sango.v1.VolumeService/ListVolumes", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusForbidden {
		t.Errorf("status = %d", r.StatusCode)
	}
}

// A volume that moves is waited for, and not for ever.
func TestWaitForAnOwner(t *testing.T) {
	w := newWorld(t, "gw1", "gw2")
	v := w.volume("db", "")
	cl := w.client("gw1")
	resize := func() error {
		_, err := cl.ResizeVolume(t.Context(), connect.NewRequest(&v1.ResizeVolumeRequest{Name: "db", Size: 1}))
		return err
	}
	if err := resize(); !errors.Is(err, san.ErrUnavailable) {
		t.Errorf("without an owner: %v", err)
	}
	w.nodes["gw1"].server.hops.wait = time.Minute
	done := make(chan error)
	go func() { done <- resize() }()
	w.own(v, "gw2")
	if err := <-done; err != nil {
		t.Error(err)
	}
	w.lives("gw2", 9, meta.Alive) // the owner is a former start
	w.nodes["gw1"].server.hops.wait = time.Millisecond
	if err := resize(); !errors.Is(err, san.ErrUnavailable) {
		t.Errorf("with a dead owner: %v", err)
	}
	if _, err := cl.ResizeVolume(t.Context(), connect.NewRequest(&v1.ResizeVolumeRequest{Name: "none", Size: 1})); !errors.Is(err, san.ErrNotFound) {
		t.Errorf("a volume that is not there: %v", err)
	}
}

// A gateway that stands still holds up a call until it is declared dead.
func TestOwnerDiesInTheMiddle(t *testing.T) {
	w := newWorld(t, "gw1", "gw2")
	w.volume("db", "gw2")
	stuck := make(chan struct{})
	defer close(stuck)
	w.nodes["gw2"].stuck = stuck
	done := make(chan error)
	go func() {
		_, err := w.client("gw1").ResizeVolume(t.Context(), connect.NewRequest(&v1.ResizeVolumeRequest{Name: "db", Size: 1}))
		done <- err
	}()
	for !slices.Contains(w.called(), "gw2 resize db") {
		if !pause.For(t.Context(), time.Millisecond) {
			t.Fatal("it does not come")
		}
	}
	w.lives("gw2", 2, meta.Dead)
	if err := <-done; !errors.Is(err, san.ErrUnavailable) {
		t.Errorf("err = %v", err)
	}
}

// A volume that moves away in the moment of a call is followed: nothing was
// done.
func TestCallFollowsTheVolume(t *testing.T) {
	for _, from := range []string{"gw1", "gw2"} {
		w := newWorld(t, "gw1", "gw2", "gw3")
		v := w.volume("db", from)
		w.moves = func() { w.own(v, "gw3") }
		if _, err := w.client("gw1").ResizeVolume(t.Context(), connect.NewRequest(&v1.ResizeVolumeRequest{Name: "db", Size: 1})); err != nil {
			t.Error(err)
		}
		if got := quiet(w.called()); !slices.Equal(got, []string{"gw3 resize db"}) {
			t.Errorf("calls: %q", got)
		}
	}
}

// A merge is told of until it is done, wherever that is.
func TestMergeFollowsTheVolume(t *testing.T) {
	w := newWorld(t, "gw1", "gw2", "gw3")
	v := w.volume("db", "gw2")
	w.merging = 9
	s, err := w.client("gw1").DeleteSnapshot(t.Context(), connect.NewRequest(&v1.DeleteSnapshotRequest{Volume: "db", Snapshot: "s"}))
	if err != nil {
		t.Fatal(err)
	}
	var done []int64
	for s.Receive() {
		done = append(done, s.Msg().GetDone())
		switch len(done) {
		case 2:
			w.own(v, "gw3")
		case 5:
			w.own(v, "gw1")
		}
	}
	if err := FromWire(s.Err()); err != nil || len(done) < 9 || !slices.IsSorted(done) || done[len(done)-1] != 10 {
		t.Errorf("told %v, %v", done, err)
	}
	if got := quiet(w.called()); !slices.Equal(got, []string{"gw2 delete db@s"}) {
		t.Errorf("calls: %q", got)
	}
}
