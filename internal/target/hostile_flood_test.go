package target

import (
	"errors"
	"sync"
	"testing"

	"sango/internal/iscsi"
	"sango/internal/iscsi/iscsitest"
	"sango/internal/scsi"
)

// Many logins of the same session at once, each with writes under way when the
// next one takes its place.
func TestHostileReinstatementStorm(t *testing.T) {
	s := besiege(t)
	var storm sync.WaitGroup
	for g := range 6 {
		storm.Go(func() {
			for n := range 20 {
				c, err := iscsitest.Dial(s.addr)
				if err != nil {
					t.Error(err)
					return
				}
				err = c.Login(attacker("ImmediateData", []string{"Yes", "No"}[n%2]))
				for range 1 + (g+n)%5 {
					if err == nil {
						_, err = c.SendCommand(iscsitest.Write16(lun1, 0, make([]byte, 64<<10), 512))
					}
				}
				if err != nil && !gone(err) {
					t.Error(err)
				}
				if n%3 == 0 {
					c.Reset()
				} else {
					c.Close()
				}
			}
		})
	}
	storm.Wait()
	s.settle(1)
	c := s.login()
	usable(t, c)
	if err := c.Logout(); err != nil {
		t.Error(err)
	}
	s.settle(1)
	s.good.progress()
}

// More connections than the server takes: those past the limits are refused,
// those that are there go on, and when the flood is over there is room again.
func TestHostileConnectionFlood(t *testing.T) {
	s := besiege(t, func(c *Config, _ *directory) {
		c.Connections, c.Logins, c.LoginsPerAddress, c.SessionsPerHost = 12, 8, 8, 4
	})
	var flood []*iscsitest.Conn
	for range 100 { // they connect and say nothing
		c, err := iscsitest.Dial(s.addr)
		if err != nil && !gone(err) {
			t.Fatal(err)
		} else if err == nil {
			flood = append(flood, c)
		}
	}
	s.good.progress()
	for _, c := range flood {
		c.Close()
	}
	for { // whoever gets in was accepted after all of the flood
		c, err := iscsitest.Dial(s.addr)
		if err == nil {
			err = c.Login(attacker())
			c.Close()
		}
		if err == nil {
			break
		}
		if !gone(err) {
			t.Fatal(err)
		}
	}
	s.settle(1)

	// Sessions of one initiator.
	var sessions []*iscsitest.Conn
	refused := 0
	for n := range byte(10) {
		c := s.dial()
		l := attacker()
		l.ISID = isid(100 + n)
		err := c.Login(l)
		var e *iscsitest.LoginError
		switch {
		case err == nil:
			sessions = append(sessions, c)
		case errors.As(err, &e) && e.Status == iscsi.LoginOutOfResources:
			refused++
			wantClosed(t, c)
		default:
			t.Fatal(err)
		}
	}
	if len(sessions) != 4 || refused != 6 {
		t.Errorf("%d sessions, %d refused, want 4 and 6", len(sessions), refused)
	}
	for _, c := range sessions {
		if err := c.Logout(); err != nil {
			t.Error(err)
		}
	}
	s.settle(1)
	usable(t, s.login())
	s.good.progress()
}

// Writes that are announced and not sent do not take more memory than one
// connection may hold: the rest is told TASK SET FULL.
func TestHostileMemory(t *testing.T) {
	const limit = 2 << 20
	s := besiege(t, func(c *Config, _ *directory) { c.ConnectionMemory = limit })
	c := s.login("ImmediateData", "No")
	k := iscsitest.Write16(lun1, 0, make([]byte, 512<<10), 512)
	const commands = 32
	for range commands {
		if _, err := c.SendCommand(k); err != nil {
			t.Fatal(err)
		}
	}
	asked, full := 0, 0
	for asked+full < commands {
		p, err := c.Receive()
		if err != nil {
			t.Fatal(err)
		}
		switch p.Opcode() {
		case iscsi.OpR2T:
			asked++
		case iscsi.OpSCSIResponse:
			r, err := iscsi.ParseSCSIResponse(&p.BHS)
			if err != nil || scsi.Status(r.Status) != scsi.TaskSetFull {
				t.Fatalf("status %02xh, %v", r.Status, err)
			}
			full++
		}
	}
	if asked > limit/len(k.Out) || asked == 0 {
		t.Errorf("%d of %d writes were let in", asked, commands)
	}
	c.Close()
	s.settle(1)
	s.good.progress()
}
