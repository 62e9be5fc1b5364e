package attach

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sango/internal/multipath"
	"sango/internal/san"
)

// stopTime bounds an orderly end, and clientTime the part of it for which the
// clients of a socket are waited for: they leave nothing behind, while what is
// below needs time to make stable what they wrote.
const (
	stopTime   = 8 * time.Second
	clientTime = 4 * time.Second
)

// stop ends the frontend and all below. It fails with san.ErrRefused, and the
// attachment goes on, while the disk is in use.
func (a *attachment) stop(ctx context.Context, force bool) error {
	a.setPhase(PhaseStopping)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	limit := stopTime
	if a.o.As == AsSocket {
		limit = clientTime
	}
	front, cancelFront := context.WithTimeout(ctx, limit)
	defer cancelFront()
	f := *a.front.Load()
	if err := f.stop(front, force); err != nil {
		switch {
		case errors.Is(err, san.ErrRefused):
			a.setPhase(PhaseServing)
			return err
		case a.o.As == AsSocket:
			a.o.Logger.Warn("clients were cut off", "err", err)
		default:
			return fmt.Errorf("%w: %w", ErrLeft, err)
		}
	}
	return a.end(ctx)
}

// endTime is what the end of the paths has at least, whatever the frontend took.
const endTime = time.Second

// endLimit returns how long the end of the paths may take: what is left of the
// end that ctx bounds.
func endLimit(ctx context.Context) time.Duration {
	by, ok := ctx.Deadline()
	if !ok {
		return stopTime
	}
	return max(time.Until(by), endTime)
}

// end closes what is below the frontend, of which nothing is left, and forgets
// the attachment. It keeps the state, for the name of its sessions, where the
// target may still execute writes: the next process of this name fences them
// before it issues anything.
func (a *attachment) end(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endLimit(ctx))
	defer cancel()
	err := a.stack.Load().close(ctx)
	if errors.Is(err, multipath.ErrUnfenced) {
		a.st.Device, a.st.Connections = noDevice, 0
		err = fmt.Errorf("%w: attach %s again once a path is there, or give it up with 'sango detach --force %s'", err, a.o.Name, a.o.Name)
		return errors.Join(err, a.o.Dir.save(&a.st))
	}
	return errors.Join(err, a.o.Dir.forget(a.o.Name))
}
