package multipath

import (
	"errors"

	"sango/internal/block"
	"sango/internal/initiator"
	"sango/internal/iscsi"
	"sango/internal/scsi"
)

// zeros is what is written where a target has no command for it. Nobody writes
// to it.
var zeros [64 << 10]byte

// mostZeros bounds the zeros that one WRITE carries.
const mostZeros = 1 << 20

// cut makes p the piece of r that starts at off and ends at end at the latest,
// and returns its length.
func (p *piece) cut(r *block.Request, s *shape, off, end int64) int64 {
	n := end - off
	p.blk = block.Request{Op: r.Op, Flags: r.Flags, Off: off, Epoch: r.Epoch}
	p.req.volatile = s.volatile(r)
	p.cmd.Attr = scsi.Simple
	p.cmd.In, p.cmd.Out, p.want = nil, nil, 0
	switch r.Op {
	case block.OpRead:
		n = min(n, s.maxTransfer)
		p.cmd.In = p.part(r, off, n)
		p.move(s, scsi.OpRead16, scsi.OpRead10, off, n, false)
	case block.OpWrite:
		n = min(n, s.maxTransfer)
		p.cmd.Out = p.part(r, off, n)
		if r.Flags&block.Atomic != 0 {
			p.move(s, scsi.OpWriteAtomic16, scsi.OpWriteAtomic16, off, n, s.stable(r))
		} else {
			p.move(s, scsi.OpWrite16, scsi.OpWrite10, off, n, s.stable(r))
		}
	case block.OpWriteZeroes:
		n = p.zero(s, off, n, r.Flags&block.MayUnmap != 0)
	case block.OpDiscard:
		n = p.discard(s, off, n)
	}
	p.blk.Len = n
	return n
}

// stable reports whether r, when it ends, is to be on stable storage.
func (s *shape) stable(r *block.Request) bool {
	return r.Flags&block.FUA != 0 || s.through && r.Op != block.OpRead && r.Op != block.OpFlush
}

// volatile reports whether the commands of r leave what they do in a cache.
func (s *shape) volatile(r *block.Request) bool {
	switch r.Op {
	case block.OpRead, block.OpFlush:
		return false
	case block.OpWrite:
		return s.writeBack && !(s.fua && s.stable(r))
	}
	return s.writeBack
}

// move sets a command that moves n bytes of data.
func (p *piece) move(s *shape, long, short scsi.OpCode, off, n int64, fua bool) {
	b := p.blocks(s, off, n)
	b.FUA = fua && s.fua
	op := long
	if s.ten {
		op = short
	}
	p.set(op, &b)
	p.want = n
}

// blocks is the range [off, off+n) in blocks.
func (p *piece) blocks(s *shape, off, n int64) scsi.Blocks {
	return scsi.Blocks{LBA: scsi.LBA(off / int64(s.block)), Blocks: uint32(n / int64(s.block))}
}

// set sets the CDB. Limits are kept by those who cut: where a volume is past
// the reach of a form, no command is what the CDB holds, and the target says
// so.
func (p *piece) set(op scsi.OpCode, b *scsi.Blocks) {
	c, err := b.CDB(op)
	if err != nil {
		c = scsi.CDB{0: 0xff}
	}
	p.cmd.CDB = c
}

// part returns the buffers of [off, off+n) of r.
func (p *piece) part(r *block.Request, off, n int64) [][]byte {
	if n == r.Len {
		return r.Bufs
	}
	p.vec = p.vec[:0]
	skip := off - r.Off
	for _, b := range r.Bufs {
		if n == 0 {
			break
		}
		if skip >= int64(len(b)) {
			skip -= int64(len(b))
			continue
		}
		b = b[skip:]
		skip = 0
		b = b[:min(n, int64(len(b)))]
		n -= int64(len(b))
		p.vec = append(p.vec, b)
	}
	return p.vec
}

// zero sets a command that leaves zeros, and returns how many bytes it does.
func (p *piece) zero(s *shape, off, n int64, unmap bool) int64 {
	if !s.same {
		n = min(n, s.maxTransfer, mostZeros)
		p.vec = p.vec[:0]
		for left := n; left > 0; {
			b := zeros[:min(left, int64(len(zeros)))]
			left -= int64(len(b))
			p.vec = append(p.vec, b)
		}
		p.cmd.Out = p.vec
		p.move(s, scsi.OpWrite16, scsi.OpWrite10, off, n, false)
		return n
	}
	n = min(n, s.maxSame)
	b := p.blocks(s, off, n)
	b.Unmap, b.NoData = unmap && s.unmaps, s.noData
	p.set(scsi.OpWriteSame16, &b)
	if !s.noData {
		p.vec = append(p.vec[:0], zeros[:s.block])
		p.cmd.Out, p.want = p.vec, int64(s.block)
	}
	return n
}

// discard sets a command that gives space back, and returns for how many
// bytes.
func (p *piece) discard(s *shape, off, n int64) int64 {
	if s.discard == bySame {
		return p.zero(s, off, n, true)
	}
	if !s.exact {
		// What is less than a granule the target would leave as it is.
		gone := (off - s.alignment) % s.granule
		if gone < 0 {
			gone += s.granule
		}
		if gone != 0 {
			return p.zero(s, off, min(n, s.granule-gone), false)
		}
		if n < s.granule {
			return p.zero(s, off, n, false)
		}
		n -= n % s.granule
	}
	n = min(n, s.maxUnmap, int64(s.block)*(1<<32-1)/s.granule*s.granule)
	list := scsi.AppendUnmapList(p.param[:0], []scsi.Range{{LBA: scsi.LBA(off / int64(s.block)), Blocks: uint32(n / int64(s.block))}})
	p.vec = append(p.vec[:0], list)
	p.cmd.CDB, p.cmd.Out, p.want = cdbUnmap(uint16(len(list))), p.vec, int64(len(list))
	return n
}

// sync makes p a flush of everything.
func (p *piece) sync(s *shape) {
	p.blk, p.req.volatile = block.Request{Op: block.OpFlush}, false
	p.cmd.Attr = scsi.Simple
	p.cmd.In, p.cmd.Out, p.want = nil, nil, 0
	op := scsi.OpSynchronizeCache10
	if s.sync16 {
		op = scsi.OpSynchronizeCache16
	}
	p.set(op, &scsi.Blocks{})
}

// commandDone is the Done of every command of a piece.
func commandDone(c *initiator.Command) {
	p := c.User.(*piece)
	p.job.d.answered(p)
}

// answered hands the outcome of p's command to the engine.
func (d *Device) answered(p *piece) {
	out := p.outcome()
	if out.status == scsi.CheckConditionStatus && out.sense.Key == scsi.UnitAttention {
		d.noticed(out.sense.ASC)
	}
	d.step(event{kind: evResult, req: &p.req, path: p.req.path, login: p.req.login, out: out})
}

// outcome says in the engine's words how the command ended.
func (p *piece) outcome() outcome {
	c := &p.cmd
	if c.Err != nil {
		return failedCommand(c)
	}
	out := outcome{status: c.Status}
	switch c.Status {
	case scsi.Good:
		out.short = p.short()
	case scsi.CheckConditionStatus:
		// Without sense data that can be read the key is NO SENSE.
		out.sense, _ = scsi.ParseSense(c.Sense)
	}
	return out
}

// short reports whether a command that ended with GOOD moved less than it was
// to.
func (p *piece) short() bool {
	c := &p.cmd
	if p.want < 0 {
		return false
	}
	if len(c.In) > 0 {
		return int64(c.Got) != p.want || c.Residual.Overflow
	}
	return p.want > 0 && c.Residual != iscsi.Residual{}
}

// failedCommand is the outcome of a command without SCSI status.
func failedCommand(c *initiator.Command) outcome {
	var failure *initiator.FailureError
	var usage *initiator.UsageError
	switch {
	case errors.As(c.Err, &failure):
		// Answered, so that it is over: like a command that was aborted.
		sense := scsi.Sense{Key: scsi.AbortedCommand, ASC: scsi.ASCInternalTargetFailure}
		return outcome{status: scsi.CheckConditionStatus, sense: sense, err: c.Err}
	case errors.As(c.Err, &usage):
		return outcome{status: scsi.CheckConditionStatus, sense: scsi.InvalidField(0, -1).Sense, err: c.Err}
	}
	return outcome{lost: true, sent: c.Sent, err: c.Err}
}
