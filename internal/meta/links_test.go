package meta

import (
	"errors"
	"testing"

	"sango/internal/san"
)

// Gateways that have no version of the protocol between them in common are not
// registered together: each would take the other for dead.
func TestGatewaysThatCannotSpeak(t *testing.T) {
	s := fresh(t)
	register := func(name string, oldest, newest int) error {
		return s.Update(t.Context(), func(tx *Tx) error {
			return tx.Register(&Gateway{Name: name, Links: Versions{oldest, newest}})
		})
	}
	for _, g := range []struct {
		name           string
		oldest, newest int
		refused        bool
	}{
		{"gw1", 0, 0, false}, // says nothing: it speaks the first
		{"gw2", 1, 2, false},
		{"gw3", 2, 3, true},
		{"gw1", 2, 2, false},
		{"gw3", 2, 3, false},
		{"gw1", 3, 3, true},
		{"gw2", 3, 4, true},
		{"gw4", 1, 1, true},
	} {
		if err := register(g.name, g.oldest, g.newest); errors.Is(err, san.ErrRefused) != g.refused || !g.refused && err != nil {
			t.Errorf("%+v: %v", g, err)
		}
	}
	update(t, s, func(tx *Tx) error { tx.RemoveGateway("gw1"); return nil })
	if err := register("gw2", 3, 4); err != nil {
		t.Errorf("after the other was taken away: %v", err)
	}
}
