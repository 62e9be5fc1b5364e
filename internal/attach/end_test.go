package attach

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"sango/internal/block"
)

// An end, all its parts together, keeps to what the command promises.
func TestEndLimit(t *testing.T) {
	const promised = 10 * time.Second
	if stopTime+endTime+answerTime > promised || clientTime >= stopTime {
		t.Errorf("an end may take %v + %v + %v; promised are %v", stopTime, endTime, answerTime, promised)
	}
	soon, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if n := endLimit(soon); n > 3*time.Second || n < endTime {
		t.Errorf("%v of 3 s are left", n)
	}
	over, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	if n := endLimit(over); n != endTime {
		t.Errorf("%v of nothing are left", n)
	}
	if n := endLimit(t.Context()); n != stopTime {
		t.Errorf("%v without a limit", n)
	}
}

// clients is a frontend whose stop tells how long it may take.
type clients struct {
	*disk
	limit chan time.Duration
}

func (c clients) stop(ctx context.Context, force bool) error {
	by, _ := ctx.Deadline()
	c.limit <- time.Until(by)
	return c.disk.stop(ctx, force)
}

// Clients that do not leave a socket don't use up the time of the volume.
func TestClientsHaveNotAllTheTime(t *testing.T) {
	d := testDir(t)
	o := quiet(d, "mem:16M")
	o.As, o.SocketPath = AsSocket, filepath.Join(d.Path(), "s")
	c := clients{&disk{stopped: make(chan struct{})}, make(chan time.Duration, 1)}
	o.start = func(context.Context, *Options, *State, block.Device, bool) (frontend, error) { return c, nil }
	r := begin(t, o)
	<-r.ready
	r.cancel()
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
	if n := <-c.limit; n > clientTime {
		t.Errorf("the clients have %v", n)
	}
}

// Whoever has detached an attachment can attach it again at once.
func TestNameIsFreeAfterDetach(t *testing.T) {
	d := testDir(t)
	for range 20 {
		r := begin(t, quiet(d, "mem:16M").with(&disk{id: 7}, nil))
		select {
		case <-r.ready:
		case err := <-r.ended:
			t.Fatal(err)
		}
		if err := d.Detach(t.Context(), "mem", false); err != nil {
			t.Fatal(err)
		}
	}
}
