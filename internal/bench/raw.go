package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"sango/internal/block"
	"sango/internal/initiator"
	"sango/internal/san"
	"sango/internal/scsi"
)

// Session is a volume over one iSCSI session, without anything between: no
// second path, and no retry but of unit attentions.
type Session struct {
	s    *initiator.Session
	lun  [8]byte
	info block.Info

	mu   sync.Mutex
	free []*command // guarded by mu
}

var _ Volume = (*Session)(nil)

// command is a request on its way.
type command struct {
	initiator.Command
	owner *Session
	req   *block.Request
	tries int
}

// maxTries is how often a request is sent that meets unit attentions.
const maxTries = 8

// OpenSession logs in and asks for the size of the volume at lun.
func OpenSession(ctx context.Context, cfg initiator.Config, lun san.LUN) (*Session, error) {
	sess, err := initiator.Login(ctx, cfg)
	if err != nil {
		return nil, err
	}
	s := &Session{s: sess, lun: lun.Field()}
	if err := s.capacity(ctx); err != nil {
		sess.Abort(initiator.ErrClosed)
		return nil, fmt.Errorf("LUN %d of %s: %w", lun, cfg.Target, err)
	}
	return s, nil
}

// capacity asks until no unit attention comes any more.
func (s *Session) capacity(ctx context.Context) error {
	var room [scsi.Capacity16Len]byte
	c := &initiator.Command{LUN: s.lun, Attr: scsi.Simple, In: [][]byte{room[:]}}
	c.CDB[0], c.CDB[1], c.CDB[13] = byte(scsi.OpServiceActionIn16), byte(scsi.SAReadCapacity16), byte(len(room))
	for range maxTries {
		if err := s.s.Do(ctx, c); err != nil {
			return err
		}
		if !attention(c) {
			break
		}
	}
	if err := outcome(c); err != nil {
		if e := (*scsi.CheckCondition)(nil); errors.As(err, &e) && e.Sense.ASC == scsi.ASCLUNotSupported {
			return san.Errorf(san.ErrNotFound, "there is no such LUN")
		}
		return fmt.Errorf("READ CAPACITY (16): %w", err)
	}
	got, err := scsi.ParseCapacity16(room[:c.Got])
	if err != nil {
		return err
	}
	bs := int64(got.BlockSize)
	blocks := got.Blocks
	if bs < 512 || bs > 1<<16 || bs&(bs-1) != 0 || blocks == 0 || blocks > uint64(1<<62/bs) {
		return fmt.Errorf("the volume has %d blocks of %d bytes, which makes no sense", blocks, bs)
	}
	s.info = block.Info{Size: int64(blocks) * bs, BlockSize: int(bs), PhysicalBlock: int(bs), Caps: block.Caps{FUA: block.Native, Async: true}}
	return s.protection(ctx)
}

// protection finds out whether the volume is write-protected. A target that
// does not tell serves writes, or says so then.
func (s *Session) protection(ctx context.Context) error {
	const allPages, wp = 0x3f, 0x80
	var room [4]byte // the header of MODE SENSE (6), SPC-4 §7.5.5
	c := &initiator.Command{LUN: s.lun, Attr: scsi.Simple, In: [][]byte{room[:]}}
	c.CDB[0], c.CDB[2], c.CDB[4] = byte(scsi.OpModeSense6), allPages, byte(len(room))
	if err := s.s.Do(ctx, c); err != nil {
		return err
	}
	s.info.Caps.ReadOnly = c.Status == scsi.Good && c.Got >= 3 && room[2]&wp != 0
	return nil
}

// Info implements Volume.
func (s *Session) Info() block.Info { return s.info }

// Submit implements Volume: reads and writes only.
func (s *Session) Submit(r *block.Request) {
	c := s.take()
	c.req, c.tries = r, 0
	b := scsi.Blocks{LBA: scsi.LBA(r.Off / int64(s.info.BlockSize)), Blocks: uint32(r.Len / int64(s.info.BlockSize)), FUA: r.Flags&block.FUA != 0}
	op := scsi.OpRead16
	switch r.Op {
	case block.OpRead:
		c.In, c.Out = r.Bufs, nil
	case block.OpWrite:
		op, c.In, c.Out = scsi.OpWrite16, nil, r.Bufs
	case block.OpFlush, block.OpDiscard, block.OpWriteZeroes:
		s.give(c)
		r.End(block.Fail(r, block.Unsupported, nil))
		return
	}
	cdb, err := b.CDB(op)
	if err != nil {
		s.give(c)
		r.End(block.Fail(r, block.Invalid, err))
		return
	}
	c.CDB = cdb
	s.s.Submit(&c.Command)
}

// take returns a command that is not in use.
func (s *Session) take() *command {
	s.mu.Lock()
	if n := len(s.free); n > 0 {
		c := s.free[n-1]
		s.free = s.free[:n-1]
		s.mu.Unlock()
		return c
	}
	s.mu.Unlock()
	c := &command{owner: s}
	c.LUN, c.Attr, c.User, c.Done = s.lun, scsi.Simple, c, ended
	return c
}

func (s *Session) give(c *command) {
	c.req, c.In, c.Out = nil, nil, nil
	s.mu.Lock()
	s.free = append(s.free, c)
	s.mu.Unlock()
}

// ended takes the answer to a command.
func ended(ic *initiator.Command) {
	c, ok := ic.User.(*command)
	if !ok {
		return
	}
	s, r := c.owner, c.req
	if c.tries++; attention(ic) && c.tries < maxTries {
		s.s.Submit(ic)
		return
	}
	var err error
	if cause := outcome(ic); cause != nil {
		err = block.Fail(r, block.Medium, cause)
	} else if r.Op == block.OpRead && int64(ic.Got) != r.Len {
		err = block.Fail(r, block.Medium, fmt.Errorf("GOOD with %d bytes", ic.Got))
	}
	s.give(c)
	r.End(err)
}

// attention reports whether the answer is a unit attention: the command was
// not executed.
func attention(c *initiator.Command) bool {
	if c.Err != nil || c.Status != scsi.CheckConditionStatus {
		return false
	}
	sense, err := scsi.ParseSense(c.Sense)
	return err == nil && sense.Key == scsi.UnitAttention
}

// outcome returns nil when a command ended with GOOD.
func outcome(c *initiator.Command) error {
	switch {
	case c.Err != nil:
		return c.Err
	case c.Status == scsi.Good:
		return nil
	case c.Status == scsi.CheckConditionStatus:
		sense, err := scsi.ParseSense(c.Sense)
		if err != nil {
			return fmt.Errorf("CHECK CONDITION without readable sense data: %w", err)
		}
		return &scsi.CheckCondition{Sense: sense}
	case c.Status == scsi.Busy || c.Status == scsi.TaskSetFull:
		return fmt.Errorf("the target answered %v: it takes less load than this; use a smaller depth", c.Status)
	}
	return fmt.Errorf("the target answered %v", c.Status)
}

// Close logs out. A session that was lost, or whose target does not agree, is
// closed as well: its requests have ended.
func (s *Session) Close(ctx context.Context) {
	if err := s.s.Logout(ctx); err != nil {
		s.s.Abort(err)
	}
}
