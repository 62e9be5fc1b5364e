package gateway

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"sango/internal/meta"
	"sango/internal/san"
)

// The identity of a directory stays through restarts, under another name of
// the gateway too, and what is no identity is refused.
func TestNodeIdentity(t *testing.T) {
	dir := subdir(t, "d")
	n := start(t, dir)
	first := *n.claimed
	stop(t, n)
	n = start(t, dir)
	if n.claimed.Node != first.Node || n.claimed.Incarnation <= first.Incarnation {
		t.Errorf("%+v after %+v", n.claimed, first)
	}
	stop(t, n)
	if err := os.WriteFile(filepath.Join(dir, nodeIDName), []byte("?"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := nodeID(dir); !errors.Is(err, san.ErrRefused) {
		t.Errorf("nodeID = %v", err)
	}
}

// A node whose claim is another's tells that it has failed.
func TestLostClaimEndsTheNode(t *testing.T) {
	n := node(t, subdir(t, "d"))
	if err := n.meta.Update(t.Context(), func(tx *meta.Tx) error { return tx.Release("gw1") }); err != nil {
		t.Fatal(err)
	}
	if err := <-n.Failed(); !errors.Is(err, san.ErrRefused) {
		t.Errorf("Failed = %v", err)
	}
	if err := n.Volumes().Delete(t.Context(), "x"); err == nil {
		t.Error("it changes the metadata still")
	}
}
