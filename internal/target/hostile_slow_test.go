package target

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"sango/internal/iscsi"
	"sango/internal/iscsi/iscsitest"
)

// Peers that log in one byte at a time are thrown out when their time is up,
// and until then keep nobody waiting.
func TestHostileSlowLogin(t *testing.T) {
	s := besiege(t, func(c *Config, _ *directory) { c.LoginTimeout = 3 * time.Second })
	h := header(&iscsi.LoginRequest{Transit: true, Current: iscsi.Operational, Next: iscsi.FullFeature, ISID: isid(9), ITT: 1, DataLen: len(hostileNames)})
	var slow []*iscsitest.Conn
	for range 16 {
		slow = append(slow, s.dial())
	}
	wire := slow[0].Encode(&h, nil, []byte(hostileNames))
	for at := range wire[:len(wire)-1] {
		for _, c := range slow {
			if err := c.SendRaw(wire[at : at+1]); err != nil && !gone(err) {
				t.Fatal(err)
			}
		}
		s.good.progress()
	}
	for _, c := range slow {
		wantClosed(t, c)
	}
	s.settle(1)
	s.good.progress()
}

// Peers that stop in the middle of anything and do not answer pings are
// dropped; one that answers them may stay. None of them keeps others waiting.
func TestHostileSilence(t *testing.T) {
	s := besiege(t, func(c *Config, _ *directory) { c.NopTimeout = 8 * time.Second })
	write := iscsitest.Write16(lun1, 0, make([]byte, 4096), 512)
	n := byte(20)
	enter := func(keys ...string) *iscsitest.Conn {
		c := s.dial()
		l := attacker(keys...)
		l.ISID = isid(n)
		n++
		if err := c.Login(l); err != nil {
			t.Fatal(err)
		}
		return c
	}
	silent := map[string]*iscsitest.Conn{}
	silent["says nothing"] = enter()

	c := enter()
	if err := c.SendRaw(make([]byte, 20)); err != nil {
		t.Fatal(err)
	}
	silent["half a header"] = c

	c = enter()
	h := header(&iscsi.SCSICommand{Final: true, Write: true, LUN: lun1, ITT: 5, ExpectedLen: 4096, DataLen: 4096, CmdSN: c.CmdSN, CDB: write.CDB})
	if err := c.SendRaw(append(h[:], make([]byte, 1000)...)); err != nil {
		t.Fatal(err)
	}
	silent["half a data segment"] = c

	c = enter("ImmediateData", "No")
	if _, err := c.Ready(lun1); err != nil {
		t.Fatal(err)
	}
	begin(t, c, write)
	silent["an R2T without an answer"] = c

	c = enter()
	for range 40 { // more than the buffers of the sockets hold
		k := iscsitest.Command{LUN: lun1, In: 1 << 20, CDB: [16]byte{0x28, 7: 0x08}}
		if _, err := c.SendCommand(k); err != nil {
			t.Fatal(err)
		}
	}
	deaf := c

	patient := enter("ImmediateData", "No")
	if _, err := patient.Ready(lun1); err != nil {
		t.Fatal(err)
	}
	itt, r := begin(t, patient, write)
	stop, stopped := make(chan struct{}), make(chan error)
	go func() {
		for {
			p, err := patient.Receive()
			if err == nil {
				err = patient.Pong(&p)
			}
			select {
			case <-stop:
				stopped <- err
				return
			default:
			}
			if err != nil {
				<-stop
				stopped <- err
				return
			}
		}
	}()

	s.good.progress()
	for name, c := range silent {
		t.Run(name, func(t *testing.T) { wantClosed(t, c, iscsi.OpSCSIResponse) })
	}
	close(stop)
	if err := <-stopped; err != nil {
		t.Fatalf("the peer that answers pings: %v", err)
	}
	drain(t, deaf)
	if err := patient.SendData(write, itt, r.TTT, 0, 4096); err != nil {
		t.Fatal(err)
	}
	if res, err := finishIgnoringR2T(patient, itt); err != nil || res.Good() != nil {
		t.Errorf("%v, %v", res.Good(), err)
	}
	if err := patient.Logout(); err != nil {
		t.Error(err)
	}
	s.settle(1)
	s.good.progress()
}

// Peers that make the server answer and never read are dropped at a bound.
func TestHostilePeersThatNeverRead(t *testing.T) {
	s := besiege(t)
	data := make([]byte, 8<<10)
	var peers sync.WaitGroup
	n := byte(30)
	for name, h := range map[string]iscsi.BHS{
		"pings":   header(&iscsi.NopOut{Immediate: true, ITT: 1, TTT: iscsi.NoTTT, DataLen: len(data)}),
		"rejects": raw(0x1c, 1, 16),
		"text":    header(&iscsi.TextRequest{Immediate: true, Final: true, ITT: 1, TTT: iscsi.NoTTT, DataLen: 16}),
	} {
		c := s.dial()
		l := attacker()
		l.ISID = isid(n)
		n++
		if err := c.Login(l); err != nil {
			t.Fatal(err)
		}
		peers.Go(func() {
			defer c.Close()
			wire := bytes.Repeat(c.Encode(&h, nil, data[:h.DataLen()]), 64)
			for sent := 0; sent < 1<<30; sent += len(wire) {
				if err := c.SendRaw(wire); gone(err) {
					return
				} else if err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
			}
			t.Errorf("%s: a GiB was taken", name)
		})
	}
	s.good.progress()
	peers.Wait()
	s.settle(1)
	s.good.progress()
}
