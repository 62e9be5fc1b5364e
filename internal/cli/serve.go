package cli

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"sango/internal/gateway"
)

// A node that is told to stop has stopTime for an orderly end; past stopLimit
// the process ends as it is, which loses nothing that was acknowledged.
const (
	stopTime  = 7 * time.Second
	stopLimit = 9500 * time.Millisecond
)

// A second signal ends the process at once, if it comes later than impatience
// after the first: timeout(1) and terminals send each one twice.
const impatience = time.Second

// startTime bounds the start of a node.
const startTime = 2 * time.Minute

// logger returns a logger that writes lines of text to a.err.
func (a *app) logger(level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: level}))
}

// serve runs a node until a signal tells it to stop, ctx is done, or a part of
// it fails. ready is called when it can be managed, before initiators are let
// in; serving when they are.
func serve(ctx context.Context, cfg gateway.Config, ready, serving func(context.Context, *gateway.Node) error) error {
	return keep(ctx, cfg, func(ctx context.Context) (running, error) {
		n, err := gateway.Open(ctx, cfg)
		if err != nil {
			return nil, err
		}
		if err = ready(ctx, n); err == nil {
			n.Serve()
			err = serving(ctx, n)
		}
		return n, err
	})
}

// running is a node of any kind.
type running interface {
	Failed() <-chan error
	Stop(ctx context.Context) error
}

// keep runs what open starts until a signal tells it to stop, ctx is done, or a
// part of it fails. What open returns with an error is stopped too.
func keep(ctx context.Context, cfg gateway.Config, open func(context.Context) (running, error)) error {
	startCtx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	e := &ending{cfg: cfg, cancel: cancel, told: make(chan struct{}), stopping: make(chan struct{}), done: make(chan struct{})}
	e.start(ctx)
	defer e.wait()
	n, err := open(startCtx)
	if err = e.whileStarting(err); n == nil {
		return err
	}
	if err == nil {
		select {
		case <-e.told:
		case err = <-n.Failed():
		}
	}
	e.failed.Store(err != nil)
	close(e.stopping)
	stopCtx, cancelStop := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancelStop()
	return errors.Join(err, n.Stop(stopCtx))
}

// ending watches for the signals that end a node, and ends the process if an
// orderly end takes too long.
type ending struct {
	cfg      gateway.Config
	cancel   context.CancelFunc // makes a start give up
	told     chan struct{}      // closed at the first signal
	stopping chan struct{}      // closed when the node stops, for whatever reason
	done     chan struct{}      // closed when it has stopped
	failed   atomic.Bool        // it stops because something failed
	watch    sync.WaitGroup
}

func (e *ending) start(ctx context.Context) {
	sig := make(chan os.Signal, 2)
	signal.Notify(sig, syscall.SIGTERM, syscall.SIGINT)
	e.watch.Go(func() {
		defer signal.Stop(sig)
		select {
		case s := <-sig:
			e.cfg.Log.Info("stopping", "signal", s.String())
			close(e.told)
			e.cancel()
		case <-ctx.Done():
			close(e.told)
		case <-e.stopping:
		case <-e.done:
			return
		}
		limit := time.NewTimer(stopLimit)
		defer limit.Stop()
		first := time.Now()
		for again := false; !again; {
			select {
			case <-e.done:
				return
			case <-sig:
				again = time.Since(first) > impatience
			case <-limit.C:
				again = true
			}
		}
		e.cfg.Log.Warn("the process ends before all of the node has ended; nothing acknowledged is lost")
		if e.failed.Load() {
			os.Exit(exitFailed)
		}
		os.Exit(exitOK)
	})
}

// whileStarting takes an error of a start that a signal made give up for what
// it is: no failure.
func (e *ending) whileStarting(err error) error {
	select {
	case <-e.told:
		return nil
	default:
		return err
	}
}

func (e *ending) wait() {
	close(e.done)
	e.watch.Wait()
}
