package target

import (
	"time"

	"sango/internal/iscsi"
	"sango/internal/scsi"
)

// The sense codes of the iSCSI conditions of RFC 7143 §11.4.7.2.
const (
	ascUnexpectedData  scsi.ASC = 0x0c0c // unexpected unsolicited data
	ascIncorrectAmount scsi.ASC = 0x0c0d // incorrect amount of data
	ascServiceCRC      scsi.ASC = 0x4705 // protocol service CRC error
	ascInvalidOpcode   scsi.ASC = 0x2000
)

// transferEstimate bounds the memory that a command is expected to need, in
// bytes: initiators may expect 4 GiB of a command that returns 36 bytes.
const transferEstimate = 32 << 20

// scsiCommand takes a SCSI Command PDU (RFC 7143 §11.3).
func (c *conn) scsiCommand() error {
	p, err := iscsi.ParseSCSICommand(&c.in.h)
	if err != nil {
		return c.rejectPDU(err)
	}
	c.mu.Lock()
	v := now
	if !p.Immediate {
		v = c.win.judge(p.CmdSN)
	}
	known := c.tasks[p.ITT] != nil
	crowded := p.Immediate && c.immediates >= c.srv.cfg.Immediates
	c.mu.Unlock()
	switch {
	case v == ignore:
		_, err := c.endData()
		return err
	case known:
		return c.rejectPDU(&iscsi.ProtocolError{Reason: iscsi.RejectTaskInProgress, Text: "the task tag is in use"})
	case crowded:
		return c.rejectPDU(&iscsi.ProtocolError{Reason: iscsi.RejectImmediate, Text: "too many immediate commands"})
	}
	t := c.newTask(&p)
	t.held = true
	t.bidi = c.in.bidi
	t.fault = c.checkCommand(&p)
	if ok, err := c.immediateData(t, &p, v); err != nil {
		t.free()
		return err
	} else if !ok {
		t.free()
		return c.reject(iscsi.RejectDataDigest, false)
	}
	c.mu.Lock()
	c.tasks[t.itt] = t
	c.stats.commands++
	c.stats.written = c.received
	switch {
	case t.immediate:
		c.immediates++
	case v == now:
		c.win.advance()
	default:
		t.early = true
		c.win.hold(t.cmdSN, &ordered{task: t, run: func() error { return c.execute(t) }})
	}
	c.mu.Unlock()
	if t.early {
		return nil
	}
	if err := c.execute(t); err != nil || p.Immediate {
		return err
	}
	return c.catchUp()
}

// checkCommand returns how a command has to end that breaks what was
// negotiated about unsolicited data, or that is more than a single-direction
// command with a CDB of 16 bytes; nil for a proper one.
func (c *conn) checkCommand(p *iscsi.SCSICommand) *scsi.CheckCondition {
	switch {
	case len(c.in.ahs) > 0, p.Read && p.Write:
		// No command that is served takes either (RFC 7143 §11.2.2).
		return scsi.Check(scsi.IllegalRequest, ascInvalidOpcode)
	case p.DataLen > 0 && (!c.params.ImmediateData || p.DataLen > int(c.params.FirstBurstLength)),
		!p.Final && c.params.InitialR2T:
		return scsi.Check(scsi.AbortedCommand, ascUnexpectedData)
	}
	return nil
}

// immediateData takes the data segment of a command into t.Out. It reports
// whether its digest was right.
func (c *conn) immediateData(t *task, p *iscsi.SCSICommand, v verdict) (bool, error) {
	n := p.DataLen
	t.burst = burst{ttt: iscsi.NoTTT, next: n, end: max(n, int(min(c.params.FirstBurstLength, p.ExpectedLen)))}
	room := n
	if v == later && t.trailing {
		room = t.burst.end // its Data-Out PDUs may come before its turn
	}
	if room > 0 && t.fault == nil {
		t.full = t.reserve(int64(room))
	}
	if room > 0 && t.fault == nil && t.full == scsi.Good {
		t.Out.Grow(room)
		c.sink = t.Out.Slice(c.sink[:0], 0, n)
		if err := c.readData(c.sink, n); err != nil {
			return false, err
		}
		c.received += uint64(n)
	}
	return c.endData()
}

// execute hands a task to the device server in its turn, and starts to gather
// its data.
func (c *conn) execute(t *task) error {
	t.early = false
	if time.Since(t.Arrival) > c.srv.cfg.MaxAge {
		return errTooOld // DESIGN R4(b)
	}
	if t.fault != nil {
		c.nexus.Refuse(&t.Task, t.fault)
		c.refuse(t)
		return nil
	}
	if t.full == scsi.Good {
		t.full = t.reserve(min(int64(t.Expected), transferEstimate) - t.reserved)
	}
	if t.full != scsi.Good {
		t.Status = t.full
		c.refuse(t)
		return nil
	}
	c.nexus.Admit(&t.Task)
	if n := t.OutLen; n > 0 && !c.over(t) {
		t.gathering = true
		t.charge(int64(n) - t.reserved)
		if have := t.Out.Len(); have > n {
			t.Out.Truncate(n)
		} else {
			t.Out.Grow(n - have)
		}
		t.asked = min(t.burst.next, n)
	}
	c.proceed(t)
	return nil
}

// over reports whether t has ended.
func (c *conn) over(t *task) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return t.done
}

// refuse ends a command that package lun does not admit. The response waits for
// the unsolicited data that was announced.
func (c *conn) refuse(t *task) {
	c.mu.Lock()
	t.done = true
	c.mu.Unlock()
	c.letGo(t)
}

// letGo ends the reader's hold on t, and finishes t if its end has come
// meanwhile.
func (c *conn) letGo(t *task) {
	c.mu.Lock()
	t.held = false
	if t.done {
		c.finish(t)
	}
	c.mu.Unlock()
}

// finish queues the response of a task that is done and not held, with c.mu
// held.
func (c *conn) finish(t *task) {
	switch {
	case c.out.dead, t.Aborted:
		// No response for an aborted task. Its Data-Out PDUs, if more come, are
		// strays: there is no waiting for them, because many initiators stop
		// sending when they have asked for an abort (RFC 7143 §4.2.3.4).
		c.forget(t)
		t.free()
	case t.owed():
		// The response must not overtake the data that was announced or asked
		// for, or the task tag could be used again while data still comes for it
		// (RFC 7143 §11.4.2).
	default:
		c.out.queue = append(c.out.queue, item{task: t})
	}
}

// forget takes t out of the table and gives its credit back, with c.mu held.
func (c *conn) forget(t *task) {
	if c.tasks[t.itt] != t {
		return
	}
	delete(c.tasks, t.itt)
	if t.immediate {
		c.immediates--
	} else {
		c.win.release()
	}
}
