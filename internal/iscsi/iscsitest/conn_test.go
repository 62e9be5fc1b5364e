package iscsitest

import (
	"bytes"
	"errors"
	"testing"

	"sango/internal/iscsi"
)

func pairs(kv ...string) iscsi.Keys {
	var k iscsi.Keys
	for i := 0; i < len(kv); i += 2 {
		k = append(k, iscsi.Pair{Key: kv[i], Value: kv[i+1]})
	}
	return k
}

// Everything a session can do, with every way of sending write data.
func TestSession(t *testing.T) {
	for name, keys := range map[string]iscsi.Keys{
		"defaults":    nil,
		"digests":     pairs("HeaderDigest", "CRC32C", "DataDigest", "CRC32C"),
		"unsolicited": pairs("InitialR2T", "No", "FirstBurstLength", "4096", "MaxBurstLength", "8192"),
		"R2T only":    pairs("InitialR2T", "Yes", "ImmediateData", "No", "MaxBurstLength", "1024"),
		"small parts": pairs("MaxRecvDataSegmentLength", "512", "ImmediateData", "No", "InitialR2T", "No", "FirstBurstLength", "512"),
	} {
		t.Run(name, func(t *testing.T) {
			c, p := start(t, account)
			if err := c.Login(Login{Initiator: "iqn.host", Target: "iqn.disk", Account: &account, Keys: keys}); err != nil {
				t.Fatal(err)
			}
			if c.TSIH != 5 {
				t.Errorf("TSIH %d", c.TSIH)
			}
			if r, err := c.Ready(LUN0); err != nil || r.Sense[2] != 5 {
				t.Fatalf("%+v, %v", r, err)
			}
			data := make([]byte, 40*512)
			for i := range data {
				data[i] = byte(i * 7)
			}
			if err := c.WriteBlocks(LUN0, 3, data, 512); err != nil {
				t.Fatal(err)
			}
			p.ping = true
			got, err := c.Read(LUN0, 3, 40, 512)
			if err != nil || !bytes.Equal(got, data) {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
			if err := c.Ping([]byte("hello")); err != nil {
				t.Error(err)
			}
			if r, err := c.Manage(iscsi.AbortTask, LUN0, 99); err != nil || r != iscsi.TaskNoSuchTask {
				t.Errorf("%v, %v", r, err)
			}
			if k, err := c.Text(pairs("SendTargets", "")); err != nil || len(k) != 1 {
				t.Errorf("%v, %v", k, err)
			}
			if err := c.Logout(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRefusedLogin(t *testing.T) {
	c, _ := start(t)
	var e *LoginError
	if err := c.Login(Login{Initiator: "iqn.host", Target: "iqn.none"}); !errors.As(err, &e) || e.Status != iscsi.LoginNotFound {
		t.Error(err)
	}
}

func TestSequenceIsChecked(t *testing.T) {
	c, p := start(t)
	if err := c.Login(Login{Initiator: "iqn.host", Target: "iqn.disk"}); err != nil {
		t.Fatal(err)
	}
	p.skew = 1
	if err := c.Ping(nil); !errors.Is(err, ErrSequence) {
		t.Error(err)
	}
}

func TestLengthIsChecked(t *testing.T) {
	c, _ := start(t)
	if err := c.Login(Login{Initiator: "iqn.host", Target: "iqn.disk"}); err != nil {
		t.Fatal(err)
	}
	c.Params.MaxRecv = 4 // the peer knows nothing of that
	if err := c.Ping([]byte("hello")); !errors.Is(err, ErrSequence) {
		t.Error(err)
	}
}

func TestDigestsAreChecked(t *testing.T) {
	for name, damage := range map[string]func(*Conn){
		"header": func(c *Conn) { c.HeaderDigest = true }, // the peer sends none
		"data":   func(c *Conn) { c.DataDigest = true },
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := start(t)
			if err := c.Login(Login{Initiator: "iqn.host", Target: "iqn.disk"}); err != nil {
				t.Fatal(err)
			}
			var h iscsi.BHS
			(&iscsi.NopOut{ITT: c.ITT(), TTT: iscsi.NoTTT, CmdSN: c.NextCmdSN(), ExpStatSN: c.ExpStatSN, DataLen: 8}).Put(&h)
			b := c.Encode(&h, nil, []byte("12345678"))
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				_ = c.SendRaw(append(b, b...)) // the second answer is taken for the digest of the first
			}()
			damage(c)
			_, err := c.Receive()
			if !errors.Is(err, ErrDigest) {
				t.Error(err)
			}
			c.Close()
			<-sent
		})
	}
}
