package lun

import (
	"cmp"
	"errors"
	"time"

	"sango/internal/block"
	"sango/internal/bufpool"
	"sango/internal/scsi"
	xcopy "sango/internal/scsi/copy"
)

// copier does one EXTENDED COPY.
type copier struct {
	t      *Task
	list   *xcopy.List
	result *copyResult
	pace   pacer
}

// The commands that parts of a copy count as, towards the reservations and
// conditions of the units that they touch.
var (
	copySource      = &command{op: scsi.OpRead16, name: "EXTENDED COPY source", access: accessRead}
	copyDestination = &command{op: scsi.OpWrite16, name: "EXTENDED COPY destination", access: accessWrite, flags: changes}
)

// run does the segments in order; the first that fails ends the copy.
func (c *copier) run() error {
	for i := range c.list.Targets {
		if d := &c.list.Targets[i]; d.Peripheral != scsi.PeripheralDisk {
			return scsi.InvalidParameter(d.At+1, 4)
		}
	}
	for i := range c.list.Segments {
		if err := c.segment(i); err != nil {
			return err
		}
		c.t.itl.copies.segment(c.result)
	}
	return nil
}

// errAborted ends a copy that was aborted.
var errAborted = errors.New("lun: the command was aborted")

// target returns the unit that descriptor n stands for, as the nexus that
// asked sees it at one of its own LUNs: nothing else can be reached
// (CVE-2020-28374, DESIGN R10).
func (c *copier) target(n uint16) *itl {
	if int(n) >= len(c.list.Targets) || c.list.Targets[n].Null {
		return nil
	}
	want := &c.list.Targets[n].Designator
	if want.Association != scsi.OfUnit {
		return nil
	}
	v := c.t.nexus.view.Load()
	for _, l := range v.luns {
		i := v.at(l)
		for _, d := range i.designators() {
			if d.Association == scsi.OfUnit && d.Equal(want) {
				return i
			}
		}
	}
	return nil
}

// segment does segment n.
func (c *copier) segment(n int) error {
	s := &c.list.Segments[n]
	src, dst := c.target(s.Source), c.target(s.Destination)
	if src == nil || dst == nil {
		return c.aborted(n, scsi.ASCUnreachableCopyTarget, uint64(s.Blocks))
	}
	sbs, stotal := src.unit.geometry()
	dbs, dtotal := dst.unit.geometry()
	for _, e := range []struct {
		index uint16
		bs    int64
	}{{s.Source, sbs}, {s.Destination, dbs}} {
		if d := &c.list.Targets[e.index]; d.BlockLength != 0 && int64(d.BlockLength) != e.bs {
			return scsi.InvalidParameter(d.At+29, -1)
		}
	}
	unit := sbs
	if s.DestinationCount {
		unit = dbs
	}
	length := int64(s.Blocks) * unit
	switch {
	case length%sbs != 0 || length%dbs != 0:
		return c.aborted(n, ascInexactSegment, uint64(s.Blocks))
	case outOfRange(uint64(s.SourceLBA), uint64(length/sbs), stotal) != nil,
		outOfRange(uint64(s.DestinationLBA), uint64(length/dbs), dtotal) != nil:
		return c.aborted(n, scsi.ASCNone, uint64(s.Blocks))
	}
	b := bufpool.Get(int(min(chunk, max(length, 1))))
	defer b.Release()
	from, to := int64(s.SourceLBA)*sbs, int64(s.DestinationLBA)*dbs
	step := c.pace.portion(chunk, max(sbs, dbs))
	for done := int64(0); done < length; {
		if stop, err := c.t.halted(); stop {
			return cmp.Or(err, errAborted)
		}
		n2 := min(step, length-done)
		c.pace.pace(n2, nil)
		err := c.part(src, copySource, lockRead, from+done, n2, b)
		if err == nil {
			err = c.part(dst, copyDestination, lockWrite, to+done, n2, b)
		}
		if err != nil {
			return c.aborted(n, ascOfPart(err), uint64((length-done)/unit))
		}
		done += n2
		c.t.itl.copies.moved(c.result, n2)
	}
	return nil
}

// ascInexactSegment is UNEXPECTED INEXACT SEGMENT: the blocks of one unit do
// not make up whole blocks of the other.
const ascInexactSegment scsi.ASC = 0x260a

// aborted returns COPY ABORTED for segment n, of which left blocks were not
// copied (SPC-4 §5.16.7.4).
func (c *copier) aborted(n int, asc scsi.ASC, left uint64) error {
	cc := scsi.Check(scsi.CopyAborted, asc)
	cc.Sense.HasInfo, cc.Sense.Info = true, left
	cc.Sense.HasCmdInfo, cc.Sense.CmdInfo = true, uint32(n)
	return cc
}

// ascOfPart tells why a unit did not do its part.
func ascOfPart(err error) scsi.ASC {
	switch block.ClassOf(err) {
	case block.NoSpace:
		return scsi.ASCSpaceAllocationFailed
	case block.Closed:
		return scsi.ASCCopyTargetNotReachable
	}
	return scsi.ASCThirdPartyDeviceFailure
}

// part does one I/O of the copy at unit i, as a task of its own there: it keeps
// the order of that unit's tasks, is stopped by its reservations, conditions
// and resets, and nobody who waits for the unit's tasks forgets it. No part
// waits while the copy holds another. Where the unit is served elsewhere it goes
// there, as a command of the nexus.
func (c *copier) part(i *itl, cmd *command, mode lockMode, off, n int64, b *bufpool.Buf) error {
	s := &Task{LUN: i.lun.Field(), Tag: c.t.Tag, Attr: scsi.HeadOfQueue, Arrival: time.Now(), nexus: i.nexus, unit: i.unit}
	s.itl, s.cmd, s.grant, s.mayBlock = i, cmd, make(chan bool, 1), true
	s.span(mode, off, n)
	bs, _ := i.unit.geometry()
	var err error
	if s.CDB, err = (&scsi.Blocks{LBA: scsi.LBA(off / bs), Blocks: uint32(n / bs)}).CDB(cmd.op); err != nil {
		return err
	}
	s.Expected, s.Read, s.Write = uint32(n), mode == lockRead, mode != lockRead
	if s.Write {
		b.Retain()
		s.Out.Append(b)
		s.Out.Truncate(int(n))
	}
	defer s.Out.Release()
	defer s.In.Release()
	run, st, cc := i.add(s)
	if cc == nil && st == 0 && !run {
		i.unit.usher()
		run = <-s.grant
	}
	switch {
	case cc != nil:
		return &block.Error{Class: block.Closed}
	case st != 0:
		return &block.Error{Class: block.Busy}
	case !run:
		return c.relayed(s, b)
	}
	p := [][]byte{b.B[:n]}
	err = i.unit.gate(s)
	if err == nil {
		if mode == lockRead {
			err = s.do(block.OpRead, 0, off, n, p)
		} else {
			fl, flush := s.stability(false)
			if err = s.do(block.OpWrite, fl, off, n, p); err == nil {
				err = s.settle(flush)
			}
		}
	}
	s.finish(nil)
	if err == nil && s.killed.Load() {
		err = &block.Error{Class: block.Closed, Err: errAborted}
	}
	return err
}

// relayed returns how a part ended that was not executed here; what it read is
// copied to b.
func (c *copier) relayed(s *Task, b *bufpool.Buf) error {
	switch {
	case s.Aborted, s.Status == scsi.TaskAborted:
		return &block.Error{Class: block.Closed, Err: errAborted}
	case s.Status == scsi.CheckConditionStatus:
		if x, err := scsi.ParseSense(s.Sense); err == nil && x.ASC == scsi.ASCSpaceAllocationFailed {
			return &block.Error{Class: block.NoSpace}
		}
		return &block.Error{Class: block.Medium}
	case s.Status != scsi.Good:
		return &block.Error{Class: block.Busy}
	}
	to := b.B
	for _, v := range s.In.Vec() {
		to = to[copy(to, v):]
	}
	return nil
}
