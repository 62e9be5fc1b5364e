package lun

import (
	"log/slog"
	"time"

	"sango/internal/san"
	"sango/internal/scsi/alua"
)

// The names under which a unit keeps state in its UnitStore.
const (
	StateReservations = "reservations" // the record of persistent reservations (APTPL)
	StateModePages    = "mode-pages"   // saved mode pages
	StateSanitize     = "sanitize"     // a sanitize operation that runs or failed
	StateHandover     = "handover"     // what is not saved, at a planned move
	StateLost         = "lost"         // who was told that a flush had failed
)

// UnitStore keeps what a logical unit must remember across restarts. Values
// are opaque; names are the State constants.
type UnitStore interface {
	// Load returns what was saved under name, nil if nothing was.
	Load(name string) ([]byte, error)
	// Save keeps b under name, durably and in place of what was there; nil
	// forgets it. It may block. When it returns an error the outcome is unknown:
	// the caller must not go on as if either value were there. It is decided by a
	// Save that succeeds. Where gateways take turns ErrMoved and san.ErrRefused say
	// that it was not saved, and won't be; but where one before had an unknown
	// outcome san.ErrRefused may say that this was made only now, which Load tells.
	Save(name string, b []byte) error
}

// Limits that hold where options are zero.
const (
	DefaultTasks         = 1024 // tasks of one unit
	DefaultTasksPerNexus = 512  // tasks of one nexus at one unit
	DefaultWorkers       = 16   // goroutines of one unit that may block
	DefaultNexuses       = 1024 // nexuses of one target
)

// UnitOptions configure a unit.
type UnitOptions struct {
	// Tasks bounds the tasks in the unit's task set, up to 65535: past it, BUSY.
	Tasks int
	// TasksPerNexus bounds the tasks of one nexus: past it, TASK SET FULL.
	TasksPerNexus int
	// Workers bounds the goroutines that execute blocking commands. Fewer than
	// copies and one other command need are taken for that many.
	Workers int
	// Background is the rate of background work (sanitize, copy), in bytes a
	// second (DESIGN §7); 0 means 200 MB/s.
	Background int64
	// Shared: gateways take turns in serving the volume. The unit serves when it
	// is told to, and what it holds of reservations is what the store has: the
	// unit does not lose power when its owner does.
	Shared bool
	// Epoch is the one under which the volume was opened (DESIGN R2), unless
	// Shared.
	Epoch san.Epoch
	// Right reports whether this gateway has the right to serve (DESIGN R3); nil:
	// it always has. It is called for each write and each GOOD: it must be fast.
	Right func() bool
	// Failed, unless nil, is told why a command failed whose device serves nothing
	// until it is opened again (block.Failed), and reports whether that is under
	// way. Hosts are to ask again then, and learn of what may be lost by
	// block.Info.Lost. It is called for each such command, and must not wait for any.
	Failed func(why error) (reopens bool)
	// Transition is how long hosts are told that an implicit transition of a port
	// group may take, in whole seconds up to 255; 0 means 30 s.
	Transition time.Duration
	// Boot identifies the boot of the machine that holds what is cached of the
	// volume (docs/fence.md); zero: not told.
	Boot   san.UUID
	Logger *slog.Logger // nil: slog.Default()
}

func (o UnitOptions) withDefaults() UnitOptions {
	if o.Tasks <= 0 {
		o.Tasks = DefaultTasks
	}
	o.Tasks = min(o.Tasks, maxLocking)
	if o.TasksPerNexus <= 0 {
		o.TasksPerNexus = DefaultTasksPerNexus
	}
	if o.Workers <= 0 {
		o.Workers = DefaultWorkers
	}
	// A copy holds its worker while it waits for commands of its units: one more
	// executes those.
	o.Workers = max(o.Workers, maxCopies+1)
	if o.Transition <= 0 {
		o.Transition = 30 * time.Second
	}
	if o.Background <= 0 {
		o.Background = 200_000_000
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

// TargetOptions configure a target.
type TargetOptions struct {
	// Nexuses bounds the nexuses: past it, Attach fails.
	Nexuses int
	// SetGroups, unless nil, makes the target offer explicit ALUA (TPGS = 3):
	// SET TARGET PORT GROUPS of n for u ends up here. It applies the changes, by
	// Unit.SetPortGroups, or tells why it refuses, before it returns; it may block.
	// san.ErrRefused: it was asked too often. A host that is refused is told so
	// (05/67/0A) and goes on with the states as they are.
	// Off by default: hosts would override what the cluster decided (DESIGN R1).
	SetGroups func(n *Nexus, u *Unit, changes []alua.Change) error
	// Fresh, unless nil, calls done when all that the cluster had decided before
	// it was asked is in effect here, or with false if nobody can say: REPORT
	// TARGET PORT GROUPS is answered after it, or the session dropped (DESIGN R5).
	// It must not block; done may be called before it returns.
	Fresh  func(done func(ok bool))
	Logger *slog.Logger // nil: slog.Default()
}

func (o TargetOptions) withDefaults() TargetOptions {
	if o.Nexuses <= 0 {
		o.Nexuses = DefaultNexuses
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}
