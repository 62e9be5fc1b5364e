package supervise

import (
	"log/slog"
	"sync"
	"time"
)

// The pauses before an attachment is started again: they double from the first
// to the longest, and begin anew after a process has lived for steady.
const (
	firstPause   = time.Second
	longestPause = 30 * time.Second
	steady       = time.Minute
	// endTime is what a process has for an orderly end, before it is killed: more
	// than 'sango attach' takes itself.
	endTime = 12 * time.Second
)

// keeper keeps one attachment.
type keeper struct {
	a     Attachment
	procs Processes
	log   *slog.Logger
	tried func() // called when the first start has come to something
	quit  chan struct{}
	leave bool // at quit the process stays; set before quit is closed
	done  chan struct{}

	mu sync.Mutex // guards view
	v  View
}

// View is how an attachment is kept.
type View struct {
	Name     string     `json:"name"`
	PID      int        `json:"pid,omitempty"` // while it runs
	State    string     `json:"state"`         // running, waiting or stopping
	Restarts int        `json:"restarts"`
	Since    time.Time  `json:"since"` // of the state
	Next     *time.Time `json:"next,omitempty"`
	Error    string     `json:"error,omitempty"` // why it ended last
}

// The states of a View.
const (
	stateRunning  = "running"
	stateWaiting  = "waiting"
	stateStopping = "stopping"
)

// keep begins to keep a; p is its process, if it runs already.
func keep(a Attachment, procs Processes, p Process, log *slog.Logger, tried func()) *keeper {
	k := &keeper{a: a, procs: procs, log: log.With("attachment", a.Name), tried: sync.OnceFunc(tried), quit: make(chan struct{}), done: make(chan struct{})}
	k.v = View{Name: a.Name, State: stateWaiting, Since: time.Now()}
	go k.run(p)
	return k
}

func (k *keeper) run(p Process) {
	defer close(k.done)
	defer k.tried()
	pause := firstPause
	for {
		var err error
		if p == nil {
			p, err = k.procs.Start(&k.a)
		}
		began := time.Now()
		if err == nil {
			k.set(func(v *View) { v.State, v.PID, v.Next = stateRunning, p.PID(), nil })
			k.tried()
			select {
			case <-k.quit:
				if !k.leave {
					k.end(p)
				}
				return
			case <-p.Done():
				err = p.Err()
			}
			p = nil
		}
		if time.Since(began) >= steady {
			pause = firstPause
		}
		why := "it ended, as if somebody had detached it"
		if err != nil {
			why = err.Error()
		}
		next := time.Now().Add(pause)
		k.log.Warn("the attachment ended and is started again", "reason", why, "pause", pause)
		k.set(func(v *View) { v.State, v.PID, v.Error, v.Next = stateWaiting, 0, why, &next })
		k.tried()
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-k.quit:
			timer.Stop()
			return
		}
		pause = min(2*pause, longestPause)
		k.set(func(v *View) { v.Restarts++ })
	}
}

// end ends a process.
func (k *keeper) end(p Process) {
	k.set(func(v *View) { v.State = stateStopping })
	if err := p.Terminate(); err != nil {
		k.log.Debug("the process is gone already", "err", err)
	}
	timer := time.NewTimer(endTime)
	defer timer.Stop()
	select {
	case <-p.Done():
	case <-timer.C:
		k.log.Error("the process does not end and is killed; what it left is taken over by the next 'sango attach'", "pid", p.PID())
		if err := p.Kill(); err != nil {
			k.log.Error("the process can't be killed", "pid", p.PID(), "err", err)
		}
		<-p.Done()
	}
	if err := p.Err(); err != nil {
		k.log.Warn("the attachment left something behind; 'sango paths' shows it", "err", err)
	}
}

// stop ends the keeping; with leave the process stays. done is closed when it
// has ended.
func (k *keeper) stop(leave bool) {
	k.leave = leave
	close(k.quit)
}

func (k *keeper) set(change func(*View)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	old := k.v.State
	change(&k.v)
	if k.v.State != old {
		k.v.Since = time.Now()
	}
}

func (k *keeper) view() View {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.v
}
