package initiator

import (
	"sync"

	"sango/internal/iscsi"
)

// output is the queue of what is to be sent besides commands, which wait in
// Session.waiting for the command window. It is guarded by Session.mu.
type output struct {
	queue   []item
	corked  bool // the reader will flush: leave it to the reader
	sending bool // the sending token is taken
	pongs   int  // answers to pings that are queued or being sent
	idle    sync.Cond
}

// maxPongs bounds the answers to pings. A target that pings and does not read
// the answers is dropped there.
const maxPongs = 256

// admitAtOnce bounds the commands that one batch lets in.
const admitAtOnce = 256

// itemKind is what an item sends.
type itemKind uint8

const (
	sendHeader  itemKind = iota // a PDU of a header alone
	sendCommand                 // a command with its immediate data
	sendBurst                   // the Data-Out PDUs of one burst
)

// item is one entry of the queue.
type item struct {
	kind itemKind
	pong bool
	refs bool // counts in task.refs
	slot int
	h    iscsi.BHS // sendHeader, sendCommand
	// The bytes of Out to send: [at, end). In a burst with the lun and tag of
	// its R2T.
	at, end int
	lun     [8]byte
	ttt     iscsi.TTT
	dataSN  iscsi.DataSN
	start   int64 // position of a command's header in what is sent
	out     [][]byte
}

// post queues a PDU of a header alone, with s.mu held. The caller kicks.
func (s *Session) post(h *iscsi.BHS, pong bool) {
	s.out.queue = append(s.out.queue, item{kind: sendHeader, h: *h, pong: pong})
}

// kick unlocks s.mu and sends what there is to send, unless somebody else
// will. It does not wait.
func (s *Session) kick() {
	if s.out.corked || s.out.sending || s.err != nil || !s.ready() {
		s.mu.Unlock()
		return
	}
	s.out.sending = true
	s.mu.Unlock()
	s.send()
}

// ready reports whether something can be sent, with s.mu held.
func (s *Session) ready() bool { return len(s.out.queue) > 0 || s.admits() }

// admits reports whether the next command that waits may go.
func (s *Session) admits() bool {
	return s.waiting.head != nil && s.active < s.cfg.QueueDepth && !s.loggingOut && !s.maxCmdSN.Before(s.cmdSN)
}

// cork makes the reader the one who sends.
func (s *Session) cork(n int) {
	s.heard(n)
	s.mu.Lock()
	s.out.corked = true
	s.mu.Unlock()
}

// flush sends what is queued, from the reader, and reports whether to poll for
// what comes next.
func (s *Session) flush() (eager bool) {
	s.mu.Lock()
	s.out.corked = false
	eager = s.eager()
	s.kick()
	return eager
}

// A reader polls for its next answer before it waits where few commands are
// under way, since it is their latency that counts then, and where each brings
// much data, which is read as it comes. At other loads it loses by that: the
// later it looks, the more is there, and the target may need the processor.
const (
	eagerCommands = 2
	eagerData     = 128 << 10 // bytes to be read, on average of all commands
)

// eager reports whether to poll for the next answer, with s.mu held. An idle
// session never does.
func (s *Session) eager() bool {
	n := s.active + s.stats.Waiting
	return n > 0 && (n <= eagerCommands || s.owed/n >= eagerData)
}

// sendRounds bounds the batches that a goroutine sends for others before it
// hands the token on.
const sendRounds = 8

// send sends until nothing is left. The caller holds the sending token and
// loses it. What would block goes on in a goroutine, which the end of the
// session waits for by the token.
func (s *Session) send() {
	for range sendRounds {
		if !s.sendBatch(false) {
			return
		}
		if s.batch.pending() {
			break // the socket takes no more for now
		}
	}
	go func() {
		for s.sendBatch(true) {
		}
	}()
}

// sendBatch writes the batch, or makes the next one and writes that. It
// returns false when the token was given up: nothing was left, or the session
// has ended.
func (s *Session) sendBatch(wait bool) bool {
	b := &s.batch
	if !b.pending() {
		s.mu.Lock()
		if s.err != nil || len(b.items) == 0 && !s.take() {
			s.out.sending = false
			s.out.idle.Broadcast()
			s.mu.Unlock()
			return false
		}
		s.skip()
		s.mu.Unlock()
		b.format()
		s.began()
	}
	for b.pending() {
		if s.wholeWrites {
			s.handed.Store(b.total) // whatever an error says, it may be on its way
		}
		n, err := s.sock.write(b.vec[b.at:], wait)
		if !s.wholeWrites {
			s.handed.Add(int64(n))
		}
		if err != nil {
			s.fail(err)
			s.mu.Lock()
			s.out.sending = false
			s.out.idle.Broadcast()
			s.mu.Unlock()
			return false
		}
		if n == 0 {
			return true
		}
		b.wrote(n)
	}
	s.settle()
	return true
}

// take makes items of the next batch, with s.mu held, from the queue and the
// commands that wait. It reports whether there are any.
func (s *Session) take() bool {
	b := &s.batch
	b.items, s.out.queue = s.out.queue, b.items[:0]
	for n := 0; n < batchBytes && len(b.items) < admitAtOnce && s.admits(); {
		n += s.admit(s.waiting.pop())
	}
	b.expStatSN = s.expStatSN
	return len(b.items) > 0
}

// admit makes a task of c, with s.mu held, and returns how many bytes of data
// go with it.
func (s *Session) admit(c *Command) int {
	t, slot := s.allot(scsiTask)
	s.active++
	if len(c.In) > 0 {
		s.owed += c.length
	}
	s.stats.Waiting--
	c.slot = slot
	t.cmd, t.cmdSN, t.expected = c, s.cmdSN, c.length
	t.write = len(c.Out) > 0 && c.length > 0
	immediate, unsolicited := 0, 0
	if t.write {
		first := min(c.length, int(s.params.FirstBurstLength))
		if s.params.ImmediateData {
			immediate = min(first, s.params.MaxSend)
		}
		if !s.params.InitialR2T {
			unsolicited = first - immediate
		}
		t.asked = immediate + unsolicited
		s.stats.BytesOut += uint64(c.length)
	}
	p := iscsi.SCSICommand{
		Final: unsolicited == 0, Write: t.write, Read: !t.write && c.length > 0, Attr: iscsi.Attr(c.Attr), DataLen: immediate,
		LUN: c.LUN, ITT: t.itt(slot), ExpectedLen: uint32(c.length), CmdSN: s.cmdSN, ExpStatSN: s.expStatSN, CDB: c.CDB,
	}
	s.cmdSN++
	it := item{kind: sendCommand, slot: slot, end: immediate, refs: immediate > 0, out: c.Out}
	p.Put(&it.h)
	if it.refs {
		t.refs++
	}
	s.batch.items = append(s.batch.items, it)
	if unsolicited > 0 {
		t.refs++
		s.batch.items = append(s.batch.items, item{
			kind: sendBurst, refs: true, slot: slot, lun: c.LUN, ttt: iscsi.NoTTT, at: immediate, end: immediate + unsolicited, out: c.Out,
		})
	}
	return immediate + unsolicited
}

// skip leaves out the data of commands that were answered meanwhile, with s.mu
// held: the target has no use for it, and no tag.
func (s *Session) skip() {
	b := &s.batch
	for i := range b.items {
		it := &b.items[i]
		if it.kind == sendBurst && s.tasks[it.slot].answered {
			it.end = it.at
		}
	}
}

// began notes what was encoded, before it is written: the target may answer it
// from now on.
func (s *Session) began() {
	b := &s.batch
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range b.items[:b.encoded] {
		it := &b.items[i]
		t := &s.tasks[it.slot]
		switch {
		case it.kind == sendCommand:
			t.begun, t.start = true, it.start
		case it.kind == sendBurst && it.ttt != iscsi.NoTTT:
			t.r2ts--
		}
	}
	s.stats.PDUsOut += uint64(b.pdus)
	s.stats.Writes++
	b.pdus = 0
}

// settle lets go of what was sent.
func (s *Session) settle() {
	b := &s.batch
	s.mu.Lock()
	for i := range b.items[:b.encoded] {
		it := &b.items[i]
		if it.pong {
			s.out.pongs--
		}
		if it.refs {
			t := &s.tasks[it.slot]
			t.refs--
			if t.answered && t.refs == 0 {
				s.finish(t, it.slot)
			}
		}
	}
	b.reset()
	done := s.finished
	s.finished = list{}
	s.mu.Unlock()
	done.callDone()
}
