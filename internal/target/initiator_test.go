package target

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"sango/internal/iscsi"
	"sango/internal/san"
)

// initiator is one connection of a test to a server. It does exactly what it
// is told, right or wrong.
type initiator struct {
	t         testing.TB
	nc        net.Conn
	hd, dd    bool // digests
	cmdSN     iscsi.CmdSN
	expStatSN iscsi.StatSN
	itt       iscsi.ITT
	tsih      uint16
	answers   iscsi.Keys // of the login
	max       iscsi.CmdSN
	exp       iscsi.CmdSN
}

// dial connects without logging in.
func dial(t testing.TB, s *setup) *initiator {
	t.Helper()
	nc, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = nc.SetDeadline(time.Now().Add(time.Minute))
	t.Cleanup(func() { nc.Close() })
	return &initiator{t: t, nc: nc, cmdSN: 1, itt: 1}
}

// connect logs in to a normal session; keys are offered besides the names.
func connect(t testing.TB, s *setup, keys ...iscsi.Pair) *initiator {
	t.Helper()
	i := dial(t, s)
	if st := i.login(isid(1), append([]iscsi.Pair{
		{Key: iscsi.KeyInitiatorName, Value: hostName}, {Key: iscsi.KeyTargetName, Value: targetName},
	}, keys...)...); st != iscsi.LoginSuccess {
		t.Fatalf("login: %v", st)
	}
	return i
}

func isid(n byte) san.ISID { return san.ISID{0x80, 0, 0, 0, 0, n} }

// login goes through the operational stage in one step.
func (i *initiator) login(id san.ISID, keys ...iscsi.Pair) iscsi.LoginStatus {
	i.t.Helper()
	text := iscsi.Keys(keys).Append(nil)
	r := iscsi.LoginRequest{
		Transit: true, Current: iscsi.Operational, Next: iscsi.FullFeature, ISID: id, ITT: i.itt, CmdSN: i.cmdSN, DataLen: len(text), TSIH: i.tsih,
	}
	var h iscsi.BHS
	r.Put(&h)
	i.send(&h, text)
	rh, data := i.recv()
	resp, err := iscsi.ParseLoginResponse(&rh)
	if err != nil {
		i.t.Fatal(err)
	}
	if resp.Status != iscsi.LoginSuccess {
		if i.answers, err = iscsi.ParseText(data); err != nil {
			i.t.Fatal(err)
		}
		return resp.Status
	}
	if !resp.Transit || resp.Next != iscsi.FullFeature {
		i.t.Fatalf("login did not reach full feature phase: %+v", resp)
	}
	i.answers, err = iscsi.ParseText(data)
	if err != nil {
		i.t.Fatal(err)
	}
	i.tsih = resp.TSIH
	i.hd = i.agreed(iscsi.KeyHeaderDigest) == iscsi.DigestCRC32C
	i.dd = i.agreed(iscsi.KeyDataDigest) == iscsi.DigestCRC32C
	i.itt++
	return resp.Status
}

func (i *initiator) agreed(key string) string {
	v, _ := i.answers.Get(key)
	return v
}

// send writes one PDU; h announces the length of data.
func (i *initiator) send(h *iscsi.BHS, data []byte) {
	i.t.Helper()
	if _, err := i.nc.Write(i.wire(h, data)); err != nil {
		i.t.Fatalf("send: %v", err)
	}
}

// wire returns one PDU as it is on the wire.
func (i *initiator) wire(h *iscsi.BHS, data []byte) []byte {
	b := append([]byte(nil), h[:]...)
	digest := func(sum uint32) {
		b = append(b, 0, 0, 0, 0)
		iscsi.PutDigest(b[len(b)-4:], sum)
	}
	if i.hd {
		digest(iscsi.Digest(h[:]))
	}
	b = append(b, data...)
	b = append(b, make([]byte, iscsi.Pad(len(data)))...)
	if i.dd && len(data) > 0 {
		digest(iscsi.PadDigest(iscsi.Digest(data), len(data)))
	}
	return b
}

// recv reads one PDU, answers pings on the way, and checks digests and
// numbers.
func (i *initiator) recv() (iscsi.BHS, []byte) {
	i.t.Helper()
	for {
		h, data, err := i.next()
		if err != nil {
			i.t.Fatalf("receive: %v", err)
		}
		if n, err := iscsi.ParseNopIn(&h); err == nil && n.TTT != iscsi.NoTTT {
			p := iscsi.NopOut{Immediate: true, ITT: iscsi.NoITT, TTT: n.TTT, CmdSN: i.cmdSN, ExpStatSN: i.expStatSN}
			p.Put(&h)
			i.send(&h, nil)
			continue
		}
		return h, data
	}
}

var errDigest = errors.New("a digest of the target is wrong")

// next reads one PDU.
func (i *initiator) next() (h iscsi.BHS, data []byte, err error) {
	read := func(n int) []byte {
		b := make([]byte, n)
		if err == nil {
			_, err = io.ReadFull(i.nc, b)
		}
		return b
	}
	h = iscsi.BHS(read(iscsi.BHSLen))
	if i.hd {
		if d := read(4); err == nil && iscsi.GetDigest(d) != iscsi.Digest(h[:]) {
			err = errDigest
		}
	}
	if err != nil {
		return h, nil, err
	}
	n := h.DataLen()
	data = read(n + iscsi.Pad(n))
	if i.dd && n > 0 {
		if d := read(4); err == nil && iscsi.GetDigest(d) != iscsi.Digest(data) {
			err = errDigest
		}
	}
	i.exp, i.max = iscsi.CmdSN(be32(h[28:])), iscsi.CmdSN(be32(h[32:]))
	if numbered(&h) {
		i.expStatSN = iscsi.StatSN(be32(h[24:])) + 1
	}
	return h, data[:n], err
}

// numbered reports whether h consumes a StatSN.
func numbered(h *iscsi.BHS) bool {
	switch h.Opcode() {
	case iscsi.OpR2T:
		return false
	case iscsi.OpNopIn:
		return h.ITT() != iscsi.NoITT
	case iscsi.OpDataIn:
		return h[1]&1 != 0
	}
	return true
}

func be32(b []byte) uint32 {
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

// closed waits for the end of the connection, whatever comes before it, and
// returns the PDUs that came.
func (i *initiator) closed() []iscsi.BHS {
	i.t.Helper()
	var got []iscsi.BHS
	for {
		h, _, err := i.next()
		switch ne := net.Error(nil); {
		case err == nil:
			got = append(got, h)
		case errors.As(err, &ne) && ne.Timeout():
			i.t.Fatal("the connection is still open")
		default:
			return got
		}
	}
}

// command is a SCSI command to send.
type command struct {
	cdb       []byte
	expected  uint32
	read      bool
	write     bool
	data      []byte // immediate data
	more      bool   // unsolicited data follows: no F bit
	immediate bool
	lun       byte
	at        *iscsi.CmdSN // nil: the next CmdSN
	itt       iscsi.ITT    // 0: the next
}

// command sends c and returns its tag.
func (i *initiator) command(c command) iscsi.ITT {
	i.t.Helper()
	h := i.commandHeader(c)
	i.send(&h, c.data)
	return h.ITT()
}

func (i *initiator) commandHeader(c command) iscsi.BHS {
	p := iscsi.SCSICommand{
		Immediate: c.immediate, Final: !c.more, Read: c.read, Write: c.write, Attr: 1, DataLen: len(c.data),
		LUN: [8]byte{0, c.lun}, ITT: c.itt, ExpectedLen: c.expected, CmdSN: i.cmdSN, ExpStatSN: i.expStatSN,
	}
	copy(p.CDB[:], c.cdb)
	if c.itt == 0 {
		p.ITT = i.itt
		i.itt++
	}
	switch {
	case c.at != nil:
		p.CmdSN = *c.at
	case !c.immediate:
		i.cmdSN++
	}
	var h iscsi.BHS
	p.Put(&h)
	return h
}

// data sends a Data-Out PDU.
func (i *initiator) data(itt iscsi.ITT, ttt iscsi.TTT, sn iscsi.DataSN, off int, final bool, data []byte) {
	i.t.Helper()
	p := iscsi.DataOut{Final: final, ITT: itt, TTT: ttt, ExpStatSN: i.expStatSN, DataSN: sn, Offset: uint32(off), DataLen: len(data)}
	var h iscsi.BHS
	p.Put(&h)
	i.send(&h, data)
}

// outcome is how a command ended.
type outcome struct {
	itt      iscsi.ITT
	status   uint8
	sense    []byte
	data     []byte
	residual iscsi.Residual
	pdus     []iscsi.DataIn
}

// key returns sense key and additional sense code of fixed format sense data.
func (o *outcome) key() [3]byte {
	if len(o.sense) < 14 {
		return [3]byte{}
	}
	return [3]byte{o.sense[2] & 0xf, o.sense[12], o.sense[13]}
}

// outcome waits for the end of a command, and for no other PDU but its own.
func (i *initiator) outcome() outcome {
	i.t.Helper()
	var o outcome
	for {
		h, data := i.recv()
		switch h.Opcode() {
		case iscsi.OpDataIn:
			d, err := iscsi.ParseDataIn(&h)
			if err != nil {
				i.t.Fatal(err)
			}
			if int(d.Offset) != len(o.data) || int(d.DataSN) != len(o.pdus) {
				i.t.Fatalf("Data-In out of order: %+v after %d bytes", d, len(o.data))
			}
			o.itt = d.ITT
			o.data = append(o.data, data...)
			o.pdus = append(o.pdus, d)
			if d.HasStatus {
				o.status, o.residual = d.Status, d.Residual
				return o
			}
		case iscsi.OpSCSIResponse:
			r, err := iscsi.ParseSCSIResponse(&h)
			if err != nil {
				i.t.Fatal(err)
			}
			if o.sense, err = iscsi.ParseSense(data); err != nil {
				i.t.Fatal(err)
			}
			o.itt, o.status, o.residual = r.ITT, r.Status, r.Residual
			return o
		default:
			i.t.Fatalf("a %v PDU came where the end of a command was expected: %x", h.Opcode(), h)
		}
	}
}

// r2t waits for an R2T.
func (i *initiator) r2t() iscsi.R2T {
	i.t.Helper()
	h, _ := i.recv()
	r, err := iscsi.ParseR2T(&h)
	if err != nil {
		i.t.Fatalf("%v: %x", err, h)
	}
	return r
}

// rejected waits for a Reject.
func (i *initiator) rejected() iscsi.RejectReason {
	i.t.Helper()
	h, _ := i.recv()
	r, err := iscsi.ParseReject(&h)
	if err != nil {
		i.t.Fatalf("%v: %x", err, h)
	}
	return r.Reason
}

// ready sends TEST UNIT READY until it ends well: it takes the unit attentions
// of a new nexus.
func (i *initiator) ready() {
	i.t.Helper()
	for range 8 {
		i.command(command{cdb: make([]byte, 6)})
		if o := i.outcome(); o.status == 0 {
			return
		}
	}
	i.t.Fatal("the unit does not become ready")
}

// ping sends a NOP-Out with data and waits for the answer: everything sent
// before it has been handled then.
func (i *initiator) ping() {
	i.t.Helper()
	p := iscsi.NopOut{Immediate: true, ITT: i.itt, TTT: iscsi.NoTTT, CmdSN: i.cmdSN, ExpStatSN: i.expStatSN, DataLen: 4}
	i.itt++
	var h iscsi.BHS
	p.Put(&h)
	i.send(&h, []byte("ping"))
	rh, data := i.recv()
	n, err := iscsi.ParseNopIn(&rh)
	if err != nil || n.ITT != p.ITT || string(data) != "ping" {
		i.t.Fatalf("answer to a ping: %v %+v %q", err, n, data)
	}
}

// The CDBs of tests.

func inquiry(alloc int) []byte { return []byte{0x12, 0, 0, byte(alloc >> 8), byte(alloc), 0} }

func read10(lba, blocks int) []byte { return rw10(0x28, lba, blocks) }

func write10(lba, blocks int) []byte { return rw10(0x2a, lba, blocks) }

func rw10(op byte, lba, blocks int) []byte {
	return []byte{op, 0, byte(lba >> 24), byte(lba >> 16), byte(lba >> 8), byte(lba), 0, byte(blocks >> 8), byte(blocks), 0}
}
