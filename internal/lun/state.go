package lun

import (
	"sync/atomic"
	"time"

	"sango/internal/block"
	"sango/internal/bufpool"
)

// phase is where a task is on its way. It is guarded by the lock of the
// task's itl.
type phase uint8

const (
	phaseNone      phase = iota // not admitted, or ended
	phaseGathering              // data-out is being gathered
	phaseHeld                   // complete, waits for older tasks of its nexus
	phaseEntered                // handed to the unit
)

// place is where in its unit a task is.
type place uint8

const (
	placeNone    place = iota // not handed to the unit, or ended, or apart
	placeDormant              // in the taskSet, waits for others
	placeStarted              // in the taskSet, executes or is queued for a worker
	placeDoor                 // waits at the door
	placeAway                 // with the owner
	placeFront                // executes on the gateway of the nexus, outside of the taskSet
)

// lockMode says how a task's range keeps others away.
type lockMode uint8

const (
	lockNone      lockMode = iota // no range
	lockShared                    // excludes overlapping lockExclusive: it tells nobody what it reads
	lockRead                      // excludes overlapping lockWrite and lockExclusive
	lockWrite                     // the same, and overlapping lockRead
	lockExclusive                 // excludes every other overlapping range
)

// extent is a range of bytes of the medium.
type extent struct{ off, end int64 }

// taskState is the device server's own part of a Task.
type taskState struct {
	cmd *command
	itl *itl

	phase  phase
	doomed bool        // its LUN is gone: it ends when its data-out is there
	killed atomic.Bool // aborted while it executed
	tas    bool        // killed by another nexus: it ends with TASK ABORTED
	// hastened: of a task that another gateway forwarded, whose LUN is gone there.
	hastened atomic.Bool
	// stop, unless nil, is closed when the task is killed, or its LUN is gone
	// (Task.stopped). It is guarded by the lock of the task's itl.
	stop chan struct{}

	parsed bool // the CDB is right but for what parse finds
	// patience is until when it waits for reservations to be settled; zero: it has
	// not met any that weren't.
	patience time.Time

	// mayBlock tells a handler whether it runs on a worker.
	mayBlock bool

	// What parse found in the CDB. need is the number of bytes of data-out that
	// the command uses if the host offers them; [off, end) is the range of bytes
	// it locks.
	need     int
	lock     lockMode
	off, end int64
	// parts, unless nil, are what it locks of that range.
	parts []extent
	// overflow keeps Want as the handler set it, although the command failed.
	overflow bool
	// For the families' own use between parse and run.
	lba    uint64
	blocks uint64
	arg    uint64

	streaming streaming

	prev, next *Task    // tasks of the itl, in order of admission
	fences     []*fence // who waits for the end of this task

	// Guarded by the lock of the unit's taskSet; place may be read by who
	// executes the task.
	uprev, unext *Task // tasks of the unit in the same place
	place        place
	turn         uint64 // of the door, when it went to the owner
	relay        Relay  // through which
	seq          uint64 // when it entered the unit, or came to its door
	startSeq     uint64 // when it started
	waits        int    // tasks of the unit that it waits for

	// grant makes this a part of an EXTENDED COPY: true is sent when it starts,
	// false when it has ended. It has room for one.
	grant chan bool

	qnext *Task // queue of a worker, or any other chain

	req block.Request
}

// span notes that the command locks n bytes at off.
func (t *Task) span(mode lockMode, off, n int64) {
	if n > 0 {
		t.lock, t.off, t.end = mode, off, off+n
	}
}

// room returns how many bytes of data-in the host takes at most.
func (t *Task) room() int {
	if !t.Read {
		return 0
	}
	return int(t.Expected)
}

// reply makes data the data-in of t: cut to the allocation length of the CDB,
// which sets Want, and to what the host expects.
func (t *Task) reply(data []byte, alloc int) {
	data = data[:min(len(data), alloc)]
	t.Want = uint64(len(data))
	data = data[:min(len(data), t.room())]
	for len(data) > 0 {
		b := bufpool.Get(min(len(data), bufpool.MaxPooled))
		n := copy(b.B, data)
		data = data[n:]
		t.In.Append(b)
	}
}

// outBytes returns the data-out of t in one piece, at most max bytes of it;
// for parameter lists.
func (t *Task) outBytes(max int) []byte {
	vec := t.Out.Vec()
	if len(vec) == 1 {
		return vec[0][:min(len(vec[0]), max)]
	}
	b := make([]byte, 0, min(t.Out.Len(), max))
	for _, v := range vec {
		b = append(b, v[:min(len(v), max-len(b))]...)
	}
	return b
}

// Reset makes t ready for reuse: its buffers are released, everything else is
// zeroed. The transport calls it after the response was sent.
func (t *Task) Reset() {
	t.Out.Release()
	t.In.Release()
	out, in, vec := t.Out, t.In, t.streaming.vec
	clear(vec)
	*t = Task{Out: out, In: in}
	t.streaming.vec = vec[:0]
}
