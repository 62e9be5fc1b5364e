package target

import (
	"io"
	"math/rand/v2"
	"testing"

	"sango/internal/iscsi"
	"sango/internal/iscsi/iscsitest"
)

// swallow reads and forgets what the server sends, until the end of the
// connection, which the returned function waits for.
func swallow(c *iscsitest.Conn) (wait func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(io.Discard, c.Conn)
	}()
	return func() { <-done }
}

// randomPDU returns a PDU of any type, with lengths that are true, all else
// random or nearly right. It stays away from LUN 0 and from the functions that
// reset the whole target, whose effect on the good client would be legitimate.
func randomPDU(rnd *rand.Rand, c *iscsitest.Conn) (h iscsi.BHS, ahs, data []byte) {
	for i := range h {
		h[i] = byte(rnd.Uint32())
	}
	ops := []iscsi.Opcode{
		iscsi.OpNopOut, iscsi.OpSCSICommand, iscsi.OpSCSICommand, iscsi.OpSCSICommand, iscsi.OpTaskRequest, iscsi.OpLoginRequest,
		iscsi.OpTextRequest, iscsi.OpDataOut, iscsi.OpDataOut, iscsi.OpSNACK, iscsi.OpNopIn, iscsi.Opcode(rnd.IntN(64)),
	}
	op := ops[rnd.IntN(len(ops))]
	if op == iscsi.OpLogoutRequest && rnd.IntN(8) > 0 {
		op = iscsi.OpSCSICommand
	}
	h[0] = h[0]&0x40 | byte(op)
	h[4], h[5], h[6], h[7] = 0, 0, 0, 0
	if rnd.IntN(8) == 0 {
		h[4] = byte(rnd.IntN(6))
	}
	ahs = make([]byte, h.AHSLen())
	for i := range ahs {
		ahs[i] = byte(rnd.IntN(8))
	}
	if rnd.IntN(2) == 0 {
		n := rnd.IntN(2048)
		h[6], h[7] = byte(n>>8), byte(n)
		data = make([]byte, n)
		for i := range data {
			data[i] = byte(rnd.Uint32())
		}
	}
	copy(h[8:], lun1[:])
	put := func(at int, v uint32) {
		h[at], h[at+1], h[at+2], h[at+3] = byte(v>>24), byte(v>>16), byte(v>>8), byte(v)
	}
	put(16, uint32(rnd.IntN(16))) // task tags that meet again
	if rnd.IntN(2) == 0 {
		put(20, uint32(rnd.IntN(16))) // transfer tags, references, lengths
	}
	if rnd.IntN(4) > 0 {
		put(24, uint32(c.CmdSN)+uint32(rnd.IntN(8)))
		c.CmdSN += iscsi.CmdSN(rnd.IntN(2))
	}
	switch op {
	case iscsi.OpTaskRequest:
		if f := iscsi.TaskFunction(h[1] & 0x7f); f == iscsi.TargetWarmReset || f == iscsi.TargetColdReset {
			h[1] = 0x80 | byte(iscsi.LogicalUnitReset)
		}
	case iscsi.OpSCSICommand:
		cdbs := []byte{0x28, 0x2a, 0x88, 0x8a, 0x12, 0xa0, 0x1a, 0x03, 0x25, 0x42, h[32]}
		h[32] = cdbs[rnd.IntN(len(cdbs))]
		if rnd.IntN(2) == 0 {
			put(20, uint32(rnd.IntN(8192)))
			put(34, uint32(rnd.IntN(64)))
		}
	}
	return h, ahs, data
}

// Whole PDUs of random contents, thousands on each session.
func TestHostileRandomPDUs(t *testing.T) {
	s := besiege(t)
	for round := range 12 {
		keys := []string{"InitialR2T", "No"}
		if round%2 == 0 {
			keys = append(keys, "DataDigest", "CRC32C", "HeaderDigest", "CRC32C")
		}
		c := s.dial()
		if err := c.Login(attacker(keys...)); err != nil {
			t.Fatal(err)
		}
		wait := swallow(c)
		for range 1000 {
			h, ahs, data := randomPDU(s.rnd, c)
			if err := c.SendRaw(c.Encode(&h, ahs, data)); gone(err) {
				break // refused for good: the next round goes on
			} else if err != nil {
				t.Fatal(err)
			}
		}
		closeWrite(t, c)
		wait()
	}
	s.settle(1)
	s.good.progress()
}

// Bytes that are no PDUs, after a login.
func TestHostileRandomBytes(t *testing.T) {
	s := besiege(t)
	for range 64 {
		c := s.dial()
		if err := c.Login(attacker()); err != nil {
			t.Fatal(err)
		}
		wait := swallow(c)
		b := make([]byte, 1+s.rnd.IntN(4096))
		for i := range b {
			b[i] = byte(s.rnd.Uint32())
		}
		b[0] |= 0x20 // an opcode of a target: never a reset, a write or a logout
		if err := c.SendRaw(b); err != nil && !gone(err) {
			t.Fatal(err)
		}
		closeWrite(t, c)
		wait()
	}
	s.settle(1)
	s.good.progress()
}

// A session that was right, with a few bits turned over.
func TestHostileBitFlips(t *testing.T) {
	s := besiege(t)
	c := s.dial()
	var wire []byte
	add := func(h iscsi.BHS, data []byte) { wire = append(wire, c.Encode(&h, nil, data)...) }
	add(header(&iscsi.LoginRequest{Transit: true, Current: iscsi.Operational, Next: iscsi.FullFeature, ISID: isid(9), ITT: 1, CmdSN: 1, DataLen: len(hostileNames)}), []byte(hostileNames))
	for sn := range iscsi.CmdSN(4) {
		k := iscsitest.Write16(lun1, 8192, make([]byte, 1024), 512)
		add(header(&iscsi.SCSICommand{Final: true, Write: true, Attr: 1, LUN: lun1, ITT: 2 + iscsi.ITT(sn), ExpectedLen: 1024, DataLen: 1024, CmdSN: 1 + 2*sn, CDB: k.CDB}), k.Out)
		add(header(&iscsi.SCSICommand{Final: true, Read: true, Attr: 1, LUN: lun1, ITT: 100 + iscsi.ITT(sn), ExpectedLen: 512, CmdSN: 2 + 2*sn, CDB: [16]byte{0x28, 4: 0x20, 8: 1}}), nil)
	}
	c.Close()
	for range 300 {
		c := s.dial()
		wait := swallow(c)
		bad := append([]byte(nil), wire...)
		for range 1 + s.rnd.IntN(4) {
			bad[s.rnd.IntN(len(bad))] ^= 1 << s.rnd.IntN(8)
		}
		for len(bad) > 0 { // in pieces
			n := min(len(bad), 1+s.rnd.IntN(len(wire)))
			if err := c.SendRaw(bad[:n]); gone(err) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			bad = bad[n:]
		}
		closeWrite(t, c)
		wait()
	}
	s.settle(1)
	s.good.progress()
}
