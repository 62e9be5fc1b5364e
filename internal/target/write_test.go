package target

import (
	"bytes"
	"fmt"
	"testing"

	"sango/internal/iscsi"
)

// pattern returns n bytes that differ by place.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i>>9*7 + i)
	}
	return b
}

// check reads want back from block lba on.
func (i *initiator) check(lba int, want []byte) {
	i.t.Helper()
	i.command(command{cdb: read10(lba, len(want)/512), read: true, expected: uint32(len(want))})
	if o := i.outcome(); o.status != 0 || !bytes.Equal(o.data, want) {
		i.t.Errorf("what was written does not come back: status %d, %d of %d bytes, equal: %v", o.status, len(o.data), len(want), bytes.Equal(o.data, want))
	}
}

func yes(b bool) string {
	if b {
		return "Yes"
	}
	return "No"
}

// write writes data at lba the way a session with these parameters has to.
func (i *initiator) write(lba int, data []byte, immediate, initialR2T bool, first, segment int) outcome {
	i.t.Helper()
	imm := 0
	if immediate {
		imm = min(len(data), first, segment)
	}
	unsolicited := imm
	if !initialR2T {
		unsolicited = min(len(data), first)
	}
	more := !initialR2T && unsolicited > imm
	itt := i.command(command{cdb: write10(lba, len(data)/512), write: true, expected: uint32(len(data)), data: data[:imm], more: more})
	burst := func(ttt iscsi.TTT, off, end int) {
		for sn := iscsi.DataSN(0); off < end; sn++ {
			n := min(segment, end-off)
			i.data(itt, ttt, sn, off, off+n == end, data[off:off+n])
			off += n
		}
	}
	if more {
		burst(iscsi.NoTTT, imm, unsolicited)
	}
	asked := unsolicited
	for asked < len(data) {
		r := i.r2t()
		if r.ITT != itt || int(r.Offset) != asked || int(r.R2TSN) < 0 {
			i.t.Fatalf("R2T asks for %d at %d of task %#x, want offset %d of %#x", r.Desired, r.Offset, r.ITT, asked, itt)
		}
		burst(r.TTT, int(r.Offset), int(r.Offset+r.Desired))
		asked += int(r.Desired)
	}
	return i.outcome()
}

// Data arrives whichever way the session has agreed on.
func TestWriteEveryWay(t *testing.T) {
	for _, immediate := range []bool{true, false} {
		for _, initialR2T := range []bool{true, false} {
			for _, digests := range []string{iscsi.ValueNone, iscsi.DigestCRC32C} {
				t.Run(fmt.Sprintf("ImmediateData=%s,InitialR2T=%s,digests=%s", yes(immediate), yes(initialR2T), digests), func(t *testing.T) {
					s := start(t)
					i := connect(t, s,
						iscsi.Pair{Key: iscsi.KeyImmediateData, Value: yes(immediate)}, iscsi.Pair{Key: iscsi.KeyInitialR2T, Value: yes(initialR2T)},
						iscsi.Pair{Key: iscsi.KeyHeaderDigest, Value: digests}, iscsi.Pair{Key: iscsi.KeyDataDigest, Value: digests},
						iscsi.Pair{Key: iscsi.KeyFirstBurst, Value: "8192"}, iscsi.Pair{Key: iscsi.KeyMaxBurst, Value: "16384"},
						iscsi.Pair{Key: iscsi.KeyMaxRecvSegment, Value: "5000"})
					i.ready()
					for _, blocks := range []int{1, 8, 16, 17, 33, 256} {
						want := pattern(blocks * 512)
						if o := i.write(blocks, want, immediate, initialR2T, 8192, 4096); o.status != 0 || o.residual != (iscsi.Residual{}) {
							t.Fatalf("a write of %d blocks ended with %+v", blocks, o)
						}
						i.check(blocks, want)
					}
				})
			}
		}
	}
}

// A data segment may be as long as the target has declared, and a burst of
// several megabytes arrives in segments of odd lengths.
func TestWriteLargeSegments(t *testing.T) {
	s := start(t)
	i := connect(t, s, iscsi.Pair{Key: iscsi.KeyMaxBurst, Value: "1048576"}, iscsi.Pair{Key: iscsi.KeyMaxRecvSegment, Value: "262144"})
	i.ready()
	if got := i.agreed(iscsi.KeyMaxRecvSegment); got != "262144" {
		t.Fatalf("the target declares MaxRecvDataSegmentLength=%s", got)
	}
	want := pattern(3<<20 + 512)
	for _, segment := range []int{262144, 100_001, 65_536, 3} {
		data := want
		if segment == 3 {
			data = want[:4096]
		}
		if o := i.write(64, data, false, true, 0, segment); o.status != 0 {
			t.Fatalf("segments of %d: ended with %+v", segment, o)
		}
		i.check(64, data)
	}
}

// Several R2Ts are outstanding at once when that was agreed on, and each is
// answered in its turn.
func TestSeveralR2Ts(t *testing.T) {
	s := start(t)
	i := connect(t, s, iscsi.Pair{Key: iscsi.KeyMaxOutstandingR2T, Value: "4"}, iscsi.Pair{Key: iscsi.KeyMaxBurst, Value: "4096"})
	i.ready()
	want := pattern(6 * 4096)
	itt := i.command(command{cdb: write10(0, 48), write: true, expected: uint32(len(want))})
	var open []iscsi.R2T
	for range 4 {
		open = append(open, i.r2t())
	}
	i.ping() // no fifth
	for n := 0; len(open) > 0; n++ {
		r := open[0]
		open = open[1:]
		if int(r.R2TSN) != n || int(r.Offset) != n*4096 || r.Desired != 4096 {
			t.Fatalf("R2T %d is %+v", n, r)
		}
		i.data(itt, r.TTT, 0, int(r.Offset), true, want[r.Offset:r.Offset+r.Desired])
		if n < 2 {
			open = append(open, i.r2t())
		}
	}
	if o := i.outcome(); o.status != 0 {
		t.Fatalf("ended with %+v", o)
	}
	i.check(0, want)
}

// Residuals tell of commands that move more or less than was expected.
func TestResiduals(t *testing.T) {
	s := start(t)
	i := connect(t, s)
	i.ready()
	for _, c := range []struct {
		name     string
		c        command
		residual iscsi.Residual
		got      int
	}{
		{"read of 2 blocks, 1 expected", command{cdb: read10(0, 2), read: true, expected: 512}, iscsi.Residual{Overflow: true, Count: 512}, 512},
		{"read of 1 block, 3 expected", command{cdb: read10(0, 1), read: true, expected: 1536}, iscsi.Residual{Underflow: true, Count: 1024}, 512},
		{"read of 1 block, nothing expected", command{cdb: read10(0, 1)}, iscsi.Residual{Overflow: true, Count: 512}, 0},
		{"write of 1 block, 2 offered", command{cdb: write10(0, 1), write: true, expected: 1024, data: make([]byte, 1024)}, iscsi.Residual{Underflow: true, Count: 512}, 0},
	} {
		i.command(c.c)
		o := i.outcome()
		if o.status != 0 || o.residual != c.residual || len(o.data) != c.got {
			t.Errorf("%s: status %d, %d bytes, residual %+v, want %d bytes and %+v", c.name, o.status, len(o.data), o.residual, c.got, c.residual)
		}
	}
}

// What a write is not allowed to do ends it with the sense data of RFC 7143
// §11.4.7.2, once the data that was asked for has come, and not earlier.
func TestDataOutViolations(t *testing.T) {
	crc := [3]byte{0xb, 0x47, 5}
	amount := [3]byte{0xb, 0x0c, 0x0d}
	unexpected := [3]byte{0xb, 0x0c, 0x0c}
	block := make([]byte, 4096)
	for _, c := range []struct {
		name string
		want [3]byte
		do   func(i *initiator, itt iscsi.ITT, r iscsi.R2T)
	}{
		{"wrong DataSN", crc, func(i *initiator, itt iscsi.ITT, r iscsi.R2T) {
			i.data(itt, r.TTT, 27, 0, true, append(block, block...))
		}},
		{"DataSN of the past", crc, func(i *initiator, itt iscsi.ITT, r iscsi.R2T) {
			i.data(itt, r.TTT, 0, 0, false, block)
			i.ping()
			i.data(itt, r.TTT, 0, 4096, true, block)
		}},
		{"wrong offset", crc, func(i *initiator, itt iscsi.ITT, r iscsi.R2T) {
			i.data(itt, r.TTT, 0, 4096, false, block)
			i.ping()
			i.data(itt, r.TTT, 1, 0, true, block)
		}},
		{"too much", amount, func(i *initiator, itt iscsi.ITT, r iscsi.R2T) {
			i.data(itt, r.TTT, 0, 0, true, make([]byte, 3*4096))
		}},
		{"too little", amount, func(i *initiator, itt iscsi.ITT, r iscsi.R2T) { i.data(itt, r.TTT, 0, 0, true, block) }},
		{"another LUN", crc, func(i *initiator, itt iscsi.ITT, r iscsi.R2T) {
			p := iscsi.DataOut{Final: true, LUN: [8]byte{0, 3}, ITT: itt, TTT: r.TTT, DataLen: 8192}
			var h iscsi.BHS
			p.Put(&h)
			i.send(&h, make([]byte, 8192))
		}},
		{"unsolicited", unexpected, func(i *initiator, itt iscsi.ITT, r iscsi.R2T) {
			i.data(itt, iscsi.NoTTT, 0, 0, true, block)
			i.ping()
			i.data(itt, r.TTT, 0, 0, true, append(block, block...))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t)
			i := connect(t, s)
			i.ready()
			itt := i.command(command{cdb: write10(0, 16), write: true, expected: 8192})
			c.do(i, itt, i.r2t())
			if o := i.outcome(); o.itt != itt || o.status != 2 || o.key() != c.want {
				t.Errorf("ended with status %d and sense %x, want %x", o.status, o.key(), c.want)
			}
			i.ready()
		})
	}
}

// Unsolicited data that was not agreed on is refused when all of it is there.
func TestUnsolicitedDataNotAgreed(t *testing.T) {
	s := start(t)
	i := connect(t, s, iscsi.Pair{Key: iscsi.KeyImmediateData, Value: "No"})
	i.ready()
	unexpected := [3]byte{0xb, 0x0c, 0x0c}
	i.command(command{cdb: write10(0, 1), write: true, expected: 512, data: make([]byte, 512)})
	if o := i.outcome(); o.key() != unexpected {
		t.Errorf("immediate data: ended with %x", o.sense)
	}
	itt := i.command(command{cdb: write10(0, 2), write: true, expected: 1024, more: true})
	i.ping()
	i.data(itt, iscsi.NoTTT, 0, 0, false, make([]byte, 512))
	i.ping()
	i.data(itt, iscsi.NoTTT, 1, 512, true, make([]byte, 512))
	if o := i.outcome(); o.key() != unexpected || o.itt != itt {
		t.Errorf("unsolicited data: ended with %x", o.sense)
	}
}

// The response to a write that fails at once waits for the data it announced.
func TestResponseWaitsForUnsolicitedData(t *testing.T) {
	s := start(t)
	i := connect(t, s, iscsi.Pair{Key: iscsi.KeyInitialR2T, Value: "No"})
	i.ready()
	itt := i.command(command{cdb: write10(1<<30, 2), write: true, expected: 1024, more: true})
	i.ping()
	i.data(itt, iscsi.NoTTT, 0, 0, true, make([]byte, 1024))
	if o := i.outcome(); o.itt != itt || o.key() != [3]byte{5, 0x21, 0} {
		t.Errorf("ended with %+v", o)
	}
}

// Immediate data is bounded by FirstBurstLength too.
func TestImmediateDataPastFirstBurst(t *testing.T) {
	s := start(t)
	i := connect(t, s, iscsi.Pair{Key: iscsi.KeyFirstBurst, Value: "512"})
	i.ready()
	i.command(command{cdb: write10(0, 2), write: true, expected: 1024, data: pattern(1024)})
	if o := i.outcome(); o.key() != [3]byte{0xb, 0x0c, 0x0c} {
		t.Errorf("ended with status %d and sense %x", o.status, o.key())
	}
	i.check(0, make([]byte, 1024))
	i.write(0, pattern(512), true, true, 512, 512)
	i.check(0, pattern(512))
}

// A data digest that is wrong costs a Reject and, for a write's data, the
// task; a command goes as if it had not come.
func TestDataDigestError(t *testing.T) {
	s := start(t)
	i := connect(t, s, iscsi.Pair{Key: iscsi.KeyDataDigest, Value: iscsi.DigestCRC32C})
	i.ready()
	spoil := func(h *iscsi.BHS, data []byte) {
		b := i.wire(h, data)
		b[len(b)-1] ^= 1
		if _, err := i.nc.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	itt := i.command(command{cdb: write10(0, 1), write: true, expected: 512})
	r := i.r2t()
	var h iscsi.BHS
	d := iscsi.DataOut{Final: true, ITT: itt, TTT: r.TTT, DataLen: 512}
	d.Put(&h)
	spoil(&h, make([]byte, 512))
	if got := i.rejected(); got != iscsi.RejectDataDigest {
		t.Errorf("Data-Out: rejected for %v", got)
	}
	if o := i.outcome(); o.itt != itt || o.key() != [3]byte{0xb, 0x47, 5} {
		t.Errorf("Data-Out: the task ended with %+v", o)
	}

	want := pattern(512)
	c := command{cdb: write10(0, 1), write: true, expected: 512, data: want}
	h = i.commandHeader(c)
	spoil(&h, want)
	if got := i.rejected(); got != iscsi.RejectDataDigest {
		t.Errorf("command: rejected for %v", got)
	}
	i.send(&h, want) // the same again fills the gap
	if o := i.outcome(); o.itt != h.ITT() || o.status != 0 {
		t.Errorf("command: the task ended with %+v", o)
	}
	i.check(0, want)
}

// A header digest that is wrong is the end of the connection.
func TestHeaderDigestError(t *testing.T) {
	s := start(t)
	i := connect(t, s, iscsi.Pair{Key: iscsi.KeyHeaderDigest, Value: iscsi.DigestCRC32C})
	i.ready()
	h := i.commandHeader(command{cdb: make([]byte, 6)})
	b := i.wire(&h, nil)
	b[20] ^= 1
	if _, err := i.nc.Write(b); err != nil {
		t.Fatal(err)
	}
	if got := i.closed(); len(got) != 0 {
		t.Errorf("%d PDUs came", len(got))
	}
}

// A reply that was held back for the rest of a large data segment goes out when
// the initiator stops in the middle of that.
func TestReplyInTheMiddleOfData(t *testing.T) {
	s := start(t)
	i := connect(t, s)
	i.ready()
	want := pattern(64 << 10)
	first := i.commandHeader(command{cdb: read10(0, 1), read: true, expected: 512})
	second := i.commandHeader(command{cdb: write10(64, len(want)/512), write: true, expected: uint32(len(want)), data: want})
	b := append(i.wire(&first, nil), i.wire(&second, want)...)
	half := len(b) / 3
	for _, part := range [][]byte{b[:half], b[half:]} {
		if _, err := i.nc.Write(part); err != nil {
			t.Fatal(err)
		}
		if o := i.outcome(); o.status != 0 {
			t.Fatalf("ended with %+v", o)
		}
	}
	i.check(64, want)
}
