package target

import (
	"sync"

	"sango/internal/iscsi"
	"sango/internal/lun"
	"sango/internal/scsi"
)

// maxR2T bounds Config.OutstandingR2T.
const maxR2T = 8

// task is one SCSI command of a connection, around the device server's view
// of it.
type task struct {
	lun.Task
	state
}

// state is the engine's part of a task.
type state struct {
	// Set when the command was parsed.
	conn      *conn
	itt       iscsi.ITT
	cmdSN     iscsi.CmdSN
	immediate bool
	reserved  int64 // bytes taken from the budgets

	// Guarded by conn.mu.
	held     bool // the reader uses it: TaskDone leaves it alone
	done     bool // TaskDone came, or the command was refused
	trailing bool // unsolicited Data-Out PDUs are still to come (no F bit yet)

	// The reader's.
	early     bool  // it is held back by the command window
	gathering bool  // Ready and Fail were not called yet
	burst     burst // the unsolicited one; its start is the end of the immediate data
	r2t       [maxR2T]burst
	r2ts      int                  // entries of r2t in use, in the order in which they were sent
	asked     int                  // bytes of Out that came unsolicited or were asked for
	fault     *scsi.CheckCondition // how the command ends once all the data it announced has come
	full      scsi.Status          // not GOOD: there was no memory for it, and its data was thrown away
	bidi      uint32               // bidirectional read length, which no command uses

	// The sender's, and before it was queued the reader's.
	r2tSN  iscsi.DataSN
	dataSN iscsi.DataSN
	sent   int // bytes of In
}

// burst is a sequence of Data-Out PDUs that is expected: the unsolicited one
// of a command, or that of an R2T.
type burst struct {
	ttt    iscsi.TTT
	next   int // offset of the next PDU's data, bytes
	end    int // offset of the end of the burst
	dataSN iscsi.DataSN
}

// owed reports whether data is still to come that the response of t, which is
// done, must not overtake. Call with conn.mu, of a task that is not held or from
// the reader.
func (t *task) owed() bool { return t.trailing || t.r2ts > 0 }

var tasks = sync.Pool{New: func() any { return new(task) }}

// newTask returns a task that only the caller knows.
func (c *conn) newTask(p *iscsi.SCSICommand) *task {
	t := tasks.Get().(*task)
	t.conn, t.itt, t.cmdSN, t.immediate = c, p.ITT, p.CmdSN, p.Immediate
	t.User = t
	t.LUN, t.Tag, t.CDB, t.Attr = p.LUN, uint32(p.ITT), p.CDB, scsi.TaskAttr(p.Attr)
	t.Read, t.Write, t.Expected = p.Read, p.Write, p.ExpectedLen
	t.Arrival = c.in.pduArrival
	t.trailing = !p.Final
	return t
}

// free gives the task, its buffers and its share of the budgets back. Nobody
// may know the task any more.
func (t *task) free() {
	c := t.conn
	if t.reserved > 0 {
		c.memory.give(t.reserved)
		c.host.memory.give(t.reserved)
		c.srv.memory.give(t.reserved)
	}
	t.Task.Reset()
	t.state = state{}
	tasks.Put(t)
}

// charge takes n bytes from the budgets even past their limits: for what was
// larger than it could be estimated.
func (t *task) charge(n int64) {
	if n > 0 {
		t.conn.memory.used.Add(n)
		t.conn.host.memory.used.Add(n)
		t.conn.srv.memory.used.Add(n)
		t.reserved += n
	}
}

// reserve takes n bytes from the budgets of the connection, the host and the
// server, or says how the command has to end for lack of them: TASK SET FULL
// when its own connection holds too much, BUSY when several of them together
// do. A connection that holds nothing for other commands may exceed its own
// limit, so that no command is too large for ever.
func (t *task) reserve(n int64) scsi.Status {
	c := t.conn
	switch {
	case n <= 0:
		return scsi.Good
	case c.memory.take(n):
	case c.memory.used.Load() > t.reserved:
		return scsi.TaskSetFull
	default:
		c.memory.used.Add(n)
	}
	if !c.host.memory.take(n) {
		c.memory.give(n)
		return scsi.Busy
	}
	if !c.srv.memory.take(n) {
		c.host.memory.give(n)
		c.memory.give(n)
		return scsi.Busy
	}
	t.reserved += n
	return scsi.Good
}
