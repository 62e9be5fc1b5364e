package initiator

import "time"

// Keeper keeps a session up: it logs in, and again whenever the session is
// lost, under the same ISID and, where the Config names an instance, under the
// next Instance.Login each time. It waits between attempts, longer each time
// and by a random factor.
type Keeper struct {
	// MinWait and MaxWait bound the wait after a failed login or a loss; 0 is
	// 100 ms and 5 s. They are read by Start.
	MinWait, MaxWait time.Duration
	// Failed, if not nil, is called when a login has failed. It must not block.
	Failed func(error)
}

// NewKeeper returns a Keeper for cfg. up is called with each new session
// before anything else can be submitted to it, down when that has ended, after
// its last Done, with the reason. Neither runs beside the other; both must
// return soon, but may submit commands. cfg.Lost is called before down.
func NewKeeper(cfg Config, up func(*Session), down func(*Session, error)) *Keeper { return nil }

// Start begins. It returns at once.
func (k *Keeper) Start() {}

// Stop logs out, or gives up connecting, and returns when everything has ended
// and down was called.
func (k *Keeper) Stop() {}

// Retry makes a Keeper that waits before the next login try now.
func (k *Keeper) Retry() {}

// Session returns the session of the moment, or nil and why there is none: the
// error of the last login or the reason of the last loss.
func (k *Keeper) Session() (*Session, error) { return nil, nil }
