package cluster

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sango/internal/cluster/model"
)

var errMedium = errors.New("a flush failed")

// counting counts what is logged of volumes that can't be opened.
type counting struct {
	slog.Handler
	mu sync.Mutex // guards n
	n  int
}

// Enabled implements slog.Handler.
func (c *counting) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (c *counting) Handle(_ context.Context, r slog.Record) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.Message == "a volume could not be opened" && r.Level > slog.LevelDebug {
		c.n++
	}
	return nil
}

// broken lets opens fail everywhere, or no more.
func broken(w *world, yes bool) {
	for _, n := range w.nodes {
		n.mu.Lock()
		n.broken = yes
		n.mu.Unlock()
	}
}

// A volume that no gateway can open is tried less and less often, and said of
// once by each; when it can be opened again it is served.
func TestNobodyCanOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, model.FenceDriver)
		said := &counting{Handler: slog.DiscardHandler}
		w.add(3, true, func(o *Options) { o.Log = slog.New(said) })
		w.startAll()
		defer w.stop()
		w.eventually("all is served", w.served)
		v := volumeID(0)
		owner := w.by(v)
		before := get(w.m, model.OwnerRecord{Volume: v}).Epoch
		broken(w, true)
		owner.r.Failed(v, errMedium)
		sleep(2 * time.Minute)
		o := get(w.m, model.OwnerRecord{Volume: v})
		if tries := o.Epoch - before; tries < 5 || tries > 10 {
			t.Errorf("it was tried %d times in 2 minutes", tries)
		}
		if o.State != model.Free || o.Reason != model.ReasonFailed || o.Failed == "" {
			t.Errorf("%+v", o)
		}
		said.mu.Lock()
		if said.n != 3 {
			t.Errorf("it was said %d times", said.n)
		}
		said.mu.Unlock()
		broken(w, false)
		if err := MoveVolume(t.Context(), owner.way, v, owner.name); err != nil {
			t.Error(err)
		}
		w.eventually("it is served", w.served)
	})
}
