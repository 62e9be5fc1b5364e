package bench

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sango/internal/initiator"
	"sango/internal/iscsi"
	"sango/internal/multipath"
	"sango/internal/san"
)

// closeTime bounds the logout of plain sessions.
const closeTime = 10 * time.Second

// Source is a volume and how to reach it.
type Source struct {
	URLs      []initiator.URL // paths to one volume
	Initiator string          // iSCSI name to log in as
	// MutualUser and MutualSecret: the target has to prove that it knows them.
	MutualUser, MutualSecret string
	Sessions                 int  // 0: 1, or one for each URL with Raw
	Raw                      bool // plain sessions in turns over the URLs, without multipath
	Discover                 bool // all portals of the target, not those of the URLs only
	Policy                   string
	Digests                  string // none, header, data or both; empty: as the target wants it
	Depth                    int    // requests at a time in each session
	Logger                   *slog.Logger
	OpenTime                 time.Duration // bounds Open; 0: 30 s
}

// Check says what of s makes no sense.
func (s *Source) Check() error {
	if _, err := s.offers(); err != nil {
		return err
	}
	if _, err := multipath.ParsePolicy(s.Policy); err != nil {
		return invalid("%v", err)
	}
	switch {
	case s.Sessions < 0 || s.Sessions > MaxSessions:
		return invalid("%d sessions; use 1 to %d", s.Sessions, MaxSessions)
	case s.Raw && (s.Discover || s.Policy != ""):
		return invalid("plain sessions know no other paths: discovery and a policy go without them")
	case len(s.URLs) == 0:
		return invalid("there is no URL")
	case iscsi.CheckName(s.Initiator) != nil:
		return invalid("%q is not an iSCSI name to log in as", s.Initiator)
	}
	first := s.URLs[0]
	for _, u := range s.URLs {
		if u.Target != first.Target || u.LUN != first.LUN {
			return invalid("the URLs name different volumes: LUN %d of %s, and LUN %d of %s", first.LUN, first.Target, u.LUN, u.Target)
		}
		if s.MutualSecret != "" && u.User == "" {
			return invalid("mutual CHAP goes with an account of the host: give its user and secret too")
		}
	}
	return nil
}

// openTime returns how long Open waits for a path of every session.
func (s *Source) openTime() time.Duration {
	if s.OpenTime > 0 {
		return s.OpenTime
	}
	return defaultOpenTime
}

const defaultOpenTime = 30 * time.Second

// offers returns what to negotiate, nil for the default.
func (s *Source) offers() (*iscsi.Offers, error) {
	f := iscsi.DefaultOffers()
	none, sum := []string{iscsi.ValueNone}, []string{iscsi.DigestCRC32C}
	switch s.Digests {
	case "":
		return nil, nil
	case "none":
		f.HeaderDigest, f.DataDigest = none, none
	case "header":
		f.HeaderDigest = sum
	case "data":
		f.DataDigest = sum
	case "both":
		f.HeaderDigest, f.DataDigest = sum, sum
	default:
		return nil, invalid("digests %q; use none, header, data or both", s.Digests)
	}
	return &f, nil
}

// Opened is an open Source.
type Opened struct {
	Volumes []Volume // one for each session
	plain   []*Session
	devices []*multipath.Device
}

// Open opens the sessions. An error has the kind of package san that fits.
func (s *Source) Open(ctx context.Context) (*Opened, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	o := &Opened{}
	opening, cancel := context.WithTimeout(ctx, s.openTime())
	defer cancel()
	open := s.devices
	if s.Raw {
		open = s.plain
	}
	if err := open(opening, o); err != nil {
		return nil, errors.Join(kindOf(ctx, err), o.Close(ctx, false))
	}
	return o, nil
}

// openAtOnce is how many plain sessions log in at the same time.
const openAtOnce = 16

// plain opens the plain sessions.
func (s *Source) plain(ctx context.Context, o *Opened) error {
	n := s.Sessions
	if n == 0 {
		n = len(s.URLs)
	}
	var (
		opened = make([]*Session, n)
		next   atomic.Int64
		once   sync.Once
		first  error
		wait   sync.WaitGroup
	)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for range min(n, openAtOnce) {
		wait.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				v, err := s.session(ctx, int(i))
				if err != nil {
					once.Do(func() { first = err })
					cancel()
					return
				}
				opened[i] = v
			}
		})
	}
	wait.Wait()
	for _, v := range opened {
		if v != nil {
			o.plain = append(o.plain, v)
			o.Volumes = append(o.Volumes, v)
		}
	}
	return first
}

// session opens the i-th plain session.
func (s *Source) session(ctx context.Context, i int) (*Session, error) {
	offers, err := s.offers()
	if err != nil {
		return nil, err
	}
	u := s.URLs[i%len(s.URLs)]
	cfg := initiator.Config{
		Initiator: san.InitiatorPort{Name: s.Initiator, ISID: initiator.NewISID()}, Target: u.Target, Portal: u.Host,
		CHAP: u.CHAP(), Offers: offers, QueueDepth: s.Depth, Logger: s.Logger,
	}
	if cfg.CHAP != nil {
		cfg.CHAP.MutualUser, cfg.CHAP.MutualSecret = s.MutualUser, s.MutualSecret
	}
	return OpenSession(ctx, cfg, u.LUN)
}

// devices opens the volume over all its paths, once for each session.
func (s *Source) devices(ctx context.Context, o *Opened) error {
	for range max(s.Sessions, 1) {
		if err := s.device(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

func (s *Source) device(ctx context.Context, o *Opened) error {
	offers, err := s.offers()
	if err != nil {
		return err
	}
	policy, err := multipath.ParsePolicy(s.Policy)
	if err != nil {
		return invalid("%v", err)
	}
	d, err := multipath.Open(ctx, multipath.Config{
		URLs: slices.Clone(s.URLs), Initiator: s.Initiator, MutualUser: s.MutualUser, MutualSecret: s.MutualSecret,
		Policy: policy, Discover: s.Discover, QueueDepth: max(s.Depth, multipath.DefaultQueueDepth), Offers: offers, Logger: s.Logger,
	})
	if err != nil {
		return err
	}
	o.devices = append(o.devices, d)
	o.Volumes = append(o.Volumes, d)
	return nil
}

// Close ends the sessions. abandon does not wait for requests that are not
// answered.
func (o *Opened) Close(ctx context.Context, abandon bool) error {
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
	defer cancel()
	for _, v := range o.plain {
		v.Close(end)
	}
	var errs []error
	for _, d := range o.devices {
		if abandon {
			d.Abandon()
			continue
		}
		errs = append(errs, d.Close())
	}
	return errors.Join(errs...)
}

// kindOf gives an error of opening the kind that it has elsewhere.
func kindOf(ctx context.Context, err error) error {
	var (
		login *iscsi.LoginError
		wrong *initiator.UsageError
	)
	kind := san.ErrUnavailable
	switch {
	case ctx.Err() != nil, errors.Is(err, san.ErrInvalid), errors.Is(err, san.ErrNotFound):
		return err
	case errors.As(err, &wrong):
		kind = san.ErrInvalid
	case !errors.As(err, &login):
	case login.Status == iscsi.LoginNotFound:
		kind = san.ErrNotFound
	case login.Status.Class() == 2:
		kind = san.ErrRefused
	}
	return san.Errorf(kind, "%v", err)
}
