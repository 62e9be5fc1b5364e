package relay

import (
	"sango/internal/bufpool"
	"sango/internal/lun"
	"sango/internal/relay/wire"
	"sango/internal/scsi"
)

// handle takes a frame of the owner. The reader of the connection calls it.
func (l *line) handle(c *conn, h wire.Header, body []byte) error {
	switch h.Type {
	case wire.TypeResponse:
		r, err := wire.ParseResponse(body)
		if err != nil {
			return err
		}
		return l.response(c, &r)
	case wire.TypeDataIn:
		d, err := wire.ParseData(body)
		if err != nil {
			return err
		}
		k, err := l.lookup(d.Tag, h.Type)
		if err != nil {
			return err
		}
		return k.dataIn(c)
	case wire.TypeBeat:
		b, err := wire.ParseBeat(body, c.version)
		if err == nil {
			l.peer.tokens.add(b.Stamp, c.in.now)
		}
		return err
	}
	return l.control(c, h, body)
}

// control takes a frame that moves no data.
func (l *line) control(c *conn, h wire.Header, body []byte) (err error) {
	l.mu.Lock()
	defer l.unlock()
	switch h.Type {
	case wire.TypeNexusOpened:
		o, err := wire.ParseNexusOpened(body)
		if err != nil {
			return err
		}
		return l.opened(&o)
	case wire.TypeNexusClosed:
		o, err := wire.ParseNexusClosed(body)
		if err != nil {
			return err
		}
		return l.closed(o.Handle)
	case wire.TypeManaged:
		m, err := wire.ParseManaged(body)
		if err != nil {
			return err
		}
		return l.managed(&m)
	case wire.TypeTell:
		t, err := wire.ParseTell(body)
		if err != nil {
			return err
		}
		return l.told(c, &t)
	case wire.TypeFenced:
		f, err := wire.ParseFenced(body)
		if err != nil {
			return err
		}
		return l.fenced(&f)
	case wire.TypeHello, wire.TypeWelcome, wire.TypeNexusOpen, wire.TypeNexusClose, wire.TypeSynced,
		wire.TypeCommand, wire.TypeDataOut, wire.TypeCancel, wire.TypeManage, wire.TypeTold, wire.TypeFence:
		return wire.Errorf("a %v from an owner", h.Type)
	case wire.TypeRefused:
		f, err := wire.ParseRefused(body)
		if err != nil {
			return err
		}
		return refusal(&f)
	}
	return nil // of a later version, which may pass over it
}

// lookup returns the call of a tag.
func (l *line) lookup(tag wire.Tag, t wire.Type) (*call, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if int(tag) < len(l.calls) {
		if k := l.calls[tag]; k != nil && k.begun && !k.answered {
			return k, nil
		}
	}
	return nil, wire.Errorf("a %v for command %d, which there is not", t, tag)
}

// dataIn takes the data of the frame at hand straight into buffers of the
// task. Nobody else ends the call while the reader is here.
func (c *call) dataIn(n *conn) error {
	size := n.in.unread
	if size == 0 {
		return nil
	}
	if c.cmd.Flags&wire.FlagRead == 0 || size > int(c.cmd.Expected)-c.got {
		return wire.Errorf("%d bytes of data for a command that expects %d and has %d", size, c.cmd.Expected, c.got)
	}
	b := bufpool.Get(size)
	n.in.sink = append(n.in.sink[:0], b.B)
	err := n.readData(n.in.sink, size)
	clear(n.in.sink)
	if err != nil {
		b.Release()
		return err
	}
	c.task.In.Append(b)
	c.got += size
	return nil
}

// response ends a command.
func (l *line) response(c *conn, r *wire.Response) error {
	k, err := l.lookup(r.Tag, wire.TypeResponse)
	if err != nil {
		return err
	}
	t := k.task
	outcome := lun.Ended
	switch r.Outcome {
	case wire.Aborted:
		outcome = lun.Aborted
	case wire.Moved:
		outcome = lun.Again
	case wire.Stale:
		outcome = lun.Stale
	default:
		t.Status, t.Want, t.DSense = scsi.Status(r.Status), r.Want, r.DSense
		t.SetRawSense(r.Sense)
	}
	if err := k.dataIn(c); err != nil {
		return err
	}
	if k.got != int(r.In) {
		return wire.Errorf("a %v has %d bytes of data, and says %d", wire.TypeResponse, k.got, r.In)
	}
	if outcome != lun.Ended {
		t.In.Release()
	}
	l.cork(c, k.lane)
	l.mu.Lock()
	k.answered, k.outcome = true, outcome
	if outcome == lun.Again {
		k.lane.vol.turnedAway()
	}
	if !k.busy {
		l.finish(k)
	}
	l.unlock()
	return nil
}

// cork has the host of ln get its answer together with those that came with it.
// The reader calls it.
func (l *line) cork(c *conn, ln *lane) {
	if ln.corker == nil || ln.corked || c.in.r == c.in.w {
		return
	}
	ln.corked = true
	l.corked = append(l.corked, ln)
	ln.corker.Cork()
}

// uncork sends the answers that wait for others.
func (l *line) uncork() {
	for _, ln := range l.corked {
		ln.corked = false
		ln.corker.Uncork()
	}
	clear(l.corked)
	l.corked = l.corked[:0]
}

// told takes what the owner says to a nexus.
func (l *line) told(c *conn, t *wire.Tell) error {
	ln, err := l.laneAt(t.Handle, wire.TypeTell)
	if err != nil {
		return err
	}
	ack := func() {
		l.mu.Lock()
		if l.conn == c {
			c.post(&wire.Told{ID: t.ID})
			c.kick()
			return
		}
		l.mu.Unlock()
	}
	if ln.parted {
		l.later = append(l.later, ack)
		return nil
	}
	e := lun.Event{
		Attention: scsi.ASC(t.ASC), Abort: t.Flags&wire.TellAbort != 0,
		Only: t.Flags&wire.TellOnly != 0, Drop: t.Flags&wire.TellDrop != 0,
		DSense: t.Flags&wire.TellDSense != 0, TAS: t.Flags&wire.TellTAS != 0,
	}
	n, at := ln.nexus, ln.lun
	l.later = append(l.later, func() { l.local.told(n, at, e, ack) })
	return nil
}
