package iscsitest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"sango/internal/iscsi"
)

// Patience is how long a Conn waits for bytes, or for room to send, before it
// gives up: long, because machines that run tests are slow.
const Patience = 60 * time.Second

// ErrDigest is wrapped by the errors of Receive about a wrong digest.
var ErrDigest = errors.New("iscsitest: wrong digest")

// ErrSequence is wrapped by errors about sequence numbers and offsets that
// break RFC 7143 §4.2.2.
var ErrSequence = errors.New("iscsitest: sequence violated")

// PDU is a PDU as it was received.
type PDU struct {
	iscsi.BHS
	AHS  []byte
	Data []byte // without padding
}

// Conn is one iSCSI connection. Its exported fields may be read and changed
// between calls; the next PDU of a helper goes out with them.
type Conn struct {
	net.Conn
	r *bufio.Reader

	// Params is what the login agreed on, seen from here: MaxSend is what the
	// target takes.
	Params iscsi.Params
	TSIH   uint16
	CID    uint16

	CmdSN     iscsi.CmdSN  // of the next command
	ExpStatSN iscsi.StatSN // the next status expected
	MaxCmdSN  iscsi.CmdSN  // the last that the target told
	nextITT   iscsi.ITT
	started   bool // the first StatSN has come

	// HeaderDigest and DataDigest say whether digests are sent and expected;
	// Login sets them.
	HeaderDigest, DataDigest bool
	// KeepPings makes helpers leave the target's pings unanswered.
	KeepPings bool
	// Events collects Asynchronous Messages and Rejects that helpers came
	// across while they waited for something else.
	Events []PDU
}

// Dial connects to addr (ip:port).
func Dial(addr string) (*Conn, error) {
	d := net.Dialer{Timeout: Patience}
	nc, err := d.Dial("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("iscsitest: %w", err)
	}
	return New(nc), nil
}

// New returns a Conn on nc, before login.
func New(nc net.Conn) *Conn {
	return &Conn{Conn: nc, r: bufio.NewReaderSize(nc, 64<<10), Params: iscsi.DefaultParams(), CmdSN: 1}
}

// Reset closes the connection so that the peer gets an RST where the
// transport has that.
func (c *Conn) Reset() {
	if t, ok := c.Conn.(*net.TCPConn); ok {
		_ = t.SetLinger(0) // it fails where the connection is gone already
	}
	_ = c.Close()
}

// ITT returns a task tag that was not used before.
func (c *Conn) ITT() iscsi.ITT {
	c.nextITT++
	return c.nextITT
}

// NextCmdSN returns the CmdSN for a PDU that takes one, and moves on.
func (c *Conn) NextCmdSN() iscsi.CmdSN {
	sn := c.CmdSN
	c.CmdSN++
	return sn
}

// Encode returns the bytes of a PDU, with digests as they are in force. The
// header's lengths are sent as they are, so that they may lie; ahs must be a
// multiple of 4 bytes.
func (c *Conn) Encode(h *iscsi.BHS, ahs, data []byte) []byte {
	b := append(h[:len(h):len(h)], ahs...)
	if c.HeaderDigest {
		b = appendDigest(b, iscsi.Digest(b))
	}
	if len(data) == 0 {
		return b
	}
	b = append(b, data...)
	b = append(b, make([]byte, iscsi.Pad(len(data)))...)
	if c.DataDigest {
		b = appendDigest(b, iscsi.PadDigest(iscsi.Digest(data), len(data)))
	}
	return b
}

func appendDigest(b []byte, crc uint32) []byte {
	var d [iscsi.DigestLen]byte
	iscsi.PutDigest(d[:], crc)
	return append(b, d[:]...)
}

// Send sends a PDU.
func (c *Conn) Send(h *iscsi.BHS, data []byte) error { return c.SendRaw(c.Encode(h, nil, data)) }

// SendRaw sends bytes as they are.
func (c *Conn) SendRaw(b []byte) error {
	if err := c.SetWriteDeadline(time.Now().Add(Patience)); err != nil {
		return fmt.Errorf("iscsitest: %w", err)
	}
	if _, err := c.Write(b); err != nil {
		return fmt.Errorf("iscsitest: %w", err)
	}
	return nil
}

// Receive returns the next PDU. Where it carries a StatSN that is checked and
// taken note of, and so is the command window. At the end of the stream the
// error wraps io.EOF.
func (c *Conn) Receive() (PDU, error) {
	var p PDU
	if err := c.SetReadDeadline(time.Now().Add(Patience)); err != nil {
		return p, fmt.Errorf("iscsitest: %w", err)
	}
	if _, err := io.ReadFull(c.r, p.BHS[:]); err != nil {
		return p, fmt.Errorf("iscsitest: header: %w", err)
	}
	p.AHS = make([]byte, p.AHSLen())
	if _, err := io.ReadFull(c.r, p.AHS); err != nil {
		return p, fmt.Errorf("iscsitest: AHS: %w", err)
	}
	if c.HeaderDigest {
		if err := c.digest(iscsi.UpdateDigest(iscsi.Digest(p.BHS[:]), p.AHS)); err != nil {
			return p, fmt.Errorf("header of %v: %w", p.Opcode(), err)
		}
	}
	if n := p.DataLen(); n > 0 {
		b := make([]byte, n+iscsi.Pad(n))
		if _, err := io.ReadFull(c.r, b); err != nil {
			return p, fmt.Errorf("iscsitest: data of %v: %w", p.Opcode(), err)
		}
		p.Data = b[:n]
		if c.DataDigest {
			if err := c.digest(iscsi.Digest(b)); err != nil {
				return p, fmt.Errorf("data of %v: %w", p.Opcode(), err)
			}
		}
		if n > c.Params.MaxRecv {
			return p, fmt.Errorf("%v with %d bytes, at most %d were declared: %w", p.Opcode(), n, c.Params.MaxRecv, ErrSequence)
		}
	}
	return p, c.note(&p)
}

func (c *Conn) digest(want uint32) error {
	var d [iscsi.DigestLen]byte
	if _, err := io.ReadFull(c.r, d[:]); err != nil {
		return fmt.Errorf("iscsitest: digest: %w", err)
	}
	if got := iscsi.GetDigest(d[:]); got != want {
		return fmt.Errorf("%08x, computed %08x: %w", got, want, ErrDigest)
	}
	return nil
}

// note checks and keeps the sequence numbers of a target's PDU.
func (c *Conn) note(p *PDU) error {
	stat := iscsi.StatSN(be32(p.BHS[24:]))
	exp, top := iscsi.CmdSN(be32(p.BHS[28:])), iscsi.CmdSN(be32(p.BHS[32:]))
	takes := true // whether the PDU uses its StatSN up
	switch p.Opcode() {
	case iscsi.OpDataIn:
		if p.BHS[1]&1 == 0 {
			stat, takes = c.ExpStatSN, false // it has none
		}
	case iscsi.OpR2T:
		takes = false
	case iscsi.OpNopIn:
		takes = p.ITT() != iscsi.NoITT
	case iscsi.OpLoginResponse:
		if p.BHS[36] != 0 {
			return nil // a refusal leaves the numbers open
		}
	}
	if c.started && stat != c.ExpStatSN {
		return fmt.Errorf("%v with StatSN %d, want %d: %w", p.Opcode(), stat, c.ExpStatSN, ErrSequence)
	}
	c.started = true
	c.ExpStatSN = stat
	if takes {
		c.ExpStatSN++
	}
	if top.Before(exp - 1) {
		return fmt.Errorf("%v with ExpCmdSN %d and MaxCmdSN %d: %w", p.Opcode(), exp, top, ErrSequence)
	}
	if c.MaxCmdSN.Before(top) || p.Opcode() == iscsi.OpLoginResponse {
		c.MaxCmdSN = top
	}
	return nil
}

func be32(b []byte) uint32 {
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}
