package initiator

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"sango/internal/iscsi"
	"sango/internal/san"
	"sango/internal/scsi"
)

// askLogout asks for a logout within secs.
func (p *peer) askLogout(secs uint16) {
	a := iscsi.Async{Event: iscsi.AsyncLogout, StatSN: p.take(), ExpCmdSN: p.cmdSN, MaxCmdSN: p.cmdSN + 15, Param3: secs}
	var h iscsi.BHS
	a.Put(&h)
	p.send(&h, nil)
}

// agree waits for the logout and agrees.
func (p *peer) agree() {
	p.t.Helper()
	p.pdu(iscsi.OpLogoutRequest)
	r, err := iscsi.ParseLogoutRequest(&p.h)
	if err != nil {
		p.t.Error(err)
	}
	var h iscsi.BHS
	a := iscsi.LogoutResponse{ITT: r.ITT, StatSN: p.take()}
	a.Put(&h)
	p.send(&h, nil)
}

// unsent wants a command that was not sent because the target drains.
func unsent(t *testing.T, c *Command, ended <-chan error) {
	t.Helper()
	if err := <-ended; !errors.Is(err, ErrDraining) || c.Sent {
		t.Errorf("%v, sent %v", err, c.Sent)
	}
}

// What is with the target when it asks for a logout is answered first, what is
// not ends at once.
func TestDrainLetsCommandsUnderWayFinish(t *testing.T) {
	s, p := paired(t, iscsi.DefaultLimits(), func(c *Config) { c.QueueDepth = 2 })
	_, first := submit(s, false, 512)
	a, _ := p.command()
	big, second := submit(s, true, 512<<10)
	b, data := p.command()
	waiting, third := submit(s, true, 512)
	p.askLogout(600)
	unsent(t, waiting, third)
	late, fourth := submit(s, false, 512)
	unsent(t, late, fourth)
	p.good(a.ITT)
	if err := <-first; err != nil {
		t.Error(err)
	}
	// The data of a write under way is still sent when it is asked for.
	p.r2t(iscsi.R2T{ITT: b.ITT, StatSN: p.statSN, Offset: uint32(len(data)), Desired: 512})
	p.pdu(iscsi.OpDataOut)
	pinged := make(chan error, 1)
	go func() { pinged <- s.Ping(longTime(t)) }()
	p.pdu(iscsi.OpNopOut)
	n, err := iscsi.ParseNopOut(&p.h)
	if err != nil {
		t.Error(err)
	}
	pong := iscsi.NopIn{ITT: n.ITT, TTT: iscsi.NoTTT, StatSN: p.take(), ExpCmdSN: p.cmdSN, MaxCmdSN: p.cmdSN + 15}
	var h iscsi.BHS
	pong.Put(&h)
	p.send(&h, nil)
	if err := <-pinged; err != nil {
		t.Error(err)
	}
	if err := s.Err(); err != nil {
		t.Error(err)
	}
	p.good(b.ITT)
	if err := <-second; err != nil || !big.Sent {
		t.Errorf("%v, sent %v", err, big.Sent)
	}
	p.agree()
	<-s.Done()
	if err := s.Err(); !errors.Is(err, ErrDraining) {
		t.Error(err)
	}
}

// A command that the target does not answer is lost with the session, at the
// time that the target has set.
func TestDrainIsBoundedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := paired(t, iscsi.DefaultLimits())
		c, ended := submit(s, true, 512)
		p.command()
		p.askLogout(7)
		begin := time.Now()
		if err := <-ended; !errors.Is(err, ErrDraining) || !c.Sent {
			t.Errorf("%v, sent %v", err, c.Sent)
		}
		<-s.Done()
		if d := time.Since(begin); d != 7*time.Second {
			t.Error(d)
		}
	})
}

// A target may refuse what crosses with its request: it is not executed.
func TestDrainTakesARejectForNotSent(t *testing.T) {
	s, p := paired(t, iscsi.DefaultLimits())
	c, ended := submit(s, false, 512)
	p.command()
	header := p.h
	p.askLogout(600)
	r := iscsi.Reject{Reason: iscsi.RejectWaitingForLogout, StatSN: p.take(), ExpCmdSN: p.cmdSN, MaxCmdSN: p.cmdSN + 15, DataLen: iscsi.BHSLen}
	var h iscsi.BHS
	r.Put(&h)
	p.send(&h, header[:])
	unsent(t, c, ended)
	p.agree()
	<-s.Done()
}

// A session of our own target's that drains has answered everything.
func TestServerDrains(t *testing.T) {
	s := start(t)
	asked := make(chan iscsi.AsyncEvent, 4)
	x := s.login(func(c *Config) { c.Event = func(_ *Session, a iscsi.Async, _ []byte) { asked <- a.Event } })
	arrived := s.dev.Hold()
	c := &Command{CDB: writeCDB(0, 1), Attr: scsi.Simple, Out: [][]byte{make([]byte, 512)}}
	ended := make(chan error, 1)
	c.Done = func(c *Command) { ended <- c.Err }
	x.Submit(c)
	<-arrived
	drained := make(chan error, 1)
	go func() { drained <- s.Drain(longTime(t)) }()
	if e := <-asked; e != iscsi.AsyncLogout {
		t.Errorf("%v", e)
	}
	if err := x.Ping(longTime(t)); err != nil {
		t.Error(err)
	}
	s.dev.Release()
	if err := <-ended; err != nil || c.Status != scsi.Good {
		t.Errorf("%v %v", err, c.Status)
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
	<-x.Done()
	if err := x.Err(); !errors.Is(err, ErrDraining) {
		t.Error(err)
	}
	var refused *iscsi.LoginError
	if _, err := Login(longTime(t), s.config()); !errors.As(err, &refused) || refused.Status != iscsi.LoginUnavailable {
		t.Errorf("login while draining: %v", err)
	}
}

// A portal that does not serve SendTargets answers Reject in its place.
func TestDiscoveryOfAPortalThatRejectsIt(t *testing.T) {
	a, b := net.Pipe()
	p := &peer{link: newLink(b, nil), t: t}
	served := make(chan struct{})
	go func() {
		defer close(served)
		defer b.Close()
		if err := p.login(iscsi.DefaultLimits()); err != nil {
			t.Error(err)
			return
		}
		p.pdu(iscsi.OpTextRequest)
		q, err := iscsi.ParseTextRequest(&p.h)
		if err != nil {
			t.Error(err)
		}
		text := "SendTargets=Reject\x00"
		r := iscsi.TextResponse{Final: true, ITT: q.ITT, TTT: iscsi.NoTTT, StatSN: p.take(), ExpCmdSN: q.CmdSN, MaxCmdSN: q.CmdSN + 15, DataLen: len(text)}
		var h iscsi.BHS
		r.Put(&h)
		p.send(&h, []byte(text))
		_ = p.next() // the logout
	}()
	list, err := Discover(t.Context(), Config{
		Initiator: san.InitiatorPort{Name: hostName}, Portal: "192.0.2.1",
		Dial: func(context.Context, string, string) (net.Conn, error) { return a, nil },
	})
	if err == nil {
		t.Errorf("an empty list of %d targets in place of an error", len(list))
	}
	<-served
}
