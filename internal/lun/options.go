package lun

import (
	"log/slog"

	"sango/internal/san"
	"sango/internal/scsi/alua"
)

// The names under which a unit keeps state in its UnitStore.
const (
	StateReservations = "reservations" // the record of persistent reservations (APTPL)
	StateModePages    = "mode-pages"   // saved mode pages
	StateSanitize     = "sanitize"     // a sanitize operation that runs or failed
)

// UnitStore keeps what a logical unit must remember across restarts. Values
// are opaque; names are the State constants.
type UnitStore interface {
	// Load returns what was saved under name, nil if nothing was.
	Load(name string) ([]byte, error)
	// Save keeps b under name, durably and in place of what was there; nil
	// forgets it. It may block. When it returns an error the outcome is unknown:
	// the caller must not go on as if either value were there.
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
	// Tasks bounds the tasks in the unit's task set: past it, BUSY.
	Tasks int
	// TasksPerNexus bounds the tasks of one nexus: past it, TASK SET FULL.
	TasksPerNexus int
	// Workers bounds the goroutines that execute blocking commands. Fewer than
	// copies and one other command need are taken for that many.
	Workers int
	// Background is the rate of background work (sanitize, copy), in bytes a
	// second (DESIGN §7); 0 means 200 MB/s.
	Background int64
	// Epoch is the one under which the volume was opened (DESIGN R2); 0 where
	// ownership is not shared.
	Epoch san.Epoch
	// Boot identifies the boot of the machine that holds what is cached of the
	// volume (docs/fence.md); zero: not told.
	Boot   san.UUID
	Logger *slog.Logger // nil: slog.Default()
}

func (o UnitOptions) withDefaults() UnitOptions {
	if o.Tasks <= 0 {
		o.Tasks = DefaultTasks
	}
	if o.TasksPerNexus <= 0 {
		o.TasksPerNexus = DefaultTasksPerNexus
	}
	if o.Workers <= 0 {
		o.Workers = DefaultWorkers
	}
	// A copy holds its worker while it waits for commands of its units: one more
	// executes those.
	o.Workers = max(o.Workers, maxCopies+1)
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
	// SET TARGET PORT GROUPS of n ends up here. It applies the changes, by
	// SetPortGroups, or tells why it refuses, before it returns; it may block.
	// Off by default: hosts would override what the cluster decided (DESIGN R1).
	SetGroups func(n *Nexus, changes []alua.Change) error
	Logger    *slog.Logger // nil: slog.Default()
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
