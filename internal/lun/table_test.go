package lun

import (
	"encoding/binary"
	"testing"
	"time"

	"sango/internal/san"
	"sango/internal/scsi"
)

// Every command says all there is to say about it.
func TestEveryCommandIsDescribed(t *testing.T) {
	u := testUnit(t, nil, func(v *san.Volume, _ *UnitOptions) { v.Removable = true })
	names := map[string]bool{}
	for _, c := range u.table.list {
		t.Run(c.name, func(t *testing.T) {
			if c.name == "" || names[c.name] {
				t.Error("the name is empty or used twice")
			}
			names[c.name] = true
			if c.run == nil {
				t.Error("no handler")
			}
			if n := c.op.CDBLen(); len(c.usage) != n {
				t.Fatalf("usage data of %d bytes, the CDB has %d", len(c.usage), n)
			}
			if scsi.OpCode(c.usage[0]) != c.op {
				t.Errorf("usage data begins with %02x", c.usage[0])
			}
			if c.op.HasServiceAction() && scsi.ServiceAction(c.usage[1]&0x1f) != c.sa {
				t.Errorf("usage data has service action %02x, not %02x", c.usage[1]&0x1f, c.sa)
			}
			if c.usage[len(c.usage)-1] != 0 {
				t.Error("a bit of CONTROL is used")
			}
			if c.nominal < time.Second || c.recommended < c.nominal {
				t.Errorf("timeouts %v, %v", c.nominal, c.recommended)
			}
			if c.flags&inPlace != 0 && c.flags&fast != 0 {
				t.Error("in place and fast exclude each other")
			}
			if c.flags&changes != 0 && c.access != accessWrite && c.access != accessSpecial {
				t.Error("a command that changes the medium passes a reservation")
			}
		})
	}
}

// Thousands of units are cheap because those of one kind share their table.
func TestUnitsOfOneKindShareTheirTable(t *testing.T) {
	removable := func(v *san.Volume, _ *UnitOptions) { v.Removable = true }
	a, b, c := testUnit(t, nil, nil), testUnit(t, nil, nil), testUnit(t, nil, removable)
	if a.table != b.table {
		t.Error("two units of one kind have a table each")
	}
	if a.table == c.table || c.table.lookup(scsi.OpPreventAllow, 0) == nil || a.table.lookup(scsi.OpPreventAllow, 0) != nil {
		t.Error("a removable unit and another have the same commands")
	}
}

// A bit that the usage data does not have ends every command with a pointer
// to it.
func TestReservedBitsAreRefused(t *testing.T) {
	u := testUnit(t, nil, func(v *san.Volume, _ *UnitOptions) { v.Removable = true })
	for _, c := range u.table.list {
		for i := 1; i < len(c.usage); i++ {
			for bit := range 8 {
				if c.usage[i]>>bit&1 != 0 || i == 1 && bit < 5 && c.op.HasServiceAction() {
					continue
				}
				var cdb [16]byte
				cdb[0] = byte(c.op)
				if c.op.HasServiceAction() {
					cdb[1] = byte(c.sa)
				}
				cdb[i] |= 1 << bit
				cc := c.check(&cdb)
				if cc == nil || cc.Sense.ASC != scsi.ASCInvalidFieldInCDB || int(cc.Sense.Field) != i || int(cc.Sense.Bit) != bit {
					t.Errorf("%s: byte %d bit %d: %+v", c.name, i, bit, cc)
				}
			}
		}
	}
}

func (w *wire) reportOpCodes(options, op byte, sa uint16) *Task {
	return w.run(w.in(8192, 0xa3, 0x0c, options, op, byte(sa>>8), byte(sa), 0, 0, 0x20, 0, 0, 0))
}

func TestReportOpCodesIsTheTable(t *testing.T) {
	u := testUnit(t, nil, nil)
	w := attach(t, oneUnit(u), nexusName(1), "")
	task := w.reportOpCodes(0x80, 0, 0)
	wantGood(t, task)
	d := bytesIn(task)
	if n := int(binary.BigEndian.Uint32(d)); n != len(d)-4 || n%20 != 0 {
		t.Fatalf("length %d of %d bytes", n, len(d))
	}
	told := 0
	for d = d[4:]; len(d) > 0; d = d[20:] {
		op, sa := scsi.OpCode(d[0]), binary.BigEndian.Uint16(d[2:])
		c := u.table.lookup(op, scsi.ServiceAction(sa))
		if c == nil {
			t.Fatalf("%v/%02x is told, but not there", op, sa)
		}
		if d[5] != 2 && d[5] != 3 || d[5]&1 != 0 != op.HasServiceAction() || int(binary.BigEndian.Uint16(d[6:])) != len(c.usage) {
			t.Errorf("%s: descriptor % x", c.name, d[:20])
		}
		if binary.BigEndian.Uint16(d[8:]) != 10 || binary.BigEndian.Uint32(d[16:]) != uint32(c.recommended/time.Second) {
			t.Errorf("%s: timeouts % x", c.name, d[8:20])
		}
		told++

		right, wrong := byte(1), byte(2)
		if op.HasServiceAction() {
			right, wrong = 2, 1
		}
		one := w.reportOpCodes(right, byte(op), sa)
		wantGood(t, one)
		support := scsi.SupportStandard
		if op >= 0xc0 {
			support = scsi.SupportVendor
		}
		if b := bytesIn(one); b[1] != support || string(b[4:]) != c.usage {
			t.Errorf("%s: one command: % x", c.name, b)
		}
		wantSense(t, w.reportOpCodes(wrong, byte(op), sa), scsi.IllegalRequest, scsi.ASCInvalidFieldInCDB)
		wantGood(t, w.reportOpCodes(3, byte(op), sa))
	}
	want := 0
	for _, c := range u.table.list {
		if w.offers(c) {
			want++
		}
	}
	if told != want {
		t.Errorf("%d commands are told, there are %d", told, want)
	}
	for _, op := range []byte{0xff, 0x1e} { // PREVENT ALLOW: the volume is not removable
		none := w.reportOpCodes(1, op, 0)
		wantGood(t, none)
		if b := bytesIn(none); len(b) != 4 || b[1] != 1 {
			t.Errorf("opcode %02x: % x", op, b)
		}
	}
}

func TestReportTMFs(t *testing.T) {
	w := attach(t, oneUnit(testUnit(t, nil, nil)), nexusName(1), "")
	task := w.run(w.in(16, 0xa3, 0x0d, 0x80, 0, 0, 0, 0, 0, 0, 16, 0, 0))
	wantGood(t, task)
	if d := bytesIn(task); len(d) != 16 || d[0] != 0xde || d[1] != 0x03 {
		t.Errorf("got % x", d)
	}
	wantSense(t, w.run(w.in(16, 0xa3, 0x0d, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0)), scsi.IllegalRequest, scsi.ASCInvalidFieldInCDB)
}
