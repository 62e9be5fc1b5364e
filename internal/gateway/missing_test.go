package gateway

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sango/internal/cluster"
	"sango/internal/cluster/model"
	"sango/internal/meta"
	"sango/internal/pause"
)

// A volume whose bytes are gone is not passed from gateway to gateway all the
// time, and can be deleted. Others are served.
func TestBytesAreMissing(t *testing.T) {
	dir := subdir(t, "d")
	n := startGang(t, dir, 3)
	t.Cleanup(func() { stop(t, n) })
	mappedBy(t, n, "well", 1<<20, "layered")
	v := volume(t, n, "lost", 1<<20)
	from := ownerOf(t, n, v.ID)
	owner := func() (o *meta.Owner) {
		if err := n.meta.Update(t.Context(), func(tx *meta.Tx) (err error) {
			o, err = tx.Owner(v.ID)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return o
	}
	before := owner().Epoch
	gone(t, dir, v.ID.String())
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	to := (from + 1) % 3
	if err := cluster.MoveVolume(ctx, n.member.store, v.ID, model.GatewayID(n.gateways()[to].cfg.Name)); err == nil {
		t.Error("it was moved")
	}
	for owner().Epoch < before+4 {
		if !pause.For(ctx, 20*time.Millisecond) {
			t.Fatalf("it is not tried again: %+v", owner())
		}
	}
	if e := owner().Epoch; e > before+6 {
		t.Errorf("epoch %d after %d", e, before)
	}
	for name, err := range map[string]error{"delete": n.Volumes().Delete(ctx, "lost"), "well": n.Ready(ctx)} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// gone takes the bytes of a volume away.
func gone(t *testing.T, dir, id string) {
	t.Helper()
	found := 0
	if err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err == nil && filepath.Base(path) == id {
			found++
			if err = os.RemoveAll(path); err == nil {
				err = filepath.SkipDir
			}
		}
		return err
	}); err != nil || found != 1 {
		t.Fatalf("%d found, %v", found, err)
	}
}
