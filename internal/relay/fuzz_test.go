package relay

import (
	"io"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"sango/internal/block/mem"
	"sango/internal/lun"
	"sango/internal/lun/luntest"
	"sango/internal/relay/wire"
	"sango/internal/san"
	"sango/internal/scsi"
)

// FuzzOwner is a front that says anything after a proper beginning: whatever it
// is, the owner lets go of everything when it is gone.
func FuzzOwner(f *testing.F) {
	r := &raw{stamp: 1}
	c := r.command(1, 0, 1)
	with := wire.Command{Handle: 1, Tag: 1, Seq: 2, Token: 1, CDB: [16]byte{0x2a}, Expected: 8, Out: 8, Flags: wire.FlagWrite}
	b := make([]byte, wire.HeaderLen+wire.CommandLen, 200)
	with.Put(b, 4)
	c = append(append(c, b...), 1, 2, 3, 4)
	d := make([]byte, wire.HeaderLen+wire.DataLen, 100)
	wire.Data{Tag: 1}.Put(d, wire.TypeDataOut, 4)
	f.Add(append(append(c, d...), 5, 6, 7, 8))
	m := wire.Manage{ID: 1, Handle: 1, Function: 5, Upto: 1}
	f.Add((&wire.NexusClose{Handle: 1}).Append((&wire.Cancel{Tag: 1}).Append(m.Append(c))))
	list := scsi.FenceList{Group: 1, Run: 2}
	fence := fenceFrame{wire.Fence{ID: 1, Action: uint8(scsi.SAFenceEarlierRuns), Initiator: "iqn.x"}, list.Append(nil)}
	f.Add((&wire.Synced{}).Append((&wire.Told{ID: 1}).Append(fence.Append(nil))))
	f.Fuzz(func(t *testing.T, b []byte) {
		synctest.Test(t, func(t *testing.T) {
			g := alone(t, nil)
			n := 0
			g.unit.set(func(r *fakeRemote, k *lun.Task) {
				if n++; n%3 != 0 {
					r.done(k, scsi.Good)
				}
			})
			f := dialRaw(t, g, memberA, 0)
			f.open(1, testNexus(1, 1))
			f.expectOpened(1)
			in := g.inbound(memberA, 0)
			f.write(b)
			synctest.Wait()
			_ = f.conn.Close()
			synctest.Wait()
			if len(g.unit.all()) > 0 || g.inbound(memberA, 0) != nil || in.out != 0 && in.conn.err == nil {
				t.Error("something is left")
			}
		})
	})
}

// FuzzFront is an owner that says anything: what was forwarded comes back.
func FuzzFront(f *testing.F) {
	r := wire.Response{Tag: 0, In: 4, Want: 4}
	b := make([]byte, r.Len(), 100)
	r.Put(b, 4)
	f.Add(append(b, 1, 2, 3, 4))
	tell := wire.Tell{ID: 1, ASC: 0x2a03}
	f.Add(tell.Append((&wire.Managed{ID: 1}).Append((&wire.Beat{Stamp: 9}).Append(nil))))
	f.Add((&wire.NexusClosed{}).Append((&wire.Fenced{ID: 1}).Append(nil)))
	f.Fuzz(func(t *testing.T, b []byte) {
		synctest.Test(t, func(t *testing.T) {
			front := newGateway(t, memberA, func(c *Config) { c.Links = 1 })
			near, far := net.Pipe()
			v := front.node.Volume(testVolume, 7, memberB)
			h := front.host(v, 1)
			l := v.peer.lines[0]
			c := newConn(&plainPipe{conn: near}, &l.mu)
			c.unlock = l.unlock
			go func() { _, _ = io.Copy(io.Discard, far) }()
			v.peer.tokens.add(1, time.Now())
			l.up(c, wire.Welcome{Commands: 10, Bytes: 1 << 20, Nexuses: 10, MaxAge: 3000})
			o := wire.NexusOpened{Handle: 0, Commands: 2, Bytes: 1 << 20}
			served := make(chan struct{})
			go func() {
				defer close(served)
				c.end(c.serve(func(h wire.Header, body []byte) error { return l.handle(c, h, body) }))
				c.drain()
				l.down()
			}()
			_, _ = far.Write(o.Append(nil))
			var all []<-chan result
			for range 3 {
				all = append(all, h.send(read(4)), h.send(write(1)))
			}
			v.Manage(h.nexus, 0, lun.TMF{Function: lun.LogicalUnitReset}, func(lun.TMFResponse) {})
			_, _ = far.Write(b)
			synctest.Wait()
			_ = far.Close()
			<-served
			v.Over()
			for _, c := range all {
				<-c
			}
			if l.limbo.n != 0 || l.ended.n != 0 {
				t.Error("something is left")
			}
		})
	})
}

// FuzzOwnerUnit is a front that sends any command to a device server, and anything
// after it: the owner stands, and lets go of everything when it is gone.
func FuzzOwnerUnit(f *testing.F) {
	for _, cdb := range [][]byte{
		{0x00},
		{0x03, 0, 0, 0, 18},
		{0x12, 0, 0, 0, 36},
		{0x12, 1, 0x83, 0, 255},
		{0x16},
		{0x17},
		{0x1b},
		{0x1a, 0, 0x3f, 0, 255},
		{0x25},
		{0x28, 8: 1},
		{0x2a, 8: 1},
		{0x35},
		{0x41, 8: 1},
		{0x42, 8: 24},
		{0x48, 1, 8: 8},
		{0x4d, 9: 0},
		{0x55, 0x10, 8: 24},
		{0x5e, 8: 255},
		{0x5f, 0, 5, 8: 24},
		{0x5f, 6, 8: 24},
		{0x83, 1, 13: 64},
		{0x84, 4, 13: 255},
		{0x89, 13: 1},
		{0xa0, 9: 255},
		{0xa3, 0x0a, 9: 255},
		{0xa3, 0x0c, 9: 255},
		{0xa4, 0x0a, 9: 8},
		{0xc1, 0, 13: 16},
		{0xc1, 1, 13: 16},
	} {
		f.Add(cdb, []byte{}, uint16(255), uint8(1), uint8(0), uint8(wire.FlagRead), []byte{})
		f.Add(cdb, make([]byte, 24), uint16(24), uint8(3), uint8(0), uint8(wire.FlagWrite), (&wire.Cancel{}).Append(nil))
		f.Add(cdb, make([]byte, 8), uint16(8), uint8(2), uint8(2), uint8(wire.FlagWrite), (&wire.NexusClose{Handle: 1}).Append(nil))
	}
	f.Fuzz(func(t *testing.T, cdb, data []byte, expected uint16, attr, ask, flags uint8, then []byte) {
		synctest.Test(t, func(t *testing.T) {
			vol := san.Volume{ID: testVolume, Name: "v", Driver: "mem", Size: 1 << 20, BlockSize: 512, PhysicalBlock: 4096, NAA: 5}
			dev, err := mem.New(mem.Options{Size: vol.Size, BlockSize: vol.BlockSize, PhysicalBlock: vol.PhysicalBlock})
			if err != nil {
				t.Fatal(err)
			}
			log := slog.New(slog.NewTextHandler(testLog, nil))
			u, err := lun.NewUnit(vol, dev, &luntest.Store{}, lun.UnitOptions{Shared: true, Logger: log})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = u.Close() })
			if err := u.Serve(7); err != nil {
				t.Fatal(err)
			}
			g := alone(t, func(c *Config) { c.Owner = &member{unit: u} })
			f := dialRaw(t, g, memberA, 0)
			f.open(1, testNexus(1, 1))
			f.expectOpened(1)
			c := wire.Command{
				Handle: 1, Seq: 1, Token: f.stamp, Expected: uint32(expected), Out: uint32(len(data)), Attr: attr, Ask: ask,
				Flags: wire.CommandFlags(flags),
			}
			copy(c.CDB[:], cdb)
			data = data[:min(len(data), wire.MaxData)]
			b := make([]byte, wire.HeaderLen+wire.CommandLen, 512)
			c.Put(b, len(data))
			f.write(append(append(b, data...), then...))
			synctest.Wait()
			_ = f.conn.Close()
			synctest.Wait()
			if g.inbound(memberA, 0) != nil {
				t.Error("something is left")
			}
		})
	})
}
