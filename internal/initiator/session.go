package initiator

import (
	"sync"
	"sync/atomic"
	"time"

	"sango/internal/iscsi"
	"sango/internal/san"
)

// Session is one session with a target, of one connection, in full feature
// phase. Its methods may be called from any goroutine.
type Session struct {
	*link  // of the reader
	cfg    Config
	params iscsi.Params
	login  *iscsi.Originator
	logged time.Time

	// wholeWrites: an error of a write does not tell how much was sent.
	wholeWrites bool
	handed      atomic.Int64 // bytes handed to the socket since the login
	lastHeard   atomic.Int64 // when something came, since logged, ns
	wireIn      atomic.Uint64
	reads       atomic.Uint64

	ended    chan struct{} // closed when err is set
	done     chan struct{} // closed at the very end
	managing chan struct{} // holds a token while a task management request is out
	pinging  chan struct{} // while a ping of a caller is out
	pinger   *time.Timer

	// batch belongs to the holder of the sending token.
	batch batch
	small [4 << 10]byte // the reader's

	mu         sync.Mutex // guards what follows
	err        error      // why the session has ended
	loggingOut bool
	draining   bool          // no commands are taken, and a logout follows the last one
	drainTimer *time.Timer   // ends a session that drains for too long
	rest       time.Duration // that the target wants between its end and the next login
	cmdSN      iscsi.CmdSN   // of the next command
	maxCmdSN   iscsi.CmdSN
	expStatSN  iscsi.StatSN
	waiting    list // commands that were not admitted
	active     int  // command slots in use
	owed       int  // bytes that their commands are to read
	tasks      []task
	free       []uint16
	out        output
	finished   list // commands whose Done is to be called
	ownPing    bool // a ping of the session is out
	stats      Stats
}

// newSession starts a session on what a login left.
func newSession(cfg Config, l *link, o *iscsi.Originator) *Session {
	s := &Session{
		link: l, cfg: cfg, params: o.Outcome(), login: o, logged: time.Now(),
		ended: make(chan struct{}), done: make(chan struct{}),
		managing: make(chan struct{}, 1), pinging: make(chan struct{}, 1),
		cmdSN: o.CmdSN(), maxCmdSN: l.window, expStatSN: o.ExpStatSN(),
		tasks: make([]task, cfg.QueueDepth+requestSlots), free: make([]uint16, 0, cfg.QueueDepth+requestSlots),
	}
	for i := len(s.tasks) - 1; i >= 0; i-- {
		s.free = append(s.free, uint16(i))
	}
	_, plain := l.sock.(*plainSocket)
	s.wholeWrites = plain
	s.out.idle.L = &s.mu
	s.batch = batch{
		arena: make([]byte, 0, arenaSize), headerDigest: s.params.HeaderDigest, dataDigest: s.params.DataDigest,
		maxSend: s.params.MaxSend, tags: s.tag,
	}
	if cfg.Trace != nil {
		s.batch.trace = func(pdu []byte) {
			cfg.Trace(Traced{Sent: true, PDU: pdu, Local: l.conn.LocalAddr(), Remote: l.conn.RemoteAddr()})
		}
	}
	l.before, l.after = s.flush, s.cork
	s.startPings()
	go s.run()
	return s
}

// tag returns the tag of a slot for the sender, who has an item that keeps it
// in use.
func (s *Session) tag(slot int) iscsi.ITT { return s.tasks[slot].itt(slot) }

// Submit queues c, within the command window of the target and
// Config.QueueDepth in the order of the calls, and returns at once. Done may be
// called before it returns, where c can't be sent: c.Err wraps ErrDraining in a
// session whose target has asked for a logout.
func (s *Session) Submit(c *Command) {
	c.Status, c.Sense, c.Got, c.Residual, c.Err, c.Sent = 0, nil, 0, iscsi.Residual{}, nil, false
	c.slot = -1
	in, out := length(c.In), length(c.Out)
	if err := checkLengths(in, out); err != nil {
		c.Err = err
		c.Done(c)
		return
	}
	c.length = in + out
	s.mu.Lock()
	if s.err != nil || s.loggingOut || s.draining {
		c.Err = s.lost()
		s.mu.Unlock()
		c.Done(c)
		return
	}
	s.waiting.push(c)
	s.stats.Waiting++
	s.kick()
}

// checkLengths says whether a command can have so much data.
func checkLengths(in, out int) error {
	switch {
	case in > 0 && out > 0:
		return &UsageError{"a command has data in both directions, which is not served"}
	case in < 0 || out < 0 || in+out > MaxTransfer:
		return &UsageError{"a command has more than 2 GiB − 1 of data"}
	}
	return nil
}

// length returns the sum of the lengths of b, −1 past MaxTransfer.
func length(b [][]byte) int {
	n := 0
	for _, p := range b {
		if len(p) > MaxTransfer-n {
			return -1
		}
		n += len(p)
	}
	return n
}

// lost returns the error of a command that ends with the session, with s.mu
// held.
func (s *Session) lost() error {
	reason := s.err
	switch {
	case reason != nil:
	case s.draining:
		reason = ErrDraining
	default:
		reason = ErrClosed // it is logging out
	}
	return &LostError{Portal: s.cfg.Portal, Reason: reason}
}

// Err returns why the session ended or is ending, nil while it serves.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Done is closed when the session has ended: every command was given back, and
// Config.Lost was called.
func (s *Session) Done() <-chan struct{} { return s.done }

// Params returns what was negotiated.
func (s *Session) Params() iscsi.Params { return s.params }

// TPG returns the target's portal group tag; ok is false where it named none.
func (s *Session) TPG() (tag san.TPG, ok bool) { return s.login.TPG() }

// TSIH returns the target's handle of the session.
func (s *Session) TSIH() uint16 { return s.login.TSIH() }

// TargetAlias returns what the target calls itself for people, or "".
func (s *Session) TargetAlias() string { return s.login.TargetAlias() }

// Portal returns the host:port that the session is connected to, after
// redirections.
func (s *Session) Portal() string { return s.cfg.Portal }

// Instance returns the instance that the login named, and whether the target
// may have taken note of it: only then can it be fenced (docs/fence.md).
func (s *Session) Instance() (i san.Instance, noted bool) {
	return s.cfg.Instance, s.login.InstanceNoted()
}

// Stats are counters of a session.
type Stats struct {
	Commands          uint64        // answered, with whatever status
	BytesIn, BytesOut uint64        // of commands' data
	Waiting           int           // commands not yet sent
	Active            int           // commands with the target
	Window            int           // how many more the target lets in
	Ping              time.Duration // round trip of the last ping; 0 without one
	WireIn, WireOut   uint64        // bytes on the connection after the login
	PDUsIn, PDUsOut   uint64
	Reads, Writes     uint64 // batches of PDUs
}

// Stats returns the counters of the moment.
func (s *Session) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.stats
	v.Active, v.Window = s.active, int(int32(s.maxCmdSN-s.cmdSN))+1
	v.WireIn, v.WireOut, v.Reads = s.wireIn.Load(), uint64(s.handed.Load()), s.reads.Load()
	return v
}
