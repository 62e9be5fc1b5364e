package initiator

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sango/internal/iscsi"
	"sango/internal/scsi"
)

// Whatever a target does against the protocol ends the session and no command
// is left over.
func TestBrokenTargetEndsTheSession(t *testing.T) {
	limits := iscsi.DefaultLimits()
	limits.InitialR2T, limits.ImmediateData, limits.MaxOutstandingR2T = true, false, 1
	limits.MaxBurstLength = 4096
	for _, test := range []struct {
		name  string
		write bool
		do    func(*peer, iscsi.ITT)
		want  string
	}{
		{"data past the buffer", false, func(p *peer, i iscsi.ITT) { p.dataIn(iscsi.DataIn{ITT: i}, 8196) }, "up to byte"},
		{"data out of order", false, func(p *peer, i iscsi.ITT) { p.dataIn(iscsi.DataIn{ITT: i, Offset: 4}, 512) }, "is at byte 4"},
		{"data at the end of the world", false, func(p *peer, i iscsi.ITT) { p.dataIn(iscsi.DataIn{ITT: i, Offset: 1<<32 - 1024}, 512) }, "is at byte"},
		{"wrong DataSN", false, func(p *peer, i iscsi.ITT) { p.dataIn(iscsi.DataIn{ITT: i, DataSN: 1}, 512) }, "DataSN 1"},
		{"data of no task", false, func(p *peer, i iscsi.ITT) { p.dataIn(iscsi.DataIn{ITT: i + 1}, 512) }, "which is none"},
		{"data of an old tag", false, func(p *peer, i iscsi.ITT) { p.dataIn(iscsi.DataIn{ITT: i + 1<<16}, 512) }, "which is none"},
		{"data for a write", true, func(p *peer, i iscsi.ITT) { p.dataIn(iscsi.DataIn{ITT: i}, 512) }, "for a write"},
		{"response to no task", false, func(p *peer, i iscsi.ITT) { p.good(i + 7000) }, "which is none"},
		{"response to the reserved tag", false, func(p *peer, _ iscsi.ITT) { p.good(iscsi.NoITT) }, "which is none"},
		{"StatSN jumps", false, func(p *peer, i iscsi.ITT) { p.statSN++; p.good(i) }, "StatSN"},
		{"StatSN stays", false, func(p *peer, i iscsi.ITT) { p.statSN--; p.good(i) }, "StatSN"},
		{"collapsed StatSN jumps", false, func(p *peer, i iscsi.ITT) {
			p.dataIn(iscsi.DataIn{ITT: i, HasStatus: true, Final: true, StatSN: p.statSN + 5}, 8192)
		}, "StatSN"},
		{"sense longer than the segment", false, func(p *peer, i iscsi.ITT) {
			p.respond(iscsi.SCSIResponse{ITT: i, StatSN: p.take(), Status: 2}, []byte{9, 9, 1, 2})
		}, "sense length"},
		{"R2T for a read", false, func(p *peer, i iscsi.ITT) { p.r2t(iscsi.R2T{ITT: i, Desired: 512}) }, "writes nothing"},
		{"R2T past the data", true, func(p *peer, i iscsi.ITT) { p.r2t(iscsi.R2T{ITT: i, Offset: 8000, Desired: 512}) }, "up to byte"},
		{"R2T past everything", true, func(p *peer, i iscsi.ITT) { p.r2t(iscsi.R2T{ITT: i, Offset: 1<<32 - 512, Desired: 511}) }, "up to byte"},
		{"R2T over MaxBurstLength", true, func(p *peer, i iscsi.ITT) { p.r2t(iscsi.R2T{ITT: i, Desired: 8192}) }, "MaxBurstLength"},
		{"wrong R2TSN", true, func(p *peer, i iscsi.ITT) { p.r2t(iscsi.R2T{ITT: i, Desired: 512, R2TSN: 3}) }, "R2TSN"},
		{"R2T of no task", true, func(p *peer, i iscsi.ITT) { p.r2t(iscsi.R2T{ITT: i + 1, Desired: 512}) }, "which is none"},
		{"R2T that goes back", true, func(p *peer, i iscsi.ITT) {
			p.r2t(iscsi.R2T{ITT: i, Offset: 512, Desired: 512})
			p.pdu(iscsi.OpDataOut)
			p.r2t(iscsi.R2T{ITT: i, Offset: 0, Desired: 512, R2TSN: 1})
		}, "before the end"},
		{"oversized segment", false, func(p *peer, _ iscsi.ITT) {
			h := iscsi.BHS{0: byte(iscsi.OpDataIn), 5: 0xff, 6: 0xff, 7: 0xff}
			p.send(&h, nil)
		}, "were declared"},
		{"login response", false, func(p *peer, _ iscsi.ITT) { p.send(&iscsi.BHS{0: byte(iscsi.OpLoginResponse)}, nil) }, "in full feature phase"},
		{"text response", false, func(p *peer, _ iscsi.ITT) { p.send(&iscsi.BHS{0: byte(iscsi.OpTextResponse)}, nil) }, "in full feature phase"},
		{"request of an initiator", false, func(p *peer, _ iscsi.ITT) { p.send(&iscsi.BHS{0: byte(iscsi.OpSCSICommand)}, nil) }, "in full feature phase"},
		{"task response to a command", false, func(p *peer, i iscsi.ITT) {
			var h iscsi.BHS
			r := iscsi.TaskResponse{ITT: i, StatSN: p.take()}
			r.Put(&h)
			p.send(&h, nil)
		}, "which is none"},
		{"answer to no ping", false, func(p *peer, i iscsi.ITT) {
			var h iscsi.BHS
			r := iscsi.NopIn{ITT: i, TTT: iscsi.NoTTT, StatSN: p.take()}
			r.Put(&h)
			p.send(&h, nil)
		}, "which is no ping"},
		{"more pings than it reads answers to", false, func(p *peer, _ iscsi.ITT) {
			for range 2 * maxPongs {
				p.ping(1)
			}
		}, "pings"},
		{"reject without a header", false, func(p *peer, _ iscsi.ITT) {
			var h iscsi.BHS
			r := iscsi.Reject{Reason: iscsi.RejectProtocol, StatSN: p.take()}
			r.Put(&h)
			p.send(&h, nil)
		}, "does not say which"},
		{"end of the stream", false, func(p *peer, _ iscsi.ITT) { p.conn.Close() }, "closed the connection"},
		{"drop announced", false, func(p *peer, _ iscsi.ITT) {
			var h iscsi.BHS
			r := iscsi.Async{Event: iscsi.AsyncDropSession, StatSN: p.take()}
			r.Put(&h)
			p.send(&h, nil)
		}, "ends the session"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, p := paired(t, limits)
			c, ended := submit(s, test.write, 8192)
			got, _ := p.command()
			test.do(p, got.ITT)
			go func() { _, _ = io.Copy(io.Discard, p.conn) }()
			err := <-ended
			var lost *LostError
			if !errors.As(err, &lost) || !c.Sent || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, sent %v", err, c.Sent)
			}
			<-s.Done()
		})
	}
}

// A command that the target rejects ends alone; the session goes on.
func TestRejectedCommandEndsAlone(t *testing.T) {
	s, p := paired(t, iscsi.DefaultLimits())
	_, ended := submit(s, false, 512)
	p.command()
	var h iscsi.BHS
	r := iscsi.Reject{Reason: iscsi.RejectNotSupported, StatSN: p.take(), ExpCmdSN: p.cmdSN, MaxCmdSN: p.cmdSN + 15, DataLen: iscsi.BHSLen}
	r.Put(&h)
	p.send(&h, p.link.h[:])
	var f *FailureError
	if err := <-ended; !errors.As(err, &f) || f.Reject != iscsi.RejectNotSupported {
		t.Error(err)
	}
	_, ended = submit(s, false, 512)
	c, _ := p.command()
	p.respond(iscsi.SCSIResponse{ITT: c.ITT, StatSN: p.take(), Response: iscsi.TargetFailure}, nil)
	if err := <-ended; !errors.As(err, &f) || f.Response != iscsi.TargetFailure {
		t.Error(err)
	}
	_, ended = submit(s, false, 512)
	c, _ = p.command()
	p.good(c.ITT)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Commands wait for the window, in their order, and pings are answered while
// they do.
func TestClosedWindowHoldsCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := paired(t, iscsi.DefaultLimits())
		const n = 20 // the window has 16
		var ended []<-chan error
		for range n {
			_, e := submit(s, false, 0)
			ended = append(ended, e)
		}
		var tags []iscsi.ITT
		for i := range 16 {
			c, _ := p.command()
			if int(c.CmdSN) != int(p.cmdSN)-1 || i > 0 && c.ITT == tags[i-1] {
				t.Errorf("%+v", c)
			}
			tags = append(tags, c.ITT)
		}
		synctest.Wait()
		if v := s.Stats(); v.Waiting != 4 || v.Active != 16 || v.Window != 0 {
			t.Errorf("%+v", v)
		}
		p.ping(7)
		p.pdu(iscsi.OpNopOut)
		if r, err := iscsi.ParseNopOut(&p.h); err != nil || r.TTT != 7 || r.ITT != iscsi.NoITT {
			t.Errorf("%+v %v", r, err)
		}
		for i, itt := range tags {
			p.good(itt)
			if err := <-ended[i]; err != nil {
				t.Error(err)
			}
			if i >= 4 {
				continue
			}
			c, _ := p.command()
			tags = append(tags, c.ITT)
		}
		for i, itt := range tags[16:] {
			p.good(itt)
			if err := <-ended[16+i]; err != nil {
				t.Error(err)
			}
		}
	})
}

// A silent target is pinged, and given up when it stays silent.
func TestSilentTargetIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := paired(t, iscsi.DefaultLimits(), func(c *Config) { c.PingInterval, c.PingTimeout = time.Second, 3*time.Second })
		for range 3 {
			p.pdu(iscsi.OpNopOut)
			n, err := iscsi.ParseNopOut(&p.h)
			if err != nil {
				t.Fatal(err)
			}
			var h iscsi.BHS
			r := iscsi.NopIn{ITT: n.ITT, TTT: iscsi.NoTTT, StatSN: p.take(), ExpCmdSN: p.cmdSN, MaxCmdSN: p.cmdSN + 15}
			r.Put(&h)
			p.send(&h, nil)
		}
		c, ended := submit(s, true, 512)
		p.command()
		p.pdu(iscsi.OpNopOut)
		begin := time.Now()
		if err := <-ended; !errors.Is(err, ErrNoAnswer) || !c.Sent {
			t.Error(err)
		}
		if d := time.Since(begin); d != 3*time.Second {
			t.Errorf("given up after %v", d)
		}
		<-s.Done()
	})
}

// A task management request that is not answered ends the session, and the
// command with it.
func TestUnansweredAbortEndsTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := paired(t, iscsi.DefaultLimits(), func(c *Config) { c.ManageTimeout = someTime })
		c, ended := submit(s, false, 512)
		p.command()
		go p.pdu(iscsi.OpTaskRequest)
		if err := s.AbortCommand(t.Context(), c); err != nil {
			t.Error(err)
		}
		if err := <-ended; !errors.Is(err, ErrNoAnswer) {
			t.Error(err)
		}
		<-s.Done()
	})
}

// A response that comes before all of the data has gone ends the command when
// nobody needs its data any more.
func TestEarlyResponseKeepsTheData(t *testing.T) {
	limits := iscsi.DefaultLimits()
	limits.InitialR2T, limits.ImmediateData, limits.MaxRecv = true, false, 512
	s, p := paired(t, limits)
	_, ended := submit(s, true, 4096)
	c, _ := p.command()
	p.r2t(iscsi.R2T{ITT: c.ITT, TTT: 5, Desired: 4096})
	p.pdu(iscsi.OpDataOut) // the second is being written and waits for a reader
	p.respond(iscsi.SCSIResponse{ITT: c.ITT, StatSN: p.take(), Status: uint8(scsi.Busy)}, nil)
	for range 7 {
		select {
		case err := <-ended:
			t.Fatal("the command ended while its data was being sent:", err)
		default:
		}
		p.pdu(iscsi.OpDataOut)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A target that asks for a logout gets one.
func TestTargetAsksForLogout(t *testing.T) {
	events := make(chan iscsi.AsyncEvent, 4)
	s, p := paired(t, iscsi.DefaultLimits(), func(c *Config) {
		c.Event = func(_ *Session, a iscsi.Async, _ []byte) { events <- a.Event }
	})
	for _, e := range []iscsi.AsyncEvent{iscsi.AsyncRenegotiate, iscsi.AsyncSCSI, iscsi.AsyncVendor, iscsi.AsyncLogout} {
		var h iscsi.BHS
		a := iscsi.Async{Event: e, StatSN: p.take(), ExpCmdSN: p.cmdSN, MaxCmdSN: p.cmdSN + 15, Param3: 5}
		a.Put(&h)
		p.send(&h, nil)
		if got := <-events; got != e {
			t.Errorf("%v", got)
		}
	}
	p.pdu(iscsi.OpLogoutRequest)
	r, err := iscsi.ParseLogoutRequest(&p.h)
	if err != nil {
		t.Fatal(err)
	}
	var h iscsi.BHS
	a := iscsi.LogoutResponse{ITT: r.ITT, StatSN: p.take()}
	a.Put(&h)
	p.send(&h, nil)
	<-s.Done()
	if !errors.Is(s.Err(), ErrTargetEnds) {
		t.Error(s.Err())
	}
}

// A target that does not know a command which it did not answer may still
// execute it: the command ends with its answer, or with the session.
func TestAbortOfAnUnknownTaskWaitsForItsAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := paired(t, iscsi.DefaultLimits(), func(c *Config) { c.ManageTimeout = someTime })
		for _, answer := range []bool{true, false} {
			c, ended := submit(s, true, 512)
			cmd, _ := p.command()
			aborted := make(chan error)
			go func() { aborted <- s.AbortCommand(t.Context(), c) }()
			p.pdu(iscsi.OpTaskRequest)
			r, err := iscsi.ParseTaskRequest(&p.h)
			if err != nil || r.RefTag != cmd.ITT || r.RefCmdSN != cmd.CmdSN {
				t.Errorf("%+v %v", r, err)
			}
			var h iscsi.BHS
			a := iscsi.TaskResponse{Result: iscsi.TaskNoSuchTask, ITT: r.ITT, StatSN: p.take(), ExpCmdSN: p.cmdSN, MaxCmdSN: p.cmdSN + 15}
			a.Put(&h)
			p.send(&h, nil)
			if err := <-aborted; err != nil {
				t.Error(err)
			}
			synctest.Wait()
			select {
			case err := <-ended:
				t.Errorf("the command ended with %v", err)
			default:
			}
			if answer {
				p.good(cmd.ITT)
			}
			if err := <-ended; answer && err != nil || !answer && !errors.Is(err, ErrNoAnswer) {
				t.Error(err)
			}
		}
		<-s.Done()
	})
}

// GOOD for a write whose data the target never took is not taken for one.
func TestGoodWithoutTheData(t *testing.T) {
	limits := iscsi.DefaultLimits()
	limits.InitialR2T, limits.ImmediateData = true, false
	for _, asked := range [][2]uint32{{0, 0}, {0, 512}, {512, 512}} {
		s, p := paired(t, limits)
		c, ended := submit(s, true, 1024)
		got, _ := p.command()
		if asked[1] > 0 {
			p.r2t(iscsi.R2T{ITT: got.ITT, TTT: 5, Offset: asked[0], Desired: asked[1]})
			p.pdu(iscsi.OpDataOut)
		}
		p.good(got.ITT)
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if !c.Residual.Underflow {
			t.Errorf("asked for %v: %+v", asked, c.Residual)
		}
		s.Abort(ErrClosed)
	}
}
