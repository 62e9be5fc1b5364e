package target

import (
	"bytes"
	"net"
	"testing"

	"sango/internal/iscsi"
	"sango/internal/iscsi/iscsitest"
)

// closeWrite ends the stream to the server but goes on reading.
func closeWrite(t *testing.T, c *iscsitest.Conn) {
	t.Helper()
	if err := c.Conn.(*net.TCPConn).CloseWrite(); err != nil && !gone(err) {
		t.Logf("shutdown: %v", err) // the server was faster
	}
}

// drain reads until the server has closed the connection.
func drain(t *testing.T, c *iscsitest.Conn) {
	t.Helper()
	for {
		if _, err := c.Receive(); gone(err) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// A login that breaks off at any byte, with FIN or RST, leaves nothing behind.
func TestHostileTruncatedLogin(t *testing.T) {
	s := besiege(t)
	r := iscsi.LoginRequest{Transit: true, Current: iscsi.Operational, Next: iscsi.FullFeature, ISID: isid(9), ITT: 1, DataLen: len(hostileNames)}
	var h iscsi.BHS
	r.Put(&h)
	wire := s.dial().Encode(&h, nil, []byte(hostileNames))
	for cut := range wire {
		c := s.dial()
		if err := c.SendRaw(wire[:cut]); err != nil {
			t.Fatal(err)
		}
		if cut%2 == 0 {
			c.Reset()
			continue
		}
		closeWrite(t, c)
		wantClosed(t, c)
	}
	s.settle(2) // the good client, and the one that was only dialed
	s.good.progress()
}

// A session that breaks off at any byte of a write, of its unsolicited data or
// of its solicited data leaves either the old blocks or the new ones, and
// never runs a command whose data did not come.
func TestHostileTruncatedWrite(t *testing.T) {
	s := besiege(t)
	const blocks = 4
	before, after := bytes.Repeat([]byte{0x11}, blocks*512), bytes.Repeat([]byte{0x22}, blocks*512)
	for name, keys := range map[string][]string{
		"immediate":   {"HeaderDigest", "CRC32C", "DataDigest", "CRC32C"},
		"unsolicited": {"InitialR2T", "No", "ImmediateData", "No"},
		"solicited":   {"InitialR2T", "Yes", "ImmediateData", "No"},
	} {
		t.Run(name, func(t *testing.T) {
			setUp := s.login()
			step, size := 1, 1
			for cut := 0; cut < size; cut += step {
				if err := setUp.WriteBlocks(lun1, 0, before, 512); err != nil {
					t.Fatal(err)
				}
				l := attacker(keys...)
				l.ISID = isid(10)
				c := s.dial()
				if err := c.Login(l); err != nil {
					t.Fatal(err)
				}
				if _, err := c.Ready(lun1); err != nil {
					t.Fatal(err)
				}
				wire := writeWire(t, c, iscsitest.Write16(lun1, 0, after, 512), name)
				if size = len(wire); size > 300 {
					step = 13 // every byte of the headers, a sample of the data
					if cut < 160 || cut > size-24 {
						step = 1
					}
				}
				if err := c.SendRaw(wire[:cut]); err != nil {
					t.Fatal(err)
				}
				if cut%2 == 0 {
					c.Reset()
				} else {
					closeWrite(t, c)
					drain(t, c)
				}
				s.settle(2)
				got, err := setUp.Read(lun1, 0, blocks, 512)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, before) {
					t.Fatalf("cut at byte %d of %d: the blocks were written", cut, size)
				}
			}
			if err := setUp.Logout(); err != nil {
				t.Fatal(err)
			}
			s.settle(1)
		})
	}
	s.good.progress()
}

// writeWire returns the bytes of a write from its command, or from the answer
// to its R2T on; the command was sent then.
func writeWire(t *testing.T, c *iscsitest.Conn, k iscsitest.Command, kind string) []byte {
	t.Helper()
	itt := c.ITT()
	cmd := iscsi.SCSICommand{Final: true, Write: true, Attr: 1, LUN: k.LUN, ITT: itt, ExpectedLen: uint32(len(k.Out)), CmdSN: c.NextCmdSN(), ExpStatSN: c.ExpStatSN, CDB: k.CDB}
	data := iscsi.DataOut{LUN: k.LUN, ITT: itt, TTT: iscsi.NoTTT, ExpStatSN: c.ExpStatSN, DataLen: len(k.Out) / 2}
	var wire []byte
	var h iscsi.BHS
	switch kind {
	case "immediate":
		cmd.DataLen = len(k.Out)
		cmd.Put(&h)
		return c.Encode(&h, nil, k.Out)
	case "unsolicited":
		cmd.Final = false
		cmd.Put(&h)
		wire = append(wire, c.Encode(&h, nil, nil)...)
	case "solicited":
		cmd.Put(&h)
		if err := c.Send(&h, nil); err != nil {
			t.Fatal(err)
		}
		p, err := c.Receive()
		if err != nil {
			t.Fatal(err)
		}
		r, err := iscsi.ParseR2T(&p.BHS)
		if err != nil {
			t.Fatal(err)
		}
		data.TTT = r.TTT
	}
	half := data.DataLen
	data.Put(&h)
	wire = append(wire, c.Encode(&h, nil, k.Out[:half])...)
	data.Final, data.DataSN, data.Offset = true, 1, uint32(half)
	data.Put(&h)
	return append(wire, c.Encode(&h, nil, k.Out[half:])...)
}
