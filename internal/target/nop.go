package target

import (
	"sync/atomic"
	"time"

	"sango/internal/bufpool"
	"sango/internal/defect"
	"sango/internal/iscsi"
)

// nopOut takes a NOP-Out PDU (RFC 7143 §11.18): a ping to answer, or the
// answer to ours.
func (c *conn) nopOut() error {
	n, err := iscsi.ParseNopOut(&c.in.h)
	if err != nil {
		return c.rejectPDU(err)
	}
	data, ok, err := c.readAll()
	if err != nil {
		return err
	}
	if !ok {
		data.Release()
		return c.reject(iscsi.RejectDataDigest, false)
	}
	if n.ITT == iscsi.NoITT { // no answer is wanted
		if n.TTT != iscsi.NoTTT && n.TTT == c.ping.ttt {
			c.ping.answered()
		}
		data.Release()
		return nil
	}
	// Outside the window it is ignored, and its data left to the collector.
	return c.numbered(n.Immediate, n.CmdSN, len(data.B), func(credit bool) error {
		c.echo(&n, data, credit)
		return nil
	})
}

// echo answers a ping with as much of its data as the initiator takes.
func (c *conn) echo(n *iscsi.NopOut, data *bufpool.Buf, credit bool) {
	data.B = data.B[:min(len(data.B), c.params.MaxSend)]
	k := newControl()
	p := iscsi.NopIn{ITT: n.ITT, TTT: iscsi.NoTTT, DataLen: len(data.B)}
	p.Put(&k.h)
	k.data = data
	k.credit, k.backlog = credit, true
	c.post(k)
}

// pinger decides about the liveness of a connection (DESIGN R4 a). It belongs
// to the reader, apart from sent.
type pinger struct {
	interval, timeout time.Duration

	next     time.Time // when the next ping is due
	ttt      iscsi.TTT // of the ping that waits for its answer, 0 without one
	deadline time.Time // when the answer must have come
	acked    int64     // bytes of the stream that the peer's kernel has acknowledged
	sent     atomic.Int64
}

func (p *pinger) answered() { p.ttt = 0 }

// step says whether a ping is to be sent now, with what tag returns, and when
// to call it again; acked is how much of the stream the peer's kernel has
// acknowledged, empty when nothing was there to read for the last time. While the ping itself is still in the queue to the peer, and the
// peer's kernel keeps acknowledging what comes before it, the path is slow and
// not dead: the time starts anew (DESIGN R8). When this process stood still
// itself, the answer may have come meanwhile: what is there is read first.
func (p *pinger) step(now, empty time.Time, acked int64, tag func() iscsi.TTT) (send bool, due time.Time, err error) {
	if p.ttt != 0 {
		end := p.sent.Load()
		if acked > p.acked && (end == 0 || acked < end) {
			p.deadline = now.Add(p.timeout)
		}
		p.acked = acked
		switch {
		case now.Before(p.deadline):
			return false, p.deadline, nil
		case empty.Before(p.deadline) && now.Before(p.deadline.Add(p.timeout)):
			return false, now.Add(readFirst), nil
		}
		return false, p.deadline, errSilent
	}
	if now.Before(p.next) {
		return false, p.next, nil
	}
	p.ttt = tag()
	p.next = now.Add(p.interval)
	p.deadline = now.Add(p.timeout)
	p.acked = acked
	p.sent.Store(0)
	return true, p.deadline, nil
}

// readFirst is the time to read what came while the process stood still.
const readFirst = 20 * time.Millisecond

// keepAlive sends a ping when one is due, and ends the connection when one was
// not answered in time.
func (c *conn) keepAlive(now time.Time) (due time.Time, err error) {
	if defect.R4a {
		return now.Add(time.Hour), nil
	}
	send, due, err := c.ping.step(now, c.sock.seenEmpty, c.written.Load()-c.sock.unacked(), c.tag)
	if send {
		k := newControl()
		n := iscsi.NopIn{ITT: iscsi.NoITT, TTT: c.ping.ttt}
		n.Put(&k.h)
		k.num, k.ping = showsStatSN, true
		c.post(k)
	}
	return due, err
}
