package target

import (
	"io"
	"testing"

	"sango/internal/iscsi"
	"sango/internal/iscsi/iscsitest"
)

// fuzzSeeds are sessions, from after the login on, that use what there is.
func fuzzSeeds() [][]byte {
	c := iscsitest.New(nil)
	write := iscsitest.Write16(iscsitest.LUN0, 8, make([]byte, 1024), 512)
	cmd := func(sn iscsi.CmdSN, change func(*iscsi.SCSICommand)) []byte {
		p := iscsi.SCSICommand{Final: true, Write: true, Attr: 1, ITT: iscsi.ITT(sn), ExpectedLen: 1024, CmdSN: sn, CDB: write.CDB}
		change(&p)
		h := header(&p)
		return c.Encode(&h, nil, make([]byte, p.DataLen))
	}
	data := func(d iscsi.DataOut) []byte {
		h := header(&d)
		return c.Encode(&h, nil, make([]byte, d.DataLen))
	}
	plain := func(p interface{ Put(*iscsi.BHS) }, n int) []byte {
		h := header(p)
		return c.Encode(&h, nil, make([]byte, n))
	}
	join := func(parts ...[]byte) (all []byte) {
		for _, p := range parts {
			all = append(all, p...)
		}
		return all
	}
	same := func(*iscsi.SCSICommand) {}
	return [][]byte{
		join(cmd(1, func(p *iscsi.SCSICommand) { p.DataLen = 1024 }), cmd(2, func(p *iscsi.SCSICommand) { p.Write, p.Read, p.CDB[0] = false, true, 0x88 })),
		join(cmd(1, func(p *iscsi.SCSICommand) { p.Final, p.DataLen = false, 512 }), data(iscsi.DataOut{Final: true, ITT: 1, TTT: iscsi.NoTTT, Offset: 512, DataLen: 512})),
		join(cmd(1, same), data(iscsi.DataOut{Final: true, ITT: 1, TTT: 1, DataLen: 1024})), // the first transfer tag is 1
		join(cmd(1, same), plain(&iscsi.TaskRequest{Immediate: true, Function: iscsi.AbortTask, ITT: 2, RefTag: 1, CmdSN: 2, RefCmdSN: 1}, 0), data(iscsi.DataOut{Final: true, ITT: 1, TTT: 1, DataLen: 1024})),
		join(cmd(3, same), cmd(2, same), plain(&iscsi.TaskRequest{Function: iscsi.TargetWarmReset, ITT: 9, CmdSN: 4}, 0), plain(&iscsi.NopOut{ITT: 8, TTT: iscsi.NoTTT, CmdSN: 1}, 0)),
		join(plain(&iscsi.NopOut{Immediate: true, ITT: 5, TTT: iscsi.NoTTT, DataLen: 13}, 13), plain(&iscsi.TextRequest{Continue: true, ITT: 6, TTT: iscsi.NoTTT, CmdSN: 1, DataLen: 13}, 13), plain(&iscsi.SNACK{ITT: 7}, 0)),
		join(cmd(1, func(p *iscsi.SCSICommand) { p.DataLen = 1024 }), plain(&iscsi.LogoutRequest{ITT: 3, CmdSN: 2}, 0)),
	}
}

// FuzzSession sends whatever to a live server after a login. Nothing may
// panic, and the connection has to end when the stream does.
func FuzzSession(f *testing.F) {
	for _, b := range fuzzSeeds() {
		f.Add(b, false)
		f.Add(b, true)
	}
	s := start(f)
	f.Fuzz(func(t *testing.T, b []byte, initialR2T bool) {
		c, err := iscsitest.Dial(s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.CmdSN = 1
		if err := c.Login(attacker("InitialR2T", yes(initialR2T))); err != nil {
			t.Fatal(err)
		}
		if err := c.SendRaw(b); err != nil && !gone(err) {
			t.Fatal(err)
		}
		closeWrite(t, c)
		if _, err := io.Copy(io.Discard, c.Conn); err != nil && !gone(err) {
			t.Fatal(err)
		}
	})
}
