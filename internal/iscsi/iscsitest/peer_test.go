package iscsitest

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"

	"sango/internal/iscsi"
	"sango/internal/san"
)

// peer is a target that serves one connection, one PDU at a time, with 512
// bytes a block. It reads with the same Conn that it is there to test, seen
// from the other side: that one checks nothing about initiator PDUs.
type peer struct {
	*Conn
	t      *testing.T
	disk   [64 * 512]byte
	params iscsi.Params
	stat   iscsi.StatSN
	exp    iscsi.CmdSN
	ping   bool // ping before the next response
	skew   iscsi.StatSN
}

var account = san.CHAP{User: "host", Secret: "secret-of-12", MutualUser: "disk", MutualSecret: "other-secret"}

// start runs a peer and returns the connection to it.
func start(t *testing.T, accounts ...san.CHAP) (*Conn, *peer) {
	a, b := net.Pipe()
	p := &peer{Conn: New(b), t: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer b.Close()
		if err := p.serve(accounts); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("peer: %v", err)
		}
	}()
	t.Cleanup(func() { a.Close(); <-done })
	return New(a), p
}

// receive reads a PDU of the initiator.
func (p *peer) receive() (PDU, error) {
	p.started, p.Params.MaxRecv = false, iscsi.MaxDataSegment
	q, err := p.Receive()
	if errors.Is(err, ErrSequence) { // numbers of a target are not there
		err = nil
	}
	return q, err
}

// answer sends a response that uses a StatSN.
func (p *peer) answer(h *iscsi.BHS, data []byte) error {
	h.PutStatSN(p.stat + p.skew)
	h.PutWindow(p.exp, p.exp+8)
	p.stat++
	return p.Send(h, data)
}

func (p *peer) serve(accounts []san.CHAP) error {
	l := iscsi.NewLogin(iscsi.LoginConfig{Limits: iscsi.DefaultLimits(), Identify: func(id iscsi.Identity) ([]san.CHAP, iscsi.LoginStatus) {
		if id.Target == "iqn.none" {
			return nil, iscsi.LoginNotFound
		}
		return accounts, iscsi.LoginSuccess
	}})
	for !l.Done() {
		q, err := p.receive()
		if err != nil {
			return err
		}
		r, err := iscsi.ParseLoginRequest(&q.BHS)
		if err != nil {
			return err
		}
		resp, text := l.Step(r, q.Data)
		resp.MaxCmdSN = resp.ExpCmdSN + 8
		if l.Done() {
			resp.TSIH = 5
		}
		var h iscsi.BHS
		resp.Put(&h)
		if err := p.Send(&h, text); err != nil || l.Err() != nil {
			return err
		}
	}
	p.params, p.stat, p.exp = l.Outcome(), l.StatSN(), l.CmdSN()
	p.HeaderDigest, p.DataDigest = p.params.HeaderDigest, p.params.DataDigest
	x := iscsi.NewTextExchange(&p.params, func(string) []iscsi.TargetRecord { return []iscsi.TargetRecord{{Name: "iqn.disk"}} })
	for {
		q, err := p.receive()
		if err != nil {
			return err
		}
		if q.Opcode().Numbered() && !q.Immediate() {
			p.exp++
		}
		if p.ping {
			p.ping = false
			var h iscsi.BHS
			(&iscsi.NopIn{ITT: iscsi.NoITT, TTT: 77, StatSN: p.stat, ExpCmdSN: p.exp, MaxCmdSN: p.exp + 8}).Put(&h)
			if err := p.Send(&h, nil); err != nil {
				return err
			}
			pong, err := p.receive()
			if n, perr := iscsi.ParseNopOut(&pong.BHS); err != nil || perr != nil || n.TTT != 77 {
				p.t.Errorf("pong %+v, %v, %v", n, err, perr)
			}
		}
		var h iscsi.BHS
		switch q.Opcode() {
		case iscsi.OpNopOut:
			(&iscsi.NopIn{ITT: q.ITT(), TTT: iscsi.NoTTT, DataLen: len(q.Data)}).Put(&h)
			err = p.answer(&h, q.Data)
		case iscsi.OpTaskRequest:
			(&iscsi.TaskResponse{ITT: q.ITT(), Result: iscsi.TaskNoSuchTask}).Put(&h)
			err = p.answer(&h, nil)
		case iscsi.OpTextRequest:
			r, _ := iscsi.ParseTextRequest(&q.BHS)
			resp, text, xerr := x.Step(r, q.Data)
			if xerr != nil {
				return xerr
			}
			resp.Put(&h)
			err = p.answer(&h, text)
		case iscsi.OpLogoutRequest:
			(&iscsi.LogoutResponse{ITT: q.ITT()}).Put(&h)
			return p.answer(&h, nil)
		case iscsi.OpSCSICommand:
			err = p.command(q)
		}
		if err != nil {
			return err
		}
	}
}

func (p *peer) command(q PDU) error {
	c, err := iscsi.ParseSCSICommand(&q.BHS)
	if err != nil {
		return err
	}
	off := int(binary.BigEndian.Uint64(c.CDB[2:])) * 512
	var h iscsi.BHS
	var sns iscsi.DataSN
	switch c.CDB[0] {
	case 0x88:
		b := p.disk[off:][:c.ExpectedLen]
		for at := 0; at < len(b); sns++ {
			n := min(len(b)-at, p.params.MaxSend)
			(&iscsi.DataIn{Final: at+n == len(b), ITT: c.ITT, TTT: iscsi.NoTTT, DataSN: sns, ExpCmdSN: p.exp, MaxCmdSN: p.exp + 8, Offset: uint32(at), DataLen: n}).Put(&h)
			if err := p.Send(&h, b[at:at+n]); err != nil {
				return err
			}
			at += n
		}
	case 0x8a:
		b := p.disk[off:][:c.ExpectedLen]
		at := copy(b, q.Data)
		for final := c.Final; !final; {
			if at, final, err = p.dataOut(b, at); err != nil {
				return err
			}
		}
		for ; at < len(b); sns++ {
			n := min(len(b)-at, int(p.params.MaxBurstLength))
			(&iscsi.R2T{ITT: c.ITT, TTT: 9, StatSN: p.stat, ExpCmdSN: p.exp, MaxCmdSN: p.exp + 8, R2TSN: sns, Offset: uint32(at), Desired: uint32(n)}).Put(&h)
			if err := p.Send(&h, nil); err != nil {
				return err
			}
			for final := false; !final; {
				if at, final, err = p.dataOut(b, at); err != nil {
					return err
				}
			}
		}
	default: // a unit attention once, then not supported
		sense := []byte{0x70, 0, 6, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x29, 0, 0, 0, 0, 0}
		if p.stat > 3 {
			sense[2] = 5
		}
		data := iscsi.AppendSense(nil, sense)
		(&iscsi.SCSIResponse{ITT: c.ITT, Status: 2, DataLen: len(data)}).Put(&h)
		return p.answer(&h, data)
	}
	(&iscsi.SCSIResponse{ITT: c.ITT, ExpDataSN: sns}).Put(&h)
	return p.answer(&h, nil)
}

func (p *peer) dataOut(b []byte, at int) (int, bool, error) {
	q, err := p.receive()
	if err != nil {
		return at, false, err
	}
	d, err := iscsi.ParseDataOut(&q.BHS)
	if err != nil {
		return at, false, err
	}
	if int(d.Offset) != at {
		p.t.Errorf("Data-Out at %d, want %d", d.Offset, at)
	}
	return at + copy(b[at:], q.Data), d.Final, nil
}
