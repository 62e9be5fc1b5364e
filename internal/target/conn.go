package target

import (
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"sango/internal/iscsi"
	"sango/internal/lun"
	"sango/internal/san"
)

// conn is one connection and, after its login, the session that it is.
type conn struct {
	srv    *Server
	sock   *socket
	log    *slog.Logger
	tpg    san.TPG
	peer   netip.AddrPort
	opened time.Time
	quit   chan struct{} // closed when the connection is to end
	done   chan struct{} // closed when nothing of it is left

	// The reader's. params is constant after the login.
	in          input
	sink        [][]byte // scratch
	params      iscsi.Params
	limit       int       // longest data segment that is taken now
	received    uint64    // bytes of task data taken
	lastHeard   time.Time // when the last PDU of a discovery session came
	nextTick    time.Time
	loginBy     time.Time // zero once the login is over
	ping        pinger
	text        *iscsi.TextExchange
	maxR2Ts     int       // R2Ts that one task may have outstanding
	parked      int       // bytes of data of commands that wait for their turn, other than SCSI commands
	nextTTT     iscsi.TTT // tags from firstTTT up to it were handed out
	tagsWrapped bool      // all tags were handed out once
	identity    iscsi.Identity
	grant       Grant
	host        *host // of a normal session
	nexus       *lun.Nexus
	tsih, cid   uint16
	refusal     iscsi.LoginStatus // how its login ends, decided before it began

	batch   batch // the holder of the sending token's
	memory  budget
	written atomic.Int64 // bytes the socket took
	ended   atomic.Bool  // ending is set

	mu         sync.Mutex // guards the rest
	tasks      map[iscsi.ITT]*task
	win        window
	statSN     iscsi.StatSN
	answered   bool // the last Login Response is queued: other PDUs may follow
	immediates int  // immediate commands that were not answered yet
	out        output
	flushFn    func()   // c.flush, made once
	later      []func() // of out, at work; the reader's
	ending     *ending
	senders    sync.WaitGroup // goroutines that write; Add under mu while not dead
	stats      counters
	info       SessionInfo
}

// ending is why and how a connection ends.
type ending struct {
	err    error
	gentle bool // what is queued is sent first
}

// Why connections end.
var (
	errHeaderDigest = errors.New("a header digest is wrong")
	errTooLong      = errors.New("a data segment is too long")
	errNotReading   = errors.New("the peer makes the target answer but does not read the answers")
	errSilent       = errors.New("the peer did not answer a ping in time")
	errLoginTime    = errors.New("the login took too long")
	errIdle         = errors.New("the discovery session was silent for too long")
	errLoggedOut    = errors.New("logged out")
	errTooOld       = errors.New("a command waited too long before it could be executed")
	errReinstated   = errors.New("the initiator logged in again (session reinstatement)")
	errShutdown     = errors.New("the target shuts down")
	errLoginFailed  = errors.New("login failed")
	errSentOn       = errors.New("the gateway drains: the login was sent on")
	errFenced       = errors.New("the initiator fenced this session through another one")
)

// lingerTime bounds the time that the last PDUs of a connection are given to
// leave.
const lingerTime = 2 * time.Second

func newConn(s *Server, sock *socket, tpg san.TPG, peer netip.AddrPort) *conn {
	now := time.Now()
	c := &conn{
		srv: s, sock: sock, tpg: tpg, peer: peer, opened: now, quit: make(chan struct{}), done: make(chan struct{}),
		log:       s.log.With("peer", peer.String(), "tpg", uint16(tpg)),
		limit:     iscsi.LoginSegment,
		lastHeard: now,
		loginBy:   now.Add(s.cfg.LoginTimeout),
		nextTTT:   firstTTT,
		tasks:     make(map[iscsi.ITT]*task),
		memory:    budget{limit: s.cfg.ConnectionMemory},
	}
	c.out.idle.L = &c.mu
	c.in.newer = now
	c.batch.maxBurst = iscsi.LoginSegment
	c.batch.maxData.Store(iscsi.LoginSegment)
	c.batch.pingMark = c.ping.sent.Store
	c.flushFn = c.flush
	return c
}

// run is the reader's life.
func (c *conn) run() {
	err := c.login()
	if err == nil {
		err = c.serve()
	}
	c.teardown(err)
}

// serve handles the PDUs of full feature phase until the connection ends.
func (c *conn) serve() error {
	for {
		if c.ended.Load() { // perhaps by an error of the sender: what was read before it is not executed
			return errEnded
		}
		if err := c.nextHeader(c.limit); err != nil {
			return err
		}
		if err := c.dispatch(); err != nil {
			return err
		}
	}
}

// dispatch handles the PDU at hand, data segment included.
func (c *conn) dispatch() error {
	c.sock.turn.lull.Came()
	op := c.in.h.Opcode()
	if c.in.ahsErr != nil {
		return c.rejectPDU(c.in.ahsErr)
	}
	c.lastHeard = c.in.pduArrival
	if c.params.Discovery && op != iscsi.OpTextRequest && op != iscsi.OpLogoutRequest {
		return c.rejectPDU(&iscsi.ProtocolError{Reason: iscsi.RejectProtocol, Text: "a discovery session takes only Text and Logout Requests"})
	}
	switch op {
	case iscsi.OpSCSICommand:
		return c.scsiCommand()
	case iscsi.OpDataOut:
		return c.dataOut()
	case iscsi.OpNopOut:
		return c.nopOut()
	case iscsi.OpTaskRequest:
		return c.taskRequest()
	case iscsi.OpTextRequest:
		return c.textRequest()
	case iscsi.OpLogoutRequest:
		return c.logoutRequest()
	case iscsi.OpSNACK:
		return c.snack()
	case iscsi.OpLoginRequest:
		return c.rejectPDU(&iscsi.ProtocolError{Reason: iscsi.RejectProtocol, Text: "a Login Request after the login"})
	}
	return c.rejectPDU(&iscsi.ProtocolError{Reason: iscsi.RejectNotSupported, Text: "no PDU of an initiator has " + op.String()})
}

// numbered runs a command that is not a SCSI command in its turn: at once
// when it is immediate, else in CmdSN order. Until then it keeps size bytes of
// data. run gets whether the command took a credit that its response must give
// back.
func (c *conn) numbered(immediate bool, sn iscsi.CmdSN, size int, run func(credit bool) error) error {
	if immediate {
		return run(false)
	}
	c.mu.Lock()
	v := c.win.judge(sn)
	switch v {
	case now:
		c.win.advance()
	case later:
		if c.parked+size > maxBacklogBytes {
			c.mu.Unlock()
			return c.reject(iscsi.RejectLongOperation, false)
		}
		c.parked += size
		c.win.hold(sn, &ordered{run: func() error {
			c.parked -= size
			return run(true)
		}})
	}
	c.mu.Unlock()
	if v != now {
		return nil
	}
	if err := run(true); err != nil {
		return err
	}
	return c.catchUp()
}

// catchUp runs the held commands whose turn has come.
func (c *conn) catchUp() error {
	for len(c.win.held) > 0 {
		c.mu.Lock()
		o := c.win.next()
		c.mu.Unlock()
		if o == nil {
			return nil
		}
		if err := o.run(); err != nil {
			return err
		}
	}
	return nil
}

// tick does what time asks for. It is called before each wait of the reader.
// It also keeps the socket's read deadline ahead, so that a wait ends for the
// next thing to do, and soon enough for the moment at which the socket was seen
// empty to stay fresh.
func (c *conn) tick(now time.Time) error {
	var err error
	if !now.Before(c.nextTick) {
		var due time.Time
		due, err = c.overdue(now)
		wait := c.srv.cfg.tick
		c.nextTick = earlier(now.Add(wait/2), due)
		_ = c.sock.tcp.SetReadDeadline(together(earlier(now.Add(wait), due))) // a closed socket shows in the read
	}
	if c.ended.Load() { // after the deadline was set: wake sets it after ended
		return errEnded
	}
	return err
}

// overdue does what is to be done by now, and says when to call it again.
func (c *conn) overdue(now time.Time) (due time.Time, err error) {
	switch {
	case !c.loginBy.IsZero():
		due, err = c.loginBy, errLoginTime
	case c.params.Discovery:
		due, err = c.lastHeard.Add(c.srv.cfg.DiscoveryIdle), errIdle
	default:
		return c.keepAlive(now)
	}
	if now.Before(due) {
		err = nil
	}
	return due, err
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// together puts a time off by up to tickGrid, so that the readers of idle
// sessions wake together: to wake a processor up costs more than a tick.
func together(t time.Time) time.Time {
	return t.Add(tickGrid - time.Duration(t.UnixNano())%tickGrid)
}

// tickTime and tickGrid are how long a reader sleeps at most.
const (
	tickTime = 450 * time.Millisecond
	tickGrid = 50 * time.Millisecond
)

// end ends the connection from any goroutine.
func (c *conn) end(err error, gentle bool) {
	c.mu.Lock()
	c.endLocked(err, !gentle)
	c.mu.Unlock()
}

// endLocked is end with c.mu held. The first reason stays; a hard end makes a
// gentle one hard.
func (c *conn) endLocked(err error, hard bool) {
	switch {
	case c.ending == nil:
		c.ending = &ending{err: err, gentle: !hard}
		close(c.quit)
	case hard:
		c.ending.gentle = false
	}
	c.ended.Store(true)
	c.sock.wake()
}

// Drop implements lun.Transport: the session ends after the initiator was told
// so by an asynchronous message (RFC 7143 §11.9).
func (c *conn) Drop(reason string) {
	c.mu.Lock()
	if c.answered {
		c.enqueue(asyncMessage(iscsi.Async{Event: iscsi.AsyncDropSession}))
	}
	c.endLocked(errors.New(reason), false)
	c.kick()
}

// TaskDone implements lun.Transport.
func (c *conn) TaskDone(lt *lun.Task) {
	t := lt.User.(*task)
	c.mu.Lock()
	t.done = true
	if !t.held {
		c.finish(t)
	}
	c.kick()
}

// teardown ends everything the connection has. What was read but not yet
// executed is not executed any more.
func (c *conn) teardown(err error) {
	c.mu.Lock()
	if c.ending == nil {
		gentle := errors.Is(err, errLoggedOut) || errors.Is(err, errLoginFailed) || errors.Is(err, errSentOn)
		c.ending = &ending{err: err, gentle: gentle}
		c.ended.Store(true)
	}
	end := *c.ending
	if end.gentle && !c.out.dead {
		_ = c.sock.tcp.SetWriteDeadline(time.Now().Add(lingerTime))
		c.out.corked, c.out.hurry = false, true
		c.kick()
		c.mu.Lock()
		for c.out.sending {
			c.out.idle.Wait()
		}
	}
	c.kill()
	c.out.corked = false
	c.mu.Unlock()
	c.undefer()
	if end.gentle {
		c.sock.close()
	} else {
		c.sock.reset()
	}
	c.senders.Wait()

	if c.nexus != nil {
		c.nexus.Detach()
	}
	c.mu.Lock()
	for c.out.sending { // TaskDone may have sent for a moment
		c.out.idle.Wait()
	}
	for _, t := range c.tasks { // those that package lun never knew, or has given back
		delete(c.tasks, t.itt)
		t.free()
	}
	c.win.held = nil
	c.mu.Unlock()
	if c.in.buf != nil {
		c.in.buf.Release()
		c.in.buf = nil
	}
	c.sock.turn.end(time.Now())
	c.srv.gone(c, end.err)
	close(c.done)
}
