package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"time"

	"sango/internal/cluster/model"
	"sango/internal/san"
)

// Command is the operator's command that turns a gateway off, or cuts it off
// from all that it could write to. It has succeeded when it exits with 0, and
// must not do so otherwise: the gateway's volumes are given to others then. The
// environment has SANGO_FENCE_GATEWAY and SANGO_FENCE_INCARNATION besides what
// this process has.
type Command struct {
	Args []string
	// Timeout is when it is killed. Default: 30 s.
	Timeout time.Duration
}

// commandTimeout is how long a fence command may take unless told.
const commandTimeout = 30 * time.Second

// commandOutput bounds what is kept of its output, in bytes.
const commandOutput = 4 << 10

// FenceGateway runs the command for m.
func (c *Command) FenceGateway(ctx context.Context, m model.Member) error {
	if c == nil || len(c.Args) == 0 {
		return san.Errorf(san.ErrRefused, "there is no command to fence gateways with")
	}
	timeout := c.Timeout
	if timeout <= 0 {
		timeout = commandTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.Args[0], c.Args[1:]...)
	cmd.Env = append(os.Environ(), "SANGO_FENCE_GATEWAY="+string(m.Gateway), "SANGO_FENCE_INCARNATION="+strconv.FormatUint(uint64(m.Incarnation), 10))
	cmd.WaitDelay = time.Second // what it started may hold its output open
	out := &bounded{}
	cmd.Stdout, cmd.Stderr = out, out
	err := cmd.Run()
	if ctx.Err() != nil && err != nil {
		err = fmt.Errorf("it was not done in %v", timeout)
	}
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // it has exited with 0 all the same
	}
	if err != nil {
		return fmt.Errorf("fence command for %v: %w; it said: %s", m, err, bytes.TrimSpace(out.kept))
	}
	return nil
}

// bounded keeps the beginning of what is written.
type bounded struct{ kept []byte }

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	b.kept = append(b.kept, p[:min(len(p), commandOutput-len(b.kept))]...)
	return len(p), nil
}

// Fences is a Fencer of a function and a command. Either may be nil: then it
// can't be done.
type Fences struct {
	Volume  func(ctx context.Context, m model.Member, v san.UUID) error
	Command *Command
}

// FenceVolume implements Fencer.
func (f Fences) FenceVolume(ctx context.Context, m model.Member, v san.UUID) error {
	if f.Volume == nil {
		return san.Errorf(san.ErrRefused, "no driver can fence %v from the volume %s", m, v)
	}
	return f.Volume(ctx, m, v)
}

// FenceGateway implements Fencer.
func (f Fences) FenceGateway(ctx context.Context, m model.Member) error {
	return f.Command.FenceGateway(ctx, m)
}
