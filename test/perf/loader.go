package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"sango/internal/bench"
	"sango/internal/block"
	"sango/internal/initiator"
	"sango/internal/san"
)

// loader is many plain sessions of as many hosts on one volume, each with its own count. `sango bench` has fewer, and
// one count for all.
type loader struct {
	size, request int64
	sessions      []*bench.Session
	counts        []atomic.Int64
	seen          []latencies // of each session, whose answers come one at a time
	stopped       atomic.Bool
	running       sync.WaitGroup // requests that go on
	failed        chan error
}

// loaded is what a loader has measured.
type loaded struct {
	Counts  []int64 `json:"counts"` // requests of each session
	P50     float64 `json:"p50_us"`
	P99     float64 `json:"p99_us"`
	Seconds float64 `json:"seconds"`
}

// sessionsPart is a loader in a process of its own. With -time 0 it only logs in. It writes a line when all sessions
// are there, waits for one on standard input, makes its load, writes what that gave, and waits for the end of standard
// input.
func sessionsPart(args []string) error {
	f := flag.NewFlagSet("sessions", flag.ContinueOnError)
	url := f.String("url", "", "volume")
	n := f.Int("n", 1, "sessions")
	depth := f.Int("depth", 1, "requests at a time of each")
	d := f.Duration("time", 0, "how long to make load")
	if err := f.Parse(args); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), *d+3*time.Minute)
	defer cancel()
	l := &loader{request: 4096, failed: make(chan error, 1)}
	defer l.close()
	if err := l.open(ctx, *url, *n, *depth); err != nil {
		return err
	}
	in := bufio.NewReader(os.Stdin)
	fmt.Println("logged in")
	if _, err := in.ReadString('\n'); err != nil {
		return err
	}
	if *d > 0 {
		got, err := l.run(ctx, *depth, *d)
		if err != nil {
			return err
		}
		if err := json.NewEncoder(os.Stdout).Encode(got); err != nil {
			return err
		}
	}
	_, err := io.Copy(io.Discard, in)
	return err
}

// atOnce bounds the logins under way: targets bound them too.
const atOnce = 16

func (l *loader) open(ctx context.Context, text string, n, depth int) error {
	u, err := initiator.ParseURL(text)
	if err != nil {
		return err
	}
	l.sessions, l.counts = make([]*bench.Session, n), make([]atomic.Int64, n)
	l.seen = make([]latencies, n)
	var wg sync.WaitGroup
	errs := make([]error, n)
	room := make(chan struct{}, atOnce)
	for i := range n {
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			l.sessions[i], errs[i] = bench.OpenSession(ctx, initiator.Config{
				Initiator: san.InitiatorPort{Name: fmt.Sprintf("iqn.2026-11.test.perf:host%d", i), ISID: initiator.NewISID()},
				Target:    u.Target, Portal: u.Host, QueueDepth: depth,
			}, u.LUN)
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	l.size = l.sessions[0].Info().Size
	return nil
}

// run reads at random places with each session for so long.
func (l *loader) run(ctx context.Context, depth int, d time.Duration) (*loaded, error) {
	slots := make([]*reader, 0, depth*len(l.sessions))
	for i := range l.sessions {
		for range depth {
			slots = append(slots, &reader{l: l, session: i, buf: make([]byte, l.request)})
		}
	}
	l.running.Add(len(slots))
	begin := time.Now()
	for _, s := range slots {
		s.bufs[0] = s.buf
		s.req = block.Request{Op: block.OpRead, Len: l.request, Bufs: s.bufs[:], Done: s.done}
		s.next()
	}
	var err error
	select {
	case <-time.After(d):
	case err = <-l.failed:
	case <-ctx.Done():
		err = ctx.Err()
	}
	out := &loaded{Seconds: time.Since(begin).Seconds()}
	for i := range l.counts {
		out.Counts = append(out.Counts, l.counts[i].Load())
	}
	l.stopped.Store(true)
	if err != nil {
		return nil, err
	}
	l.running.Wait()
	var all latencies
	for i := range l.seen {
		all.add(&l.seen[i])
	}
	out.P50, out.P99 = all.quantile(0.5), all.quantile(0.99)
	return out, nil
}

func (l *loader) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for _, s := range l.sessions {
		if s != nil {
			wg.Go(func() { s.Close(ctx) })
		}
	}
	wg.Wait()
}

// reader issues one read of its session after the other.
type reader struct {
	l       *loader
	session int
	req     block.Request
	buf     []byte
	bufs    [1][]byte
	issued  time.Time
}

func (r *reader) next() {
	if r.l.stopped.Load() {
		r.l.running.Done()
		return
	}
	r.req.Off = rand.Int64N(r.l.size/r.l.request) * r.l.request
	r.issued = time.Now()
	r.l.sessions[r.session].Submit(&r.req)
}

func (r *reader) done(*block.Request) {
	if r.req.Err != nil {
		select {
		case r.l.failed <- r.req.Err:
		default: // one is enough
		}
		r.l.running.Done()
		return
	}
	r.l.seen[r.session].record(time.Since(r.issued))
	r.l.counts[r.session].Add(1)
	r.next()
}
