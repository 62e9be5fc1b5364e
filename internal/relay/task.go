package relay

import (
	"sync"
	"time"

	"sango/internal/bufpool"
	"sango/internal/defect"
	"sango/internal/lun"
	"sango/internal/relay/wire"
	"sango/internal/scsi"
)

// task is a command of a front at the owner.
type task struct {
	lun.Task
	taskState
}

type taskState struct {
	in    *inbound
	to    *remote
	tag   wire.Tag
	cost  int64
	seq   wire.Seq
	token uint64

	// The reader's, until it is admitted.
	total int // bytes of data-out
	got   int // of them

	// Guarded by the inbound's lock.
	gathering bool
	outcome   wire.Outcome

	at int // bytes of In that were put; the sender's
}

var tasks = sync.Pool{New: func() any { return new(task) }}

// free gives t and its buffers back. Nobody may know it any more.
func (t *task) free() {
	t.Task.Reset()
	t.taskState = taskState{}
	tasks.Put(t)
}

// maxOut bounds the data-out of one command, in bytes: more than a unit takes.
const maxOut = 64 << 20

// staleToken is the age of a token from which on it is worth a system call to
// ask whether the link still stands.
const staleToken = time.Second

// command takes a Command.
func (in *inbound) command(w *wire.Command) error {
	in.mu.Lock()
	t, err := in.admit(w)
	in.mu.Unlock()
	if err != nil {
		return err
	}
	if t.total == 0 {
		return in.complete(t)
	}
	return in.gather(t)
}

// admit makes a task of a command, within the credit of its nexus and its link.
// With the lock held.
func (in *inbound) admit(w *wire.Command) (*task, error) {
	cfg := &in.node.cfg
	r, cost := in.at(w.Handle), w.Cost()
	for int(w.Tag) >= len(in.tasks) && int(w.Tag) < cfg.Commands+cfg.Nexuses {
		in.tasks = append(in.tasks, nil)
	}
	switch {
	case r == nil || r.state == remoteWaiting:
		return nil, wire.Errorf("a %v for nexus %d, which is not open", wire.TypeCommand, w.Handle)
	case int(w.Tag) >= len(in.tasks):
		return nil, wire.Errorf("tag %d, of at most %d", w.Tag, cfg.Commands+cfg.Nexuses)
	case in.tasks[w.Tag] != nil:
		return nil, wire.Errorf("tag %d is in use", w.Tag)
	case w.Seq <= r.last:
		return nil, wire.Errorf("command %d of a nexus after %d", w.Seq, r.last)
	case w.Out > maxOut || w.Out > w.Expected || w.Out > 0 && w.Flags&wire.FlagWrite == 0:
		return nil, wire.Errorf("a %v with %d bytes of data-out", wire.TypeCommand, w.Out)
	case r.out > 0 && (r.out >= cfg.NexusCommands || r.bytes+cost > cfg.NexusBytes),
		r.out > 0 && (in.out >= cfg.Commands || in.bytes+cost > cfg.Bytes):
		return nil, wire.Errorf("a nexus has more outstanding than its credit")
	}
	r.last = w.Seq
	t := tasks.Get().(*task)
	t.in, t.to, t.tag, t.cost, t.seq, t.token, t.total = in, r, w.Tag, cost, w.Seq, w.Token, int(w.Out)
	t.gathering = true
	t.User = t
	t.LUN, t.CDB, t.Tag, t.Attr = r.key.lun.Field(), w.CDB, w.TaskTag, scsi.TaskAttr(w.Attr)
	t.Read, t.Write, t.Expected = w.Flags&wire.FlagRead != 0, w.Flags&wire.FlagWrite != 0, w.Expected
	t.Epoch, t.Ask, t.Call = r.epoch, lun.Ask(w.Ask), uint64(w.Seq)
	in.tasks[w.Tag] = t
	in.out, in.bytes = in.out+1, in.bytes+cost
	r.out, r.bytes = r.out+1, r.bytes+cost
	return t, nil
}

// dataOut takes a DataOut.
func (in *inbound) dataOut(tag wire.Tag) error {
	in.mu.Lock()
	var t *task
	if int(tag) < len(in.tasks) {
		t = in.tasks[tag]
	}
	if t == nil || !t.gathering {
		in.mu.Unlock()
		return wire.Errorf("a %v for command %d, which takes none", wire.TypeDataOut, tag)
	}
	in.mu.Unlock()
	if in.conn.in.unread == 0 {
		return wire.Errorf("a %v without data", wire.TypeDataOut)
	}
	return in.gather(t)
}

// gather takes the data of the frame at hand straight into buffers of t.
func (in *inbound) gather(t *task) error {
	c := in.conn
	n := c.in.unread
	if n > t.total-t.got {
		return wire.Errorf("more than the %d bytes of data-out that were announced", t.total)
	}
	if n > 0 {
		b := bufpool.Get(n)
		t.Out.Append(b)
		c.in.sink = append(c.in.sink[:0], b.B)
		err := c.readData(c.in.sink, n)
		clear(c.in.sink)
		if err != nil {
			return err
		}
		t.got += n
	}
	if t.got < t.total {
		return nil
	}
	return in.complete(t)
}

// complete hands t to its unit. Here its age counts: nothing that is older
// than MaxAge is let in (DESIGN R4 c), whatever kept it or its data. Its
// connection may have died meanwhile: the kernel delivers what came before that.
func (in *inbound) complete(t *task) error {
	now := in.node.stamp()
	age := time.Duration(int64(now)-int64(t.token)) * time.Microsecond
	if t.token > now {
		return wire.Errorf("a token that was not given yet")
	}
	if age > staleToken && in.conn.pipe.hungUp() && !defect.R4a {
		return errPeerGone
	}
	r := t.to
	r.gate.Lock()
	defer r.gate.Unlock()
	in.mu.Lock()
	t.gathering = false
	outcome := wire.Done
	switch {
	case t.seq <= r.tomb:
		outcome = wire.Aborted
	case r.moved:
		outcome = wire.Moved
	case r.state != remoteOpen:
		outcome = wire.Aborted
	case age > in.node.cfg.MaxAge && !defect.R4c:
		outcome = wire.Stale
	}
	if outcome != wire.Done {
		in.answer(t, outcome)
		in.conn.kick()
		return nil
	}
	in.mu.Unlock()
	t.Arrival = in.conn.in.now
	r.nexus.Admit(&t.Task)
	return nil
}

// cancel takes a Cancel. One that crossed with the response is nothing.
func (in *inbound) cancel(c wire.Cancel) error {
	in.mu.Lock()
	var t *task
	if int(c.Tag) < len(in.tasks) {
		t = in.tasks[c.Tag]
	}
	switch {
	case t == nil:
		in.mu.Unlock()
		return nil
	case t.gathering && c.Hasten: // it has not begun, and its data is on its way
		in.mu.Unlock()
		return nil
	case t.gathering: // no more of its data follows
		t.gathering = false
		in.answer(t, wire.Aborted)
		in.conn.kick()
		return nil
	}
	r, call := t.to, t.Call
	in.mu.Unlock()
	r.gate.Lock()
	defer r.gate.Unlock()
	switch {
	case c.Hasten:
		r.nexus.Hasten(call)
	default:
		r.nexus.Cancel(call)
	}
	return nil
}

// answer queues the response of t. With the lock held.
func (in *inbound) answer(t *task, o wire.Outcome) {
	t.outcome = o
	if in.conn.err != nil { // nobody hears it
		in.release(t)
		t.free()
		return
	}
	in.conn.queue = append(in.conn.queue, t)
}

// release gives tag and credit of t back. With the lock held.
func (in *inbound) release(t *task) {
	in.tasks[t.tag] = nil
	in.out, in.bytes = in.out-1, in.bytes-t.cost
	t.to.out, t.to.bytes = t.to.out-1, t.to.bytes-t.cost
}

// TaskDone implements lun.Transport.
func (r *remote) TaskDone(lt *lun.Task) {
	t, in := lt.User.(*task), r.in
	in.mu.Lock()
	switch {
	case t.Void: // nobody may be told how it ended
		in.conn.endLocked(errNoRight)
		in.answer(t, wire.Aborted)
	case t.Moved:
		in.answer(t, wire.Moved)
	case t.Aborted:
		in.answer(t, wire.Aborted)
	default:
		in.answer(t, wire.Done)
	}
	in.conn.kick()
}

// rest returns how many bytes of data-in are left to be put.
func (t *task) rest() int {
	if t.outcome != wire.Done || !t.Read {
		return 0
	}
	return t.In.Len() - t.at
}

// take implements carrier. Before its last frame leaves, the front may use its
// tag and credit again.
func (t *task) take() bool {
	if t.rest() <= wire.MaxData {
		t.in.release(t)
	}
	return true
}

// put implements carrier.
func (t *task) put(b *batch) bool {
	left := t.rest()
	n := min(left, wire.MaxData)
	if n < left {
		wire.Data{Tag: t.tag}.Put(b.head(wire.HeaderLen+wire.DataLen), wire.TypeDataIn, n)
	} else {
		r := wire.Response{Tag: t.tag, Outcome: t.outcome, Status: uint8(t.Status), Want: t.Want, DSense: t.DSense, In: uint32(t.at + n)}
		if t.outcome == wire.Done {
			r.Sense = t.Sense
		}
		r.Put(b.head(r.Len()), n)
	}
	b.list(&t.In, t.at, n)
	t.at += n
	return n < left
}

// sent implements carrier.
func (t *task) sent(more bool) bool {
	if !more {
		t.free()
	}
	return more
}
