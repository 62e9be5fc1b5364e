package initiator

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"
)

// The bounds of a Keeper's wait where nothing else is said.
const (
	DefaultMinWait = 100 * time.Millisecond
	DefaultMaxWait = 5 * time.Second
)

// ErrConnecting is why a Keeper has no session that has not had one yet.
var ErrConnecting = errors.New("not logged in yet")

// Keeper keeps a session up: it logs in, and again whenever the session is
// lost, under the same ISID and, where the Config names an instance, under the
// next Instance.Login each time. It waits between attempts, longer each time
// and by a random factor, and as long as a target that drops a session wants. It
// goes to Config.Portal each time, wherever the last login was sent on to.
type Keeper struct {
	// MinWait and MaxWait bound the wait after a failed login or a loss; 0 is
	// DefaultMinWait and DefaultMaxWait. They are read by Start.
	MinWait, MaxWait time.Duration
	// Failed, if not nil, is called when a login has failed, with its error.
	// It must not block.
	Failed func(error)

	cfg   Config
	up    func(*Session)
	down  func(*Session, error)
	retry chan struct{} // holds a token when the next wait is to end

	mu      sync.Mutex // guards what follows
	session *Session
	err     error
	cancel  context.CancelFunc
	done    chan struct{}
}

// NewKeeper returns a Keeper for cfg. up is called with each new session
// before anything else can be submitted to it through Session, down when that
// has ended, after its last Done, with the reason. Neither runs beside the
// other; both must return soon, but may submit commands. cfg.Lost is called
// before down.
func NewKeeper(cfg Config, up func(*Session), down func(*Session, error)) *Keeper {
	return &Keeper{cfg: cfg, up: up, down: down, retry: make(chan struct{}, 1), err: ErrConnecting}
}

// Start begins, unless it has begun before. It returns at once.
func (k *Keeper) Start() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.done != nil {
		return
	}
	if k.MinWait <= 0 {
		k.MinWait = DefaultMinWait
	}
	if k.MaxWait <= 0 {
		k.MaxWait = DefaultMaxWait
	}
	k.MaxWait = max(k.MinWait, k.MaxWait)
	ctx, cancel := context.WithCancel(context.Background())
	k.cancel, k.done = cancel, make(chan struct{})
	go k.run(ctx)
}

// Stop logs out, or gives up connecting, and returns when everything has ended
// and down was called. A Keeper does not start again. It must not be called
// from up or down.
func (k *Keeper) Stop() {
	k.mu.Lock()
	if k.done == nil { // never started, and must not be from now on
		k.done, k.cancel = make(chan struct{}), func() {}
		close(k.done)
	}
	cancel, done := k.cancel, k.done
	k.mu.Unlock()
	cancel()
	<-done
}

// Retry makes a Keeper that waits before the next login try now.
func (k *Keeper) Retry() {
	select {
	case k.retry <- struct{}{}:
	default:
	}
}

// Session returns the session of the moment, or nil and why there is none: the
// error of the last login or the reason of the last loss.
func (k *Keeper) Session() (*Session, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.session, k.err
}

func (k *Keeper) set(s *Session, err error) {
	k.mu.Lock()
	k.session, k.err = s, err
	k.mu.Unlock()
}

func (k *Keeper) run(ctx context.Context) {
	defer close(k.done)
	defer k.cancel()
	cfg := k.cfg
	wait := k.MinWait
	for ctx.Err() == nil {
		if !cfg.Instance.IsZero() {
			cfg.Instance.Login++
		}
		began, rest := time.Now(), time.Duration(0)
		s, err := Login(ctx, cfg)
		if err == nil {
			rest = k.serve(ctx, s)
			if time.Since(began) > k.MaxWait {
				wait = k.MinWait // it served for a while
			}
		} else {
			k.set(nil, err)
			if k.Failed != nil && ctx.Err() == nil {
				k.Failed(err)
			}
		}
		k.pause(ctx, wait, rest)
		wait = min(2*wait, k.MaxWait)
	}
	k.set(nil, ErrClosed)
}

// serve is the life of one session. It returns how long the target wants to be
// left alone after it (Time2Wait, RFC 7143 §11.9.1).
func (k *Keeper) serve(ctx context.Context, s *Session) (rest time.Duration) {
	k.up(s)
	k.set(s, nil)
	select {
	case <-s.ended:
	case <-ctx.Done():
		limit, cancel := context.WithTimeout(context.Background(), s.cfg.PingTimeout)
		_ = s.Logout(limit)
		cancel()
	}
	k.set(nil, s.Err())
	<-s.Done()
	k.down(s, s.Err())
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rest
}

// pause waits for wait times 0.5 to 1.5, or until Retry; and for rest in any
// case. Stop ends it.
func (k *Keeper) pause(ctx context.Context, wait, rest time.Duration) {
	least := time.NewTimer(rest)
	defer least.Stop()
	t := time.NewTimer(time.Duration(float64(wait) * (0.5 + rand.Float64())))
	defer t.Stop()
	select {
	case <-t.C:
	case <-k.retry:
	case <-ctx.Done():
	}
	select {
	case <-least.C:
	case <-ctx.Done():
	}
}
