package initiator

import (
	"context"
	"net"
	"testing"
	"time"

	"sango/internal/iscsi"
	"sango/internal/san"
	"sango/internal/scsi"
)

// peer is a target in a test, which can do everything wrong.
type peer struct {
	*link
	t      testing.TB
	statSN iscsi.StatSN
	cmdSN  iscsi.CmdSN
}

// paired returns a session over net.Pipe and its peer, logged in.
func paired(t testing.TB, limits iscsi.Limits, change ...func(*Config)) (*Session, *peer) {
	t.Helper()
	a, b := net.Pipe()
	p := &peer{link: newLink(b, nil), t: t}
	t.Cleanup(func() { b.Close() })
	cfg := Config{
		Initiator: san.InitiatorPort{Name: hostName}, Target: targetName, Portal: "192.0.2.1", PingInterval: -1,
		Dial: func(context.Context, string, string) (net.Conn, error) { return a, nil },
	}
	for _, f := range change {
		f(&cfg)
	}
	logged := make(chan error, 1)
	go func() { logged <- p.login(limits) }()
	s, err := Login(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-logged; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Abort(ErrClosed) })
	return s, p
}

// login serves a login.
func (p *peer) login(limits iscsi.Limits) error {
	m := iscsi.NewLogin(iscsi.LoginConfig{
		TPG: 1, Limits: limits, Identify: func(iscsi.Identity) ([]san.CHAP, iscsi.LoginStatus) { return nil, iscsi.LoginSuccess },
	})
	for !m.Done() {
		if err := p.next(); err != nil {
			return err
		}
		r, err := iscsi.ParseLoginRequest(&p.h)
		if err != nil {
			return err
		}
		data, err := p.readInto(make([]byte, p.unread))
		if err != nil {
			return err
		}
		resp, text := m.Step(r, data)
		if m.Done() {
			resp.TSIH = 1
		}
		resp.ExpCmdSN, resp.MaxCmdSN, resp.DataLen = m.CmdSN(), m.CmdSN()+15, len(text)
		var h iscsi.BHS
		resp.Put(&h)
		p.send(&h, text)
	}
	o := m.Outcome()
	p.headerDigest, p.dataDigest, p.limit = o.HeaderDigest, o.DataDigest, o.MaxRecv
	p.statSN, p.cmdSN = m.StatSN(), m.CmdSN()
	return nil
}

// send sends a PDU, without digests. Errors are those of a session that has
// ended already.
func (p *peer) send(h *iscsi.BHS, data []byte) {
	b := append(append(h[:], data...), padding[:iscsi.Pad(len(data))]...)
	_, _ = p.conn.Write(b)
}

// command waits for a SCSI command and returns it with its immediate data.
func (p *peer) command() (iscsi.SCSICommand, []byte) {
	p.t.Helper()
	data := p.pdu(iscsi.OpSCSICommand)
	c, err := iscsi.ParseSCSICommand(&p.h)
	if err != nil {
		p.t.Error(err)
	}
	p.cmdSN = c.CmdSN + 1
	return c, data
}

// pdu waits for a PDU, of op, and returns its data.
func (p *peer) pdu(op iscsi.Opcode) []byte {
	p.t.Helper()
	if err := p.next(); err != nil {
		p.t.Errorf("no %v: %v", op, err)
		return nil
	}
	if p.h.Opcode() != op {
		p.t.Errorf("a %v where a %v was due", p.h.Opcode(), op)
	}
	b, err := p.readInto(make([]byte, p.unread))
	if err != nil {
		p.t.Error(err)
	}
	return b
}

// take returns the next StatSN.
func (p *peer) take() iscsi.StatSN {
	p.statSN++
	return p.statSN - 1
}

func (p *peer) respond(r iscsi.SCSIResponse, data []byte) {
	r.ExpCmdSN, r.MaxCmdSN, r.DataLen = p.cmdSN, p.cmdSN+15, len(data)
	var h iscsi.BHS
	r.Put(&h)
	p.send(&h, data)
}

func (p *peer) good(itt iscsi.ITT) { p.respond(iscsi.SCSIResponse{ITT: itt, StatSN: p.take()}, nil) }

func (p *peer) dataIn(d iscsi.DataIn, n int) {
	d.TTT, d.DataLen, d.ExpCmdSN, d.MaxCmdSN = iscsi.NoTTT, n, p.cmdSN, p.cmdSN+15
	var h iscsi.BHS
	d.Put(&h)
	p.send(&h, make([]byte, n))
}

func (p *peer) r2t(r iscsi.R2T) {
	r.ExpCmdSN, r.MaxCmdSN = p.cmdSN, p.cmdSN+15
	var h iscsi.BHS
	r.Put(&h)
	p.send(&h, nil)
}

func (p *peer) ping(ttt iscsi.TTT) {
	n := iscsi.NopIn{ITT: iscsi.NoITT, TTT: ttt, StatSN: p.statSN, ExpCmdSN: p.cmdSN, MaxCmdSN: p.cmdSN + 15}
	var h iscsi.BHS
	n.Put(&h)
	p.send(&h, nil)
}

// submit submits a command of n bytes either way; its end comes on the channel.
func submit(s *Session, write bool, n int) (*Command, <-chan error) {
	ended := make(chan error, 1)
	c := &Command{Attr: scsi.Simple, Done: func(c *Command) { ended <- c.Err }}
	if write {
		c.Out = [][]byte{make([]byte, n)}
	} else {
		c.In = [][]byte{make([]byte, n)}
	}
	s.Submit(c)
	return c, ended
}

const someTime = 10 * time.Second
