package gateway

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"sango/internal/san"
)

// A gateway whose heartbeats would count for another time than those of the
// others is refused before it is a member, each time.
func TestOtherTTLIsRefused(t *testing.T) {
	n := startGang(t, subdir(t, "d"), 2)
	t.Cleanup(func() { stop(t, n) })
	g := n.gateways()[1]
	n.cfg.Cluster.TTL, g.cfg.Cluster.TTL = 3*time.Second, 10*time.Second
	if err := n.registerAgain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := g.registerAgain(t.Context()); !errors.Is(err, san.ErrRefused) || !strings.Contains(err.Error(), "set ttl: 3s") {
		t.Errorf("again: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*ttlAgain)
	defer cancel()
	if err := g.register(ctx); !errors.Is(err, san.ErrRefused) {
		t.Errorf("at the start: %v", err)
	}
	g.cfg.Cluster.TTL = 3 * time.Second
	if err := g.registerAgain(t.Context()); err != nil {
		t.Error(err)
	}
}
