package target

import (
	"time"

	"sango/internal/iscsi"
	"sango/internal/scsi"
)

// firstTTT is the first target transfer tag of a connection; they count up
// from it, so that a tag that was used can be told from one that never was.
const firstTTT iscsi.TTT = 1

// tag returns a new target transfer tag.
func (c *conn) tag() iscsi.TTT {
	t := c.nextTTT
	if c.nextTTT++; c.nextTTT == iscsi.NoTTT {
		c.nextTTT = firstTTT
		c.tagsWrapped = true
	}
	return t
}

// tagUsed reports whether t was handed out on this connection.
func (c *conn) tagUsed(t iscsi.TTT) bool {
	return t != iscsi.NoTTT && (c.tagsWrapped || t >= firstTTT && t < c.nextTTT)
}

// dataOut takes a SCSI Data-Out PDU (RFC 7143 §11.7). ExpStatSN is not looked
// at, here and in other PDUs: at ErrorRecoveryLevel 0 no status is kept to be
// sent again, so nothing hangs on what was acknowledged.
func (c *conn) dataOut() error {
	d, err := iscsi.ParseDataOut(&c.in.h)
	if err != nil {
		return c.rejectPDU(err)
	}
	c.mu.Lock()
	c.stats.written = c.received
	t := c.tasks[d.ITT]
	if t != nil && t.done && !t.owed() {
		t = nil // its response is on its way: it belongs to the sender
	}
	over := false // the device server is done with it: the data is thrown away
	if t != nil {
		t.held, over = true, t.done
	}
	c.mu.Unlock()
	if t == nil {
		return c.strayData(&d)
	}
	b, i := c.expected(t, &d)
	if b == nil {
		if !t.early {
			c.letGo(t)
		}
		return c.strayData(&d)
	}
	if err := c.takeData(t, &d, b); err != nil {
		return err
	}
	if t.gathering {
		t.Arrival = c.in.pduArrival // the host was there still
	}
	if t.gathering && t.fault == nil && t.OutLen > 0 && !over {
		if err := c.stream(t, b.next); err != nil {
			return err
		}
	}
	if d.Final {
		c.endBurst(t, i)
	}
	switch {
	case over:
		c.letGo(t)
	case !t.early:
		c.proceed(t)
	}
	return nil
}

// expected returns the burst that d belongs to, and its place among the R2Ts
// of t or −1 for the unsolicited one. It returns nil for data that nobody
// asked for.
func (c *conn) expected(t *task, d *iscsi.DataOut) (*burst, int) {
	if d.TTT == iscsi.NoTTT {
		if t.trailing {
			return &t.burst, -1
		}
		if t.gathering {
			t.blame(scsi.Check(scsi.AbortedCommand, ascUnexpectedData))
		}
		return nil, 0
	}
	for i := range t.r2t[:t.r2ts] {
		if t.r2t[i].ttt == d.TTT {
			if d.LUN != t.LUN { // it has to be that of the R2T (RFC 7143 §11.7.4): data of another unit must not be written here
				t.blame(scsi.Check(scsi.AbortedCommand, ascServiceCRC))
			}
			if i > 0 { // DataSequenceInOrder=Yes
				t.blame(scsi.Check(scsi.AbortedCommand, ascServiceCRC))
			}
			return &t.r2t[i], i
		}
	}
	return nil, 0
}

// blame notes how t ends because of its data; the first fault counts.
func (t *task) blame(cc *scsi.CheckCondition) {
	if t.fault == nil {
		t.fault = cc
	}
}

// takeData reads the data segment of d, which belongs to b. Data that breaks
// the rules is thrown away, and its task ends once all the data it was asked
// for has come (RFC 7143 §7.8, §7.9).
func (c *conn) takeData(t *task, d *iscsi.DataOut, b *burst) error {
	off, n := int(d.Offset), d.DataLen
	switch {
	case d.DataSN != b.dataSN || off != b.next:
		// A gap means that a PDU was lost to a digest error.
		t.blame(scsi.Check(scsi.AbortedCommand, ascServiceCRC))
	case off+n > b.end, d.Final && d.TTT != iscsi.NoTTT && off+n != b.end:
		t.blame(scsi.Check(scsi.AbortedCommand, ascIncorrectAmount))
	}
	if t.fault == nil && off < t.Out.Len() {
		m := min(n, t.Out.Len()-off)
		c.sink = t.Out.Slice(c.sink[:0], off, m)
		if err := c.readData(c.sink, m); err != nil {
			return err
		}
		c.received += uint64(m)
	}
	ok, err := c.endData()
	if err != nil {
		return err
	}
	if !ok {
		t.blame(scsi.Check(scsi.AbortedCommand, ascServiceCRC))
		if err := c.reject(iscsi.RejectDataDigest, false); err != nil {
			return err
		}
	}
	b.dataSN++
	b.next = off + n
	return nil
}

// stream has the device server write some of the first n bytes of t's data, if
// it likes. Data that waited too long may have been sent again elsewhere.
func (c *conn) stream(t *task, n int) error {
	switch {
	case c.ended.Load():
		return errEnded
	case time.Since(c.in.pduArrival) > c.srv.cfg.MaxAge:
		return errTooOld // DESIGN R4(b)
	}
	t.Stream(n)
	return nil
}

// endBurst notes that the unsolicited burst (−1) or the i-th R2T of t got its
// last PDU.
func (c *conn) endBurst(t *task, i int) {
	if i < 0 {
		c.mu.Lock()
		t.trailing = false
		c.mu.Unlock()
		t.asked = min(t.burst.next, t.OutLen)
		return
	}
	copy(t.r2t[i:t.r2ts], t.r2t[i+1:t.r2ts])
	t.r2ts--
}

// strayData throws data away that no task wants. That of tasks which ended
// early is to be expected; a tag that was never handed out is an error.
func (c *conn) strayData(d *iscsi.DataOut) error {
	if d.TTT != iscsi.NoTTT && !c.tagUsed(d.TTT) {
		return c.rejectPDU(&iscsi.ProtocolError{Reason: iscsi.RejectInvalidField, Text: "unknown target transfer tag"})
	}
	c.mu.Lock()
	c.stats.strays++
	c.mu.Unlock()
	_, err := c.endData()
	return err
}

// proceed does what comes next for a held task that is admitted or refused: it
// asks for more data, or has the task run when all is there. It ends the hold.
func (c *conn) proceed(t *task) {
	if t.trailing || !t.gathering {
		c.letGo(t)
		return
	}
	if t.fault == nil {
		c.ask(t)
	}
	if t.r2ts == 0 {
		t.gathering = false
		if t.fault != nil {
			t.Fail(t.fault)
		} else {
			t.Ready()
		}
	}
	c.letGo(t)
}

// ask sends as many R2Ts for t as it may have outstanding.
func (c *conn) ask(t *task) {
	for t.asked < t.OutLen && t.r2ts < c.maxR2Ts {
		n := min(t.OutLen-t.asked, int(c.params.MaxBurstLength))
		b := burst{ttt: c.tag(), next: t.asked, end: t.asked + n}
		r := iscsi.R2T{
			LUN: t.LUN, ITT: t.itt, TTT: b.ttt, R2TSN: t.r2tSN, Offset: uint32(t.asked), Desired: uint32(n),
		}
		k := newControl()
		r.Put(&k.h)
		k.num = showsStatSN
		c.mu.Lock()
		if t.done { // aborted meanwhile: an R2T would come after the end of the task
			c.mu.Unlock()
			k.free()
			return
		}
		c.enqueue(k)
		c.mu.Unlock()
		t.r2tSN++
		t.r2t[t.r2ts] = b
		t.r2ts++
		t.asked += n
	}
}
