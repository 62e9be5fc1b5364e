package cluster

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"sango/internal/cluster/model"
	"sango/internal/san"
)

// An administrator moves a volume as often as wanted, from a node that runs no
// gateway.
func TestAdministratorMoves(t *testing.T) {
	inWorld(t, 3, 3, model.FenceDriver, func(t *testing.T, w *world) {
		other := w.m.way(1000)
		v := volumeID(1)
		for i := range 9 {
			to := w.nodes[i%3]
			if err := MoveVolume(t.Context(), other, v, to.name); err != nil {
				t.Fatal(err)
			}
			if m, err := Serving(t.Context(), other, v); err != nil || m != to.member() {
				t.Errorf("served by %v, %v; want %s", m, err, to.name)
			}
		}
		if o := get(w.m, model.OwnerRecord{Volume: v}); o.Asked != model.Administrator {
			t.Errorf("%+v", o)
		}
	})
}

// Where it can't be, who asks is told why.
func TestAdministratorCannotMove(t *testing.T) {
	inWorld(t, 3, 3, model.FenceNone, func(t *testing.T, w *world) {
		other := w.m.way(1000)
		v := volumeID(1)
		owner := w.by(v)
		var to, dead *node
		for _, n := range w.nodes {
			switch {
			case n == owner:
			case to == nil:
				to = n
			default:
				dead = n
			}
		}
		move := func(id model.GatewayID) error {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			return MoveVolume(ctx, other, v, id)
		}
		if err := move("nobody"); !errors.Is(err, san.ErrNotFound) {
			t.Errorf("to nobody: %v", err)
		}
		if err := Drain(t.Context(), other, to.name); err != nil {
			t.Fatal(err)
		}
		if err := move(to.name); !errors.Is(err, san.ErrRefused) || !strings.Contains(err.Error(), "undrain") {
			t.Errorf("to one that is drained: %v", err)
		}
		if err := Undrain(t.Context(), other, to.name); err != nil {
			t.Fatal(err)
		}
		to.mu.Lock()
		to.broken = true
		to.mu.Unlock()
		if err := move(to.name); !errors.Is(err, san.ErrUnavailable) || !strings.Contains(err.Error(), "could not open") {
			t.Errorf("to one that can't open it: %v", err)
		}
		m := dead.member()
		if alive, err := Living(t.Context(), other, m); err != nil || !alive {
			t.Errorf("living = %v, %v", alive, err)
		}
		dead.kill()
		w.eventually("it is dead", func() bool {
			alive, err := Living(t.Context(), other, m)
			return err == nil && !alive
		})
		if err := move(dead.name); !errors.Is(err, san.ErrRefused) {
			t.Errorf("to a dead one: %v", err)
		}
		for i := range 3 {
			if o := get(w.m, model.OwnerRecord{Volume: volumeID(i)}); o.Owner == m {
				if got, err := Serving(t.Context(), other, o.Volume); err != nil || !got.IsZero() {
					t.Errorf("what a dead gateway had is served by %v, %v", got, err)
				}
			}
		}
	})
}
