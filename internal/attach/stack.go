package attach

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sango/internal/block"
	"sango/internal/block/layer/sched"
	"sango/internal/block/layer/stats"
	"sango/internal/block/mem"
	"sango/internal/initiator"
	"sango/internal/iscsi"
	"sango/internal/multipath"
	"sango/internal/san"
	"sango/internal/scsi"
)

// stack is the devices of an attachment, one on the other.
type stack struct {
	paths *multipath.Device // nil: not an iSCSI source
	sched *sched.Device     // nil: the source executes each request at once
	top   *stats.Device
}

// openStack opens the source of o and puts the layers on it. resized is called
// when the volume's size has changed.
func openStack(ctx context.Context, o *Options, st *State, initiatorName string, takeOver bool, resized func(int64)) (*stack, error) {
	s := &stack{}
	var dev block.Device
	var limits sched.Options
	var err error
	switch {
	case len(o.Source.URLs) > 0:
		if s.paths, err = multipath.Open(ctx, paths(o, st, initiatorName, takeOver, resized)); err != nil {
			return nil, kindOf(err)
		}
		l := s.paths.Limits()
		limits = sched.Options{MaxTransfer: l.MaxTransfer, MaxDiscard: l.MaxDiscard, MaxZeroes: l.MaxWriteZeroes}
		dev = s.paths
	case o.Source.Volume != "":
		dev, err = o.OpenVolume(ctx, o.Source.Volume, o.ReadOnly)
	default:
		if dev, err = newMemory(o.Source); err != nil {
			return nil, err
		}
		s.top = stats.New(dev)
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	s.sched = sched.New(dev, limits)
	s.top = stats.New(s.sched)
	if s.paths != nil { // the store of a volume: source tells it itself
		s.top.OnFull(newFullNote(o.Logger).found)
	}
	return s, nil
}

// kindOf gives an error of the paths the kind that it has elsewhere.
func kindOf(err error) error {
	var refused *iscsi.LoginError
	status := iscsi.LoginStatus(0)
	if errors.As(err, &refused) {
		status = refused.Status
	}
	switch {
	case errors.Is(err, iscsi.ErrAuth):
		return san.Errorf(san.ErrRefused, "%v; check what the target has to prove itself with (--mutual-user, --mutual-secret-file), and the account (--chap-user, --chap-secret-file)", err)
	case status == iscsi.LoginAuthFailed:
		return san.Errorf(san.ErrRefused, "%v; check the CHAP user and its secret (--chap-user, --chap-secret-file)", err)
	case status == iscsi.LoginNotFound:
		return san.Errorf(san.ErrNotFound, "%v; check the name in the URL, and that the target is served there", err)
	case errors.Is(err, multipath.ErrNoLUN):
		return san.Errorf(san.ErrNotFound, "%v; check the LUN in the URL, and that the target maps it to this host", err)
	case status.Class() == 2, errors.Is(err, multipath.ErrHopeless):
		return san.Errorf(san.ErrRefused, "%v", err)
	}
	return err
}

// answerOf gives a target's answer to a command its kind: what it does not
// know, or not allow, it refuses.
func answerOf(err error) error {
	var cc *scsi.CheckCondition
	switch {
	case !errors.As(err, &cc):
		return err
	case cc.Sense.Key == scsi.IllegalRequest, cc.Sense.Key == scsi.DataProtect:
		return san.Errorf(san.ErrRefused, "the target refuses: %v; its port groups may be its own to choose", err)
	}
	return san.Errorf(san.ErrUnavailable, "the target did not do it: %v", err)
}

// newMemory makes a volume in memory.
func newMemory(s Source) (block.Device, error) {
	dev, err := mem.New(mem.Options{Size: s.Size, BlockSize: s.BlockSize})
	if err != nil {
		return nil, san.Errorf(san.ErrInvalid, "%v", err)
	}
	return dev, nil
}

// paths is the configuration of the multipath device.
func paths(o *Options, st *State, initiatorName string, takeOver bool, resized func(int64)) multipath.Config {
	c := multipath.Config{
		Initiator: initiatorName, Alias: o.Name, Group: st.Group, Run: st.Run, TakeOver: takeOver,
		Policy: o.Policy, Discover: o.Discover, Queue: o.Queue, Logger: o.Logger, Resized: resized,
	}
	c.URLs = append([]initiator.URL(nil), o.Source.URLs...)
	if o.CHAP != nil {
		for i := range c.URLs {
			if c.URLs[i].User == "" {
				c.URLs[i].User, c.URLs[i].Secret = o.CHAP.User, o.CHAP.Secret
			}
		}
		c.MutualUser, c.MutualSecret = o.CHAP.MutualUser, o.CHAP.MutualSecret
	}
	return c
}

// close closes all devices. It gives the paths up when ctx ends before what
// was written is stable: no request is under way any more, so that only what a
// volatile cache of the target holds is in doubt.
func (s *stack) close(ctx context.Context) error {
	if s.paths == nil {
		return s.top.Close()
	}
	stop := context.AfterFunc(ctx, s.paths.Abandon)
	defer stop()
	err := s.top.Close()
	if ctx.Err() != nil {
		err = errors.Join(fmt.Errorf("no path answered in time: what was written last may not be stable at the target"), err)
	}
	return err
}

// identity returns the serial number of the volume, where it has one.
func (s *stack) identity() string {
	if s.paths == nil {
		return ""
	}
	id := s.paths.Identity()
	if id.Serial == "" && len(id.Designators) > 0 {
		return id.Designators[0]
	}
	return id.Serial
}

// opNames are the operations as metrics and status name them.
var opNames = []block.Op{block.OpRead, block.OpWrite, block.OpFlush, block.OpDiscard, block.OpWriteZeroes}

// counts returns what was counted, by operation.
func (s *stack) counts() map[string]IO {
	snap, out := s.top.Snapshot(), map[string]IO{}
	for _, op := range opNames {
		c := snap.Ops[op]
		io := IO{Requests: c.Requests, Bytes: c.Bytes, Errors: c.Errors}
		if c.Requests > 0 {
			io.Latency = c.Total / time.Duration(c.Requests)
		}
		out[op.String()] = io
	}
	return out
}

// sameVolume refuses a volume that is not the one whose requests wait.
func (st *State) sameVolume(s *stack) error {
	if id := s.identity(); st.Volume != "" && id != st.Volume {
		return san.Errorf(san.ErrRefused, "attachment %s served volume %s, but the source leads to %s now: requests that wait for the first must not reach the other; correct the source, or give the requests up with 'sango detach --force %s'", st.Name, st.Volume, id, st.Name)
	}
	if n := s.top.Info().BlockSize; st.BlockSize != 0 && n != st.BlockSize {
		return san.Errorf(san.ErrRefused, "attachment %s had blocks of %d bytes, the source has such of %d now; detach it with 'sango detach --force %s' first", st.Name, st.BlockSize, n, st.Name)
	}
	return nil
}
