package cli

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
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
	sig := make(chan os.Signal, 2)
	signal.Notify(sig, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(sig)
	startCtx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	n, err := gateway.Open(startCtx, cfg)
	if err != nil {
		return err
	}
	if err = ready(startCtx, n); err == nil {
		n.Serve()
		err = serving(startCtx, n)
	}
	if err == nil {
		select {
		case s := <-sig:
			cfg.Log.Info("stopping", "signal", s.String())
		case <-ctx.Done():
		case err = <-n.Failed():
		}
	}
	stopped := make(chan struct{})
	defer close(stopped)
	go func() {
		select {
		case <-stopped:
		case <-time.After(stopLimit):
			cfg.Log.Warn("not all of the node ended in time; the process ends as it is, and nothing acknowledged is lost")
		case <-sig:
			cfg.Log.Warn("told to stop again: the process ends as it is, and nothing acknowledged is lost")
		}
		select {
		case <-stopped:
		default:
			os.Exit(status(err))
		}
	}()
	stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	return errors.Join(err, n.Stop(stopCtx))
}
