package lun

import (
	"time"

	"sango/internal/bufpool"
	"sango/internal/san"
	"sango/internal/scsi"
)

// Task is one SCSI command on its way through the server. The transport makes
// (and may pool) it, fills the first group of fields and calls Nexus.Admit;
// from then until Transport.TaskDone it belongs to the device server, apart
// from Out and Arrival while OutLen bytes are being gathered.
type Task struct {
	// Filled by the transport before Admit.

	LUN      [8]byte       // as in the PDU
	Tag      uint32        // the initiator task tag: unique among the nexus' tasks
	CDB      [16]byte      // zero past the command's length
	Attr     scsi.TaskAttr // task attribute
	Read     bool          // the host expects data-in
	Write    bool          // the host offers data-out
	Expected uint32        // bytes the host expects to move, of whichever direction
	Arrival  time.Time     // of the last that came of it, with its data-out (DESIGN R4 b): monotonic
	User     any           // the transport's own

	// Set by the unit when the task starts, or is handed to a Relay: the epoch
	// of the ownership under which it executes (DESIGN R2). Filled by who
	// forwarded a task to the owner, before Remote.Admit: that which it counts on.
	Epoch san.Epoch
	// Set by the unit for a Relay: what the owner is asked, and a number by which
	// to cancel it. Filled before Remote.Admit.
	Ask  Ask
	Call uint64

	// Set by Admit: the bytes of data-out that the command will use, at most
	// Expected. The transport appends exactly these to Out, then calls Ready.
	// With 0 there is no data phase and Ready must not be called.
	OutLen int
	Out    bufpool.List

	// The outcome, valid at TaskDone.

	Status scsi.Status
	// Sense is sense data in the format the nexus is to get; empty unless Status
	// is CHECK CONDITION.
	Sense []byte
	// In is data-in, already cut to Expected. The transport releases it.
	In bufpool.List
	// Want is the number of bytes that the command would move if the host's
	// Expected were no limit: Want > Expected is a residual overflow of
	// Want − Expected, Want < Expected an underflow of Expected − Want.
	Want uint64
	// Aborted: the task ended through task management of its own nexus, or the
	// loss of it; the transport sends no response for it. One that another nexus
	// aborted ends with TASK ABORTED, but for TAS = 0 (SAM-5 §5.6).
	Aborted bool
	// Void, with Aborted: the gateway has no right to answer any more (DESIGN R3),
	// or the task was too old to be executed. Transport.Drop was called.
	Void bool
	// DSense is D_SENSE of the unit as the task ended, of one that another gateway
	// forwarded.
	DSense bool
	// Moved: a task that another gateway forwarded was not executed, since the
	// ownership that it counted on is over.
	Moved bool

	nexus    *Nexus
	unit     *Unit
	senseBuf [scsi.MaxSense]byte
	taskState
}

// Fencer is what a Transport is besides, if it can end sessions of its
// initiator for good (docs/fence.md).
type Fencer interface {
	// Fencing returns what VPD page C0h tells, but for what is the unit's.
	Fencing() scsi.SangoPage
	// Fence ends the other sessions of the initiator name that l names, and
	// those of logins under way, and calls done when none of their tasks can
	// touch any medium any more, or with false when stop was closed before that:
	// then at once, for those that ended may wait for it; or where it can't be
	// found out, and the command is to be sent again. It reports false, and nothing
	// is done, if too many fences wait already. It must not block; done is called
	// once, from any goroutine.
	Fence(l scsi.FenceList, stop <-chan struct{}, done func(bool)) bool
}

// Corker is what a Transport is besides, if the answers of several tasks can go
// out together. Between Cork and Uncork those of tasks that end may wait; it is
// a moment, in which nobody waits for anything. Each Cork has its Uncork; those
// of several goroutines may overlap.
type Corker interface {
	Cork()
	Uncork()
}

// Deferrer is what a Transport is besides, if a reader takes what its host sends,
// often much at a time.
type Deferrer interface {
	// Defer has f called, once, as soon as the reader has taken what there is and
	// before it waits for more, and reports true; or it reports false, while nobody
	// reads, and f is not called. What the tasks of a nexus cause goes together so.
	// The caller holds no lock that f takes.
	Defer(f func()) bool
}

// Transport is what carries the tasks of one nexus.
type Transport interface {
	// TaskDone hands a task back with its outcome. It is called exactly once
	// per admitted task, from any goroutine, possibly before Admit or Ready
	// returns, and must not block. When it is called the task can no longer
	// touch the medium. With Aborted, or TASK ABORTED, it may come while data-out
	// is being gathered: Out stays the transport's until it calls Reset, and a Ready or
	// Fail that it crosses does nothing.
	TaskDone(*Task)
	// Drop asks the transport to end the session (TARGET COLD RESET, or the
	// host's access was withdrawn). It must not block; Nexus.Detach follows.
	Drop(reason string)
}
