package attach

import (
	"time"

	"sango/internal/multipath"
)

// The frontends.
const (
	AsUblk   = "ublk"   // a kernel disk /dev/ublkbN
	AsNBD    = "nbd"    // a kernel disk /dev/nbdN
	AsSocket = "socket" // an NBD server on a unix socket, or on TCP
)

// Info is what is told when an attachment serves, and what the ready file
// holds.
type Info struct {
	Name      string `json:"name"`
	Device    string `json:"device,omitempty"` // path of the kernel disk
	Socket    string `json:"socket,omitempty"` // path of the NBD server's socket
	Listen    string `json:"listen,omitempty"` // address of the NBD server on TCP
	Size      int64  `json:"size"`             // bytes
	BlockSize int    `json:"block_size"`
	PID       int    `json:"pid"`
}

// Phase is where an attachment is in its life.
type Phase string

// The phases.
const (
	PhaseOpening  Phase = "opening" // no path served yet, or the disk is not there
	PhaseServing  Phase = "serving"
	PhaseStopping Phase = "stopping"
	PhaseDead     Phase = "dead" // its process died; what it left waits for the next one
)

// Status is what an attachment is and does: GET /status.
type Status struct {
	Info
	Source    string          `json:"source"`
	As        string          `json:"as"`
	Phase     Phase           `json:"phase"`
	Version   string          `json:"version,omitempty"`
	Started   time.Time       `json:"started"` // of the process
	Recovered bool            `json:"recovered"`
	ReadOnly  bool            `json:"read_only"`
	Initiator string          `json:"initiator,omitempty"`
	Settings  string          `json:"settings,omitempty"` // Options.Settings
	IO        map[string]IO   `json:"io,omitempty"`       // by operation
	Multipath *multipath.View `json:"multipath,omitempty"`
}

// IO is what was counted of one operation.
type IO struct {
	Requests uint64        `json:"requests"`
	Bytes    uint64        `json:"bytes"`
	Errors   uint64        `json:"errors"`
	Latency  time.Duration `json:"latency"` // mean, nanoseconds
}
