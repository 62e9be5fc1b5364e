package iscsitest

import (
	"encoding/binary"
	"fmt"

	"sango/internal/iscsi"
)

// Command is a SCSI command to run. At most one of In and Out is used.
type Command struct {
	LUN  [8]byte
	CDB  [16]byte
	Attr iscsi.Attr
	In   int    // bytes of data-in expected
	Out  []byte // data-out
	// Immediate marks the command for immediate delivery.
	Immediate bool
}

// Result is the outcome of a Command.
type Result struct {
	Response iscsi.Response
	Status   uint8
	Sense    []byte
	Data     []byte // data-in that came
	Residual iscsi.Residual
	R2Ts     int // how many the target sent
}

// LUN0 is the LUN field of unit 0.
var LUN0 [8]byte

// SendCommand sends the command's PDU with the immediate data and the
// unsolicited data that the parameters call for, and returns its tag.
func (c *Conn) SendCommand(k Command) (iscsi.ITT, error) {
	itt := c.ITT()
	cmd := iscsi.SCSICommand{
		Immediate: k.Immediate, Final: true, Attr: k.Attr, LUN: k.LUN, ITT: itt,
		CmdSN: c.CmdSN, ExpStatSN: c.ExpStatSN, CDB: k.CDB,
	}
	if !k.Immediate {
		c.CmdSN++
	}
	first := min(len(k.Out), int(c.Params.FirstBurstLength))
	switch {
	case len(k.Out) > 0:
		cmd.Write, cmd.ExpectedLen = true, uint32(len(k.Out))
		if c.Params.ImmediateData {
			cmd.DataLen = min(first, c.Params.MaxSend)
		}
		cmd.Final = c.Params.InitialR2T || cmd.DataLen == first
	case k.In > 0:
		cmd.Read, cmd.ExpectedLen = true, uint32(k.In)
	}
	var h iscsi.BHS
	cmd.Put(&h)
	if err := c.Send(&h, k.Out[:cmd.DataLen]); err != nil || cmd.Final {
		return itt, err
	}
	return itt, c.SendData(k, itt, iscsi.NoTTT, cmd.DataLen, first-cmd.DataLen)
}

// SendData sends n bytes of the command's data from off on as one burst of
// Data-Out PDUs.
func (c *Conn) SendData(k Command, itt iscsi.ITT, ttt iscsi.TTT, off, n int) error {
	for sn := iscsi.DataSN(0); ; sn++ {
		part := min(n, c.Params.MaxSend)
		d := iscsi.DataOut{
			Final: part == n, LUN: k.LUN, ITT: itt, TTT: ttt, ExpStatSN: c.ExpStatSN,
			DataSN: sn, Offset: uint32(off), DataLen: part,
		}
		var h iscsi.BHS
		d.Put(&h)
		if err := c.Send(&h, k.Out[off:off+part]); err != nil {
			return err
		}
		off, n = off+part, n-part
		if n == 0 {
			return nil
		}
	}
}

// Do runs a command to its end and checks the sequence of everything that
// belongs to it.
func (c *Conn) Do(k Command) (Result, error) {
	itt, err := c.SendCommand(k)
	if err != nil {
		return Result{}, err
	}
	return c.Finish(k, itt)
}

// Finish waits for the end of a command that SendCommand sent, and gives the
// target the data it asks for.
func (c *Conn) Finish(k Command, itt iscsi.ITT) (Result, error) {
	r := Result{Data: make([]byte, 0, k.In)}
	var dataSN, r2tSN iscsi.DataSN
	for {
		p, err := c.next(itt)
		if err != nil {
			return r, err
		}
		switch p.Opcode() {
		case iscsi.OpDataIn:
			d, err := iscsi.ParseDataIn(&p.BHS)
			if err != nil {
				return r, err
			}
			if d.DataSN != dataSN || int(d.Offset) != len(r.Data) || len(r.Data)+d.DataLen > k.In {
				return r, fmt.Errorf("Data-In %d of %d bytes at %d after %d PDUs with %d bytes, of %d: %w", d.DataSN, d.DataLen, d.Offset, dataSN, len(r.Data), k.In, ErrSequence)
			}
			dataSN++
			r.Data = append(r.Data, p.Data...)
			if d.HasStatus {
				r.Status, r.Residual = d.Status, d.Residual
				return r, nil
			}
		case iscsi.OpR2T:
			q, err := iscsi.ParseR2T(&p.BHS)
			if err != nil {
				return r, err
			}
			if q.R2TSN != r2tSN || q.Desired > c.Params.MaxBurstLength || int(q.Offset)+int(q.Desired) > len(k.Out) {
				return r, fmt.Errorf("R2T %d for %d bytes at %d, want R2TSN %d and at most %d of %d bytes: %w", q.R2TSN, q.Desired, q.Offset, r2tSN, c.Params.MaxBurstLength, len(k.Out), ErrSequence)
			}
			r2tSN++
			r.R2Ts++
			if err := c.SendData(k, itt, q.TTT, int(q.Offset), int(q.Desired)); err != nil {
				return r, err
			}
		case iscsi.OpSCSIResponse:
			s, err := iscsi.ParseSCSIResponse(&p.BHS)
			if err != nil {
				return r, err
			}
			if s.Response == iscsi.CommandCompleted && s.ExpDataSN != dataSN+r2tSN {
				return r, fmt.Errorf("ExpDataSN %d after %d Data-In and R2T PDUs: %w", s.ExpDataSN, dataSN+r2tSN, ErrSequence)
			}
			r.Response, r.Status, r.Residual = s.Response, s.Status, s.Residual
			r.Sense, err = iscsi.ParseSense(p.Data)
			return r, err
		default:
			return r, fmt.Errorf("a %v for a SCSI command: %w", p.Opcode(), ErrSequence)
		}
	}
}

// next returns the next PDU for itt. Pings are answered, and what belongs to
// nothing is kept in Events; a PDU of another task is an error.
func (c *Conn) next(itt iscsi.ITT) (PDU, error) {
	for {
		p, err := c.Receive()
		if err != nil {
			return p, err
		}
		switch {
		case p.Opcode() == iscsi.OpNopIn && p.ITT() == iscsi.NoITT:
			if err := c.Pong(&p); err != nil {
				return p, err
			}
		case p.Opcode() == iscsi.OpAsync, p.Opcode() == iscsi.OpReject:
			c.Events = append(c.Events, p)
		case p.ITT() == itt:
			return p, nil
		default:
			return p, fmt.Errorf("a %v for tag %#x while %#x is waited for: %w", p.Opcode(), uint32(p.ITT()), uint32(itt), ErrSequence)
		}
	}
}

// Pong answers a ping of the target. A NOP-In that asks for no answer gets
// none.
func (c *Conn) Pong(p *PDU) error {
	n, err := iscsi.ParseNopIn(&p.BHS)
	if err != nil || n.TTT == iscsi.NoTTT || c.KeepPings {
		return err
	}
	var h iscsi.BHS
	(&iscsi.NopOut{Immediate: true, LUN: n.LUN, ITT: iscsi.NoITT, TTT: n.TTT, CmdSN: c.CmdSN, ExpStatSN: c.ExpStatSN}).Put(&h)
	return c.Send(&h, nil)
}

// Good turns a Result that is not GOOD into an error.
func (r Result) Good() error {
	if r.Response != iscsi.CommandCompleted || r.Status != 0 {
		return fmt.Errorf("iscsitest: response %d, status %02xh, sense %x", r.Response, r.Status, r.Sense)
	}
	return nil
}

// Read reads n blocks of size bytes with READ(16).
func (c *Conn) Read(lun [8]byte, lba uint64, n uint32, size int) ([]byte, error) {
	k := Command{LUN: lun, In: int(n) * size, Attr: 1}
	k.CDB[0] = 0x88
	binary.BigEndian.PutUint64(k.CDB[2:], lba)
	binary.BigEndian.PutUint32(k.CDB[10:], n)
	r, err := c.Do(k)
	if err == nil {
		err = r.Good()
	}
	return r.Data, err
}

// WriteBlocks writes b, whole blocks of size bytes, with WRITE(16).
func (c *Conn) WriteBlocks(lun [8]byte, lba uint64, b []byte, size int) error {
	r, err := c.Do(Write16(lun, lba, b, size))
	if err == nil {
		err = r.Good()
	}
	return err
}

// Write16 returns the WRITE(16) command of b, whole blocks of size bytes.
func Write16(lun [8]byte, lba uint64, b []byte, size int) Command {
	k := Command{LUN: lun, Out: b, Attr: 1}
	k.CDB[0] = 0x8a
	binary.BigEndian.PutUint64(k.CDB[2:], lba)
	binary.BigEndian.PutUint32(k.CDB[10:], uint32(len(b)/size))
	return k
}
