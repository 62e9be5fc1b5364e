package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"sango/internal/initiator"
	"sango/internal/iscsi"
	"sango/internal/san"
)

func TestSourceRefused(t *testing.T) {
	u := initiator.URL{Host: "192.0.2.1:3260", Target: "iqn.a", LUN: 1}
	other := u
	other.LUN = 2
	good := Source{URLs: []initiator.URL{u}, Initiator: "iqn.b"}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Source){
		"no URL":                 func(s *Source) { s.URLs = nil },
		"different volumes":      func(s *Source) { s.URLs = append(s.URLs[:1:1], other) },
		"not an iSCSI name":      func(s *Source) { s.Initiator = "" },
		"digests \"all\"":        func(s *Source) { s.Digests = "all" },
		"policy \"best\"":        func(s *Source) { s.Policy = "best" },
		"-1 sessions":            func(s *Source) { s.Sessions = -1 },
		"know no other paths":    func(s *Source) { s.Raw, s.Discover = true, true },
		"an account of the host": func(s *Source) { s.MutualUser, s.MutualSecret = "a", "b" },
	} {
		s := good
		change(&s)
		if _, err := s.Open(t.Context()); !errors.Is(err, san.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestKindOf(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		ctx  context.Context
		err  error
		want error
	}{
		{t.Context(), &iscsi.LoginError{Status: iscsi.LoginNotFound}, san.ErrNotFound},
		{t.Context(), fmt.Errorf("portal: %w", &iscsi.LoginError{Status: iscsi.LoginAuthFailed}), san.ErrRefused},
		{t.Context(), &iscsi.LoginError{Status: iscsi.LoginUnavailable}, san.ErrUnavailable},
		{t.Context(), &initiator.UsageError{Text: "portal"}, san.ErrInvalid},
		{t.Context(), errors.New("connection refused"), san.ErrUnavailable},
		{t.Context(), san.Errorf(san.ErrNotFound, "no LUN"), san.ErrNotFound},
		{ended, context.Canceled, context.Canceled},
	} {
		if got := kindOf(c.ctx, c.err); !errors.Is(got, c.want) || !strings.Contains(got.Error(), c.err.Error()) {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
	}
}

// A target that is away ends a benchmark, it does not hold it for ever.
func TestOpenWithoutTarget(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	for _, raw := range []bool{false, true} {
		s := Source{
			URLs: []initiator.URL{{Host: addr, Target: "iqn.a"}}, Initiator: "iqn.b", Raw: raw, OpenTime: 300 * time.Millisecond,
			Logger: slog.New(slog.DiscardHandler),
		}
		if _, err := s.Open(t.Context()); !errors.Is(err, san.ErrUnavailable) {
			t.Errorf("raw %v: %v", raw, err)
		}
	}
}
