package supervise

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options of Run.
type Options struct {
	Processes Processes
	// Read reads the list; it is called at the start and at each token of Reload.
	Read   func() (Config, error)
	Reload <-chan struct{}
	// Keep leaves the attachments as they are when the supervisor ends.
	Keep   bool
	Notify func(state string) // tells systemd; nil: nobody
	Logger *slog.Logger
}

// Supervisor keeps a list of attachments.
type Supervisor struct {
	o       Options
	started time.Time

	mu      sync.Mutex // guards keepers
	keepers map[string]*keeper
}

// New returns a supervisor that keeps nothing yet.
func New(o Options) *Supervisor {
	if o.Notify == nil {
		o.Notify = func(string) {}
	}
	return &Supervisor{o: o, started: time.Now(), keepers: map[string]*keeper{}}
}

// Run keeps the list until ctx is done. It fails when the list can't be read at
// its start; later, the old one stays.
func (s *Supervisor) Run(ctx context.Context) error {
	c, err := s.o.Read()
	if err != nil {
		return err
	}
	running, err := s.o.Processes.Running(ctx)
	if err != nil {
		return fmt.Errorf("the attachments that are there: %w", err)
	}
	s.begin(ctx, c, running)
	for {
		select {
		case <-ctx.Done():
			s.o.Notify("STOPPING=1")
			s.stop(s.o.Keep)
			return nil
		case <-s.o.Reload:
			c, err := s.o.Read()
			if err != nil {
				s.o.Logger.Error("the configuration is not taken; the old one stays", "err", err)
				s.o.Notify("STATUS=the new configuration is wrong: " + strings.ReplaceAll(err.Error(), "\n", " "))
				continue
			}
			s.apply(c)
		}
	}
}

// begin starts to keep the list. What runs already goes on: as a part of the
// list if it is that, else until it is detached.
func (s *Supervisor) begin(ctx context.Context, c Config, running map[string]Running) {
	var first sync.WaitGroup
	s.mu.Lock()
	for _, a := range c.Attachments {
		r := running[a.Name]
		delete(running, a.Name)
		first.Add(1)
		if r.Process == nil || r.Settings == a.settings() {
			s.keepers[a.Name] = keep(a, s.o.Processes, r.Process, s.o.Logger, first.Done)
			continue
		}
		s.replace(keep(a, s.o.Processes, r.Process, s.o.Logger, first.Done), &a)
	}
	for name, r := range running {
		s.o.Logger.Info("an attachment that is not in the list any more is detached", "attachment", name)
		s.replace(keep(Attachment{Name: name}, s.o.Processes, r.Process, s.o.Logger, func() {}), nil)
	}
	s.mu.Unlock()
	tried := make(chan struct{})
	go func() { // ends when each keeper has tried, or ended
		first.Wait()
		close(tried)
	}()
	select {
	case <-tried:
	case <-ctx.Done():
	}
	s.o.Notify("READY=1\nSTATUS=" + s.summary())
}

// replace ends what k keeps, and then keeps a in its place; nil: nothing. Call
// with the lock.
func (s *Supervisor) replace(k *keeper, a *Attachment) {
	k.stop(false)
	<-k.done
	delete(s.keepers, k.a.Name)
	if a != nil {
		s.keepers[a.Name] = keep(*a, s.o.Processes, nil, s.o.Logger, func() {})
	}
}

// apply makes the list what c says.
func (s *Supervisor) apply(c Config) {
	s.mu.Lock()
	defer s.mu.Unlock()
	want := map[string]*Attachment{}
	for i := range c.Attachments {
		want[c.Attachments[i].Name] = &c.Attachments[i]
	}
	var changed []*keeper
	for name, k := range s.keepers {
		if a := want[name]; a == nil || a.settings() != k.a.settings() {
			changed = append(changed, k)
			k.stop(false) // all at once; replaced when each has ended
		}
	}
	for _, k := range changed {
		<-k.done
		delete(s.keepers, k.a.Name)
		s.o.Logger.Info("an attachment was detached: the list has changed", "attachment", k.a.Name)
	}
	for name, a := range want {
		if s.keepers[name] == nil {
			s.keepers[name] = keep(*a, s.o.Processes, nil, s.o.Logger, func() {})
		}
	}
	s.o.Notify("READY=1\nSTATUS=" + s.summaryLocked())
}

// stop ends the keeping of all, and returns when all have ended.
func (s *Supervisor) stop(leave bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.keepers {
		k.stop(leave)
	}
	for _, k := range s.keepers {
		<-k.done
	}
	clear(s.keepers)
}

// Views returns how the attachments are kept, by name.
func (s *Supervisor) Views() []View {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.viewsLocked()
}

func (s *Supervisor) viewsLocked() []View {
	all := make([]View, 0, len(s.keepers))
	for _, k := range s.keepers {
		all = append(all, k.view())
	}
	slices.SortFunc(all, func(a, b View) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func (s *Supervisor) summary() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.summaryLocked()
}

func (s *Supervisor) summaryLocked() string {
	all, n := s.viewsLocked(), 0
	for _, v := range all {
		if v.State == stateRunning {
			n++
		}
	}
	return fmt.Sprintf("%d of %d attachments run", n, len(all))
}
