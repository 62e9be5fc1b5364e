package initiator

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"sango/internal/iscsi"
	"sango/internal/san"
	"sango/internal/vecio"
)

// maxRedirects bounds the redirections that one login follows.
const maxRedirects = 4

// loginITT is the tag of a login's requests.
const loginITT iscsi.ITT = 0

// NewISID returns a random ISID (RFC 7143 §11.12.5, type 2).
func NewISID() san.ISID {
	var i san.ISID
	_, _ = rand.Read(i[:])
	i[0] = 0x80
	return i
}

// check fills in the defaults of cfg, and says what is wrong with it.
func (cfg *Config) check(discovery bool) error {
	if err := iscsi.CheckName(cfg.Initiator.Name); err != nil {
		return &UsageError{fmt.Sprintf("initiator name %q: %v", cfg.Initiator.Name, err)}
	}
	if !discovery || cfg.Target != "" {
		if err := iscsi.CheckName(cfg.Target); err != nil {
			return &UsageError{fmt.Sprintf("target name %q: %v", cfg.Target, err)}
		}
	}
	a, err := iscsi.ParseTargetAddress(cfg.Portal)
	if err != nil || strings.Contains(cfg.Portal, ",") {
		return &UsageError{fmt.Sprintf("portal %q is not host:port: an IPv6 address goes in brackets", cfg.Portal)}
	}
	cfg.Portal = a.Addr
	if cfg.CHAP != nil {
		c := *cfg.CHAP
		cfg.CHAP = &c
	}
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{
		{&cfg.LoginTimeout, DefaultLoginTimeout},
		{&cfg.PingInterval, DefaultPingInterval},
		{&cfg.PingTimeout, DefaultPingTimeout},
		{&cfg.ManageTimeout, DefaultManageTimeout},
	} {
		if *d.v == 0 {
			*d.v = d.def
		}
	}
	switch {
	case cfg.QueueDepth == 0:
		cfg.QueueDepth = DefaultQueueDepth
	case cfg.QueueDepth < 0 || cfg.QueueDepth > MaxQueueDepth:
		return &UsageError{fmt.Sprintf("queue depth %d is not from 1 to %d", cfg.QueueDepth, MaxQueueDepth)}
	}
	if cfg.LoginTimeout < 0 || cfg.PingTimeout < 0 || cfg.ManageTimeout < 0 {
		return &UsageError{"a time-out is negative"}
	}
	o := iscsi.DefaultOffers()
	if cfg.Offers != nil {
		o = *cfg.Offers
	}
	// A segment in the middle of data that needs padding is legal, but tgt pads
	// it by overwriting what comes next. So there is none.
	o.MaxRecv &^= 3
	o.MaxBurstLength &^= 3
	o.FirstBurstLength &^= 3
	cfg.Offers = &o
	if cfg.Dial == nil {
		cfg.Dial = (&net.Dialer{Control: vecio.DialUnpaced}).DialContext
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Login connects to cfg.Portal and logs in to cfg.Target, following up to
// maxRedirects redirections, which hold for this login alone. An error of the target's is an *iscsi.LoginError.
func Login(ctx context.Context, cfg Config) (*Session, error) {
	if err := cfg.check(false); err != nil {
		return nil, err
	}
	l, o, err := cfg.login(ctx, false)
	if err != nil {
		return nil, err
	}
	armAbort(l.conn)
	return newSession(cfg, l, o), nil
}

// login follows redirections; cfg.Portal is where it ended up.
func (cfg *Config) login(ctx context.Context, discovery bool) (*link, *iscsi.Originator, error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.LoginTimeout)
	defer cancel()
	first := cfg.Portal
	for range maxRedirects + 1 {
		l, o, err := cfg.loginAt(ctx, discovery)
		if err == nil {
			return l, o, nil
		}
		var refused *iscsi.LoginError
		if !errors.As(err, &refused) || refused.Status.Class() != 1 {
			return nil, nil, fmt.Errorf("portal %s: %w", cfg.Portal, err)
		}
		if len(refused.Redirect) == 0 {
			return nil, nil, fmt.Errorf("portal %s redirects the login and does not say where: %w", cfg.Portal, err)
		}
		to := refused.Redirect[0].Addr
		if cfg.Follow != nil && !cfg.Follow(to) {
			return nil, nil, fmt.Errorf("portal %s sends the login on to %s: %w", cfg.Portal, to, err)
		}
		cfg.Logger.Info("login redirected", "portal", cfg.Portal, "to", to)
		cfg.Portal = to
	}
	return nil, nil, fmt.Errorf("portal %s: the login was redirected more than %d times, at last to %s", first, maxRedirects, cfg.Portal)
}

// loginAt is one login at cfg.Portal.
func (cfg *Config) loginAt(ctx context.Context, discovery bool) (*link, *iscsi.Originator, error) {
	conn, err := cfg.Dial(ctx, "tcp", cfg.Portal)
	if err != nil {
		return nil, nil, err
	}
	l := newLink(conn, cfg.Trace)
	o := iscsi.NewOriginator(iscsi.OriginatorConfig{
		Initiator: cfg.Initiator, Alias: cfg.Alias, Target: cfg.Target, Discovery: discovery, ITT: loginITT, CmdSN: 1,
		CHAP: cfg.CHAP, Algorithms: cfg.Algorithms, Offers: *cfg.Offers, Instance: cfg.Instance,
	})
	release := closeAtEnd(ctx, conn)
	err = l.login(o)
	if !release() {
		closeAbortively(conn)
		return nil, nil, fmt.Errorf("login: %w", timedOut(ctx, err))
	}
	if err != nil {
		closeAbortively(conn)
		return nil, nil, err
	}
	return l, o, nil
}

// closeAtEnd makes the end of ctx close conn, until release is called, which
// reports false where it came too late.
func closeAtEnd(ctx context.Context, conn net.Conn) (release func() bool) {
	return context.AfterFunc(ctx, func() { closeAbortively(conn) })
}

// timedOut returns why ctx ended, rather than the error of a closed
// connection.
func timedOut(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%w: the target took too long", ErrNoAnswer)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// login runs o to its end.
func (l *link) login(o *iscsi.Originator) error {
	req, text := o.First()
	for {
		var h iscsi.BHS
		req.Put(&h)
		data, err := l.exchange(&h, text)
		if err != nil {
			return fmt.Errorf("login: %w", err)
		}
		if l.h.Opcode() == iscsi.OpReject {
			r, err := iscsi.ParseReject(&l.h)
			if err != nil {
				return fmt.Errorf("login: %w", err)
			}
			return peerErrorf("it rejected a Login Request: %v", r.Reason)
		}
		resp, err := iscsi.ParseLoginResponse(&l.h)
		if err != nil {
			return fmt.Errorf("login: %w", err)
		}
		if req, text, err = o.Step(resp, data); err != nil {
			return fmt.Errorf("login: %w", err)
		}
		if o.Done() {
			p := o.Outcome()
			l.headerDigest, l.dataDigest, l.limit = p.HeaderDigest, p.DataDigest, p.MaxRecv
			l.window = resp.MaxCmdSN
			return nil
		}
	}
}
