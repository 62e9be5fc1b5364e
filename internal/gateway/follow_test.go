package gateway

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"

	"sango/internal/meta"
	"sango/internal/san"
	"sango/internal/target"
)

// shaky is a source whose watches end with the errors given, one after the
// other, and then no more.
type shaky struct {
	errs  []error
	loads int64
}

func (s *shaky) Watch(ctx context.Context, _ int64, _ func(int64, []meta.Change) error) error {
	if len(s.errs) > 0 {
		err := s.errs[0]
		s.errs = s.errs[1:]
		return err
	}
	<-ctx.Done()
	return nil
}

func (s *shaky) Load(context.Context) (*meta.Snapshot, error) {
	s.loads++
	if s.loads == 2 {
		return nil, san.Errorf(san.ErrUnavailable, "away")
	}
	return &meta.Snapshot{Revision: 10 * s.loads}, nil
}

func bareView(t *testing.T) *view {
	n := &Node{common: &common{}, cfg: Config{Log: slog.New(slog.NewTextHandler(t.Output(), nil))}}
	n.view = newView(n)
	return n.view
}

// A node goes on following when the history was compacted or the store was
// away; it gives up on what it can't read.
func TestFollowStartsAfresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := bareView(t)
		var err error
		if v.n.server, err = target.New(target.Config{}, directory{v}); err != nil {
			t.Fatal(err)
		}
		s := &shaky{errs: []error{meta.ErrBehind, san.Errorf(san.ErrUnavailable, "away")}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- v.follow(ctx, s, 1) }()
		if err := v.wait(t.Context(), 30, 0); err != nil {
			t.Error(err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("follow = %v", err)
		}
	})
}

func TestFollowGivesUpOnWhatItCannotRead(t *testing.T) {
	v := bareView(t)
	unreadable := errors.New("written by another version")
	if err := v.follow(t.Context(), &shaky{errs: []error{unreadable}}, 1); !errors.Is(err, unreadable) {
		t.Errorf("follow = %v", err)
	}
	if err := v.wait(t.Context(), 2, 0); !errors.Is(err, unreadable) {
		t.Errorf("wait = %v", err)
	}
}
