package target

import (
	"bytes"
	"testing"

	"sango/internal/iscsi"
	"sango/internal/iscsi/iscsitest"
)

// A command outside of the window, before or behind, is as if it had never
// come; the next right one is executed.
func TestHostileCmdSN(t *testing.T) {
	s := besiege(t)
	c := s.login()
	right := c.CmdSN
	for _, off := range []iscsi.CmdSN{^iscsi.CmdSN(0), 1 << 30, 1 << 31, 1<<31 + 1, ^iscsi.CmdSN(99), c.MaxCmdSN - right + 1} {
		c.CmdSN = right + off
		if _, err := c.SendCommand(iscsitest.Write16(lun1, 0, bytes.Repeat([]byte{0xee}, 512), 512)); err != nil {
			t.Fatal(err)
		}
		c.CmdSN = right
		usable(t, c) // an answer to the other command would be an error here
		right = c.CmdSN
	}
	got, err := c.Read(lun1, 0, 1, 512)
	if err != nil || !bytes.Equal(got, make([]byte, 512)) {
		t.Errorf("a command outside of the window was executed: %v", err)
	}
	if err := c.Logout(); err != nil {
		t.Error(err)
	}
	s.settle(1)
	s.good.progress()
}

// Every CmdSN of the window is sent, twice and backwards, but for the first;
// then that comes, and each is executed once.
func TestHostileBackwardsWindow(t *testing.T) {
	s := besiege(t)
	c := s.login()
	first, last := c.CmdSN, c.MaxCmdSN
	ping := func(sn iscsi.CmdSN, itt iscsi.ITT) {
		h := header(&iscsi.NopOut{ITT: itt, TTT: iscsi.NoTTT, CmdSN: sn, ExpStatSN: c.ExpStatSN})
		if err := c.Send(&h, nil); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		for sn := last; sn != first; sn-- {
			ping(sn, iscsi.ITT(sn)|0x1000_0000)
		}
	}
	ping(first, iscsi.ITT(first)|0x1000_0000)
	for sn := first; sn != last+1; {
		p, err := c.Receive()
		if err != nil {
			t.Fatal(err)
		}
		if p.ITT() == iscsi.NoITT {
			continue
		}
		if p.Opcode() != iscsi.OpNopIn || p.ITT() != iscsi.ITT(sn)|0x1000_0000 {
			t.Fatalf("%v for tag %#x, want that of CmdSN %d", p.Opcode(), uint32(p.ITT()), sn)
		}
		sn++
	}
	c.CmdSN = last + 1
	usable(t, c)
	if err := c.Logout(); err != nil {
		t.Error(err)
	}
	s.settle(1)
	s.good.progress()
}

// begin sends a write that gets an R2T, and returns that.
func begin(t *testing.T, c *iscsitest.Conn, k iscsitest.Command) (iscsi.ITT, iscsi.R2T) {
	t.Helper()
	itt, err := c.SendCommand(k)
	if err != nil {
		t.Fatal(err)
	}
	for {
		p, err := c.Receive()
		if err != nil {
			t.Fatal(err)
		}
		if p.ITT() == iscsi.NoITT {
			continue
		}
		r, err := iscsi.ParseR2T(&p.BHS)
		if err != nil {
			t.Fatal(err)
		}
		return itt, r
	}
}

// Data-Out PDUs that break the sequence end their command with an error and
// are not written; the session stays.
func TestHostileDataOut(t *testing.T) {
	s := besiege(t)
	c := s.login("InitialR2T", "Yes", "ImmediateData", "No")
	k := iscsitest.Write16(lun1, 0, bytes.Repeat([]byte{0xee}, 4096), 512)
	type change = func(d *iscsi.DataOut)
	for name, a := range map[string]struct {
		pdus []change // applied to whole, final answers to the R2T
		want [3]byte
	}{
		"DataSN too high":     {[]change{func(d *iscsi.DataOut) { d.DataSN = 1 }}, [3]byte{0xb, 0x47, 5}},
		"DataSN far off":      {[]change{func(d *iscsi.DataOut) { d.DataSN = 0x80000000 }}, [3]byte{0xb, 0x47, 5}},
		"offset too high":     {[]change{func(d *iscsi.DataOut) { d.Offset, d.DataLen = 512, 4096-512 }}, [3]byte{0xb, 0x47, 5}},
		"offset past the end": {[]change{func(d *iscsi.DataOut) { d.Offset = 1 << 30 }}, [3]byte{0xb, 0x47, 5}},
		"too little":          {[]change{func(d *iscsi.DataOut) { d.DataLen = 512 }}, [3]byte{0xb, 0x0c, 0x0d}},
		"nothing":             {[]change{func(d *iscsi.DataOut) { d.DataLen = 0 }}, [3]byte{0xb, 0x0c, 0x0d}},
		"too much":            {[]change{func(d *iscsi.DataOut) { d.DataLen = 4608 }}, [3]byte{0xb, 0x0c, 0x0d}},
		"the same twice": {[]change{
			func(d *iscsi.DataOut) { d.Final, d.DataLen = false, 512 },
			func(d *iscsi.DataOut) { d.DataLen, d.DataSN = 512, 1 },
		}, [3]byte{0xb, 0x47, 5}},
		"DataSN twice": {[]change{
			func(d *iscsi.DataOut) { d.Final, d.DataLen = false, 512 },
			func(d *iscsi.DataOut) { d.DataLen, d.Offset = 4096-512, 512 },
		}, [3]byte{0xb, 0x47, 5}},
	} {
		t.Run(name, func(t *testing.T) {
			itt, r := begin(t, c, k)
			for _, f := range a.pdus {
				d := iscsi.DataOut{Final: true, LUN: lun1, ITT: itt, TTT: r.TTT, ExpStatSN: c.ExpStatSN, DataLen: 4096}
				f(&d)
				h := header(&d)
				if err := c.Send(&h, make([]byte, d.DataLen)); err != nil {
					t.Fatal(err)
				}
			}
			res, err := finishIgnoringR2T(c, itt)
			if err != nil {
				t.Fatal(err)
			}
			if res.Status != 2 || len(res.Sense) < 14 || [3]byte{res.Sense[2] & 0xf, res.Sense[12], res.Sense[13]} != a.want {
				t.Errorf("status %02xh, sense %x, want %x", res.Status, res.Sense, a.want)
			}
			if got, err := c.Read(lun1, 0, 8, 512); err != nil || !bytes.Equal(got, make([]byte, 4096)) {
				t.Fatalf("the data was written: %v", err)
			}
			usable(t, c)
		})
	}
	if err := c.Logout(); err != nil {
		t.Error(err)
	}
	s.settle(1)
	s.good.progress()
}

// finishIgnoringR2T waits for the SCSI Response of itt.
func finishIgnoringR2T(c *iscsitest.Conn, itt iscsi.ITT) (iscsitest.Result, error) {
	for {
		p, err := c.Receive()
		if err != nil {
			return iscsitest.Result{}, err
		}
		if p.Opcode() != iscsi.OpSCSIResponse || p.ITT() != itt {
			continue
		}
		r, err := iscsi.ParseSCSIResponse(&p.BHS)
		if err != nil {
			return iscsitest.Result{}, err
		}
		sense, err := iscsi.ParseSense(p.Data)
		return iscsitest.Result{Status: r.Status, Sense: sense}, err
	}
}

// Data for a task that has none coming is thrown away; data with a transfer
// tag that was never handed out is rejected. The write it was aimed at is
// untouched.
func TestHostileStrayData(t *testing.T) {
	s := besiege(t)
	c := s.login("InitialR2T", "Yes", "ImmediateData", "No")
	data := bytes.Repeat([]byte{0x33}, 4096)
	k := iscsitest.Write16(lun1, 0, data, 512)
	itt, r := begin(t, c, k)
	for _, d := range []iscsi.DataOut{
		{Final: true, LUN: lun1, ITT: itt + 100, TTT: iscsi.NoTTT, DataLen: 512},
		{Final: true, LUN: lun1, ITT: itt + 100, TTT: r.TTT, DataLen: 512},
	} {
		h := header(&d)
		if err := c.Send(&h, make([]byte, d.DataLen)); err != nil {
			t.Fatal(err)
		}
	}
	h := header(&iscsi.DataOut{Final: true, LUN: lun1, ITT: itt, TTT: r.TTT + 1000, DataLen: 512})
	if err := c.Send(&h, make([]byte, 512)); err != nil {
		t.Fatal(err)
	}
	if err := wantAnswer(c, badPDU{h: h, reject: iscsi.RejectInvalidField}); err != nil {
		t.Fatal(err)
	}
	// The same task tag for another command while the first is under way.
	twin := header(&iscsi.SCSICommand{Final: true, Read: true, LUN: lun1, ITT: itt, ExpectedLen: 512, CmdSN: c.CmdSN, CDB: [16]byte{0x28, 8: 1}})
	if err := c.Send(&twin, nil); err != nil {
		t.Fatal(err)
	}
	if err := wantAnswer(c, badPDU{h: twin, reject: iscsi.RejectTaskInProgress}); err != nil {
		t.Fatal(err)
	}
	if err := c.SendData(k, itt, r.TTT, 0, 4096); err != nil {
		t.Fatal(err)
	}
	if res, err := finishIgnoringR2T(c, itt); err != nil || res.Good() != nil {
		t.Fatalf("%v, %v", res.Good(), err)
	}
	if got, err := c.Read(lun1, 0, 8, 512); err != nil || !bytes.Equal(got, data) {
		t.Fatalf("the write under attack was damaged: %v", err)
	}
	usable(t, c)
	if err := c.Logout(); err != nil {
		t.Error(err)
	}
	s.settle(1)
	s.good.progress()
}

// Unsolicited data that was not agreed on is refused, and not written.
func TestHostileUnsolicitedData(t *testing.T) {
	s := besiege(t)
	c := s.login("InitialR2T", "Yes", "ImmediateData", "No", "FirstBurstLength", "512")
	k := iscsitest.Write16(lun1, 0, bytes.Repeat([]byte{0xee}, 4096), 512)
	for name, p := range map[string]struct{ immediate, more int }{
		"immediate data":       {4096, 0},
		"unsolicited data":     {0, 4096},
		"both":                 {512, 4096 - 512},
		"no data that comes":   {0, 0},
		"past the first burst": {1024, 1024},
	} {
		t.Run(name, func(t *testing.T) {
			itt := c.ITT()
			cmd := iscsi.SCSICommand{Final: p.more == 0 && p.immediate > 0, Write: true, Attr: 1, LUN: lun1, ITT: itt, ExpectedLen: 4096, DataLen: p.immediate, CmdSN: c.NextCmdSN(), ExpStatSN: c.ExpStatSN, CDB: k.CDB}
			h := header(&cmd)
			if err := c.Send(&h, k.Out[:p.immediate]); err != nil {
				t.Fatal(err)
			}
			if !cmd.Final {
				h = header(&iscsi.DataOut{Final: true, LUN: lun1, ITT: itt, TTT: iscsi.NoTTT, Offset: uint32(p.immediate), DataLen: p.more})
				if err := c.Send(&h, k.Out[:p.more]); err != nil {
					t.Fatal(err)
				}
			}
			res, err := finishIgnoringR2T(c, itt)
			if err != nil || res.Status != 2 || len(res.Sense) < 14 || res.Sense[2] != 0xb || res.Sense[12] != 0x0c {
				t.Fatalf("status %02xh, sense %x, %v", res.Status, res.Sense, err)
			}
			if got, err := c.Read(lun1, 0, 8, 512); err != nil || !bytes.Equal(got, make([]byte, 4096)) {
				t.Fatalf("the data was written: %v", err)
			}
		})
	}
	usable(t, c)
	if err := c.Logout(); err != nil {
		t.Error(err)
	}
	s.settle(1)
	s.good.progress()
}

// A rejected command leaves its CmdSN unused: the next one takes it.
func TestHostileCommandIsRejectedBeforeItCounts(t *testing.T) {
	s := besiege(t)
	c := s.login()
	h := header(&iscsi.SCSICommand{Final: true, Attr: 7, LUN: lun1, ITT: c.ITT(), CmdSN: c.CmdSN})
	if err := c.Send(&h, nil); err != nil {
		t.Fatal(err)
	}
	if err := wantAnswer(c, badPDU{h: h, reject: iscsi.RejectInvalidField}); err != nil {
		t.Fatal(err)
	}
	usable(t, c)
	if err := c.Logout(); err != nil {
		t.Error(err)
	}
	s.settle(1)
	s.good.progress()
}
