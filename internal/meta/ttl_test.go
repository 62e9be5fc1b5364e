package meta

import (
	"errors"
	"strings"
	"testing"
	"time"

	"sango/internal/san"
)

// Heartbeats of all gateways count for the same time. It changes when none may
// have a right of the former.
func TestSharedTTL(t *testing.T) {
	s := fresh(t)
	share := func(gateway string, ttl time.Duration) error {
		return s.Update(t.Context(), func(tx *Tx) error { return tx.ShareTTL(gateway, ttl) })
	}
	is := func(kind RecordKind, v any) {
		t.Helper()
		if _, made, err := s.Change(t.Context(), nil, []Record{{RecordKey{kind, "gw1"}, 0, v}}); err != nil || !made {
			t.Fatal(made, err)
		}
	}
	agreed := func(ttl time.Duration) bool {
		t.Helper()
		_, made, err := s.Change(t.Context(), []Guard{{TTLKey(ttl), Present}}, []Record{{RecordKey{RecordDrain, "x"}, 0, &Drain{}}})
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	const three, ten = 3 * time.Second, 10 * time.Second
	if agreed(three) {
		t.Error("a guard holds for what there is not")
	}
	is(RecordIncarnation, &Incarnation{Number: 7, Life: Alive}) // of a program that does not say
	if err := share("gw1", three); err != nil {
		t.Fatal(err)
	}
	if !agreed(three) || agreed(ten) {
		t.Error("what was agreed on is not what guards say")
	}
	refused := func(when string) {
		t.Helper()
		if err := share("gw2", ten); !errors.Is(err, san.ErrRefused) || !errors.As(err, new(*TTLError)) || !strings.Contains(err.Error(), "set ttl: 3s") || !strings.Contains(err.Error(), "gw1") {
			t.Errorf("%s: %v", when, err)
		}
		if err := share("gw2", three); err != nil {
			t.Errorf("%s, the same: %v", when, err)
		}
	}
	refused("another one lives")
	is(RecordIncarnation, &Incarnation{Number: 7, Life: Dead})
	is(RecordHarmless, &Harmless{UpTo: 6})
	refused("another one may write still")
	is(RecordHarmless, &Harmless{UpTo: 7})
	if err := share("gw2", ten); err != nil {
		t.Errorf("all are off: %v", err)
	}
	is(RecordIncarnation, &Incarnation{Number: 8, Life: Alive})
	if err := share("gw1", three); err != nil {
		t.Errorf("nobody but itself: %v", err)
	}
	update(t, s, (*Tx).ForgetTTL)
	if agreed(three) {
		t.Error("it is not forgotten")
	}
}
