package multipath

import "time"

// View is what Device.View tells: a snapshot for people and programs. Times
// are wall clock, durations as JSON in nanoseconds.
type View struct {
	Target     string      `json:"target"`
	LUN        uint16      `json:"lun"`
	Identity   Identity    `json:"identity"`
	Size       int64       `json:"size"` // bytes
	BlockSize  int         `json:"block_size"`
	ReadOnly   bool        `json:"read_only"`
	Policy     string      `json:"policy"`
	Fence      bool        `json:"fence"`        // writes are retried after a fence; else after the quiesce time
	Waiting    int         `json:"waiting"`      // requests that wait for a path
	Held       int         `json:"held"`         // writes that wait for a fence or the quiesce time
	NoPath     *time.Time  `json:"no_path"`      // since when no path serves; absent while one does
	Groups     []GroupView `json:"groups"`       // by id
	Paths      []PathView  `json:"paths"`        // in the order in which they were found
	Counters   Counters    `json:"counters"`     // since Open
	LastFence  *time.Time  `json:"last_fence"`   // the end of the last fence that succeeded
	LastResize *time.Time  `json:"last_resized"` // the last change of capacity
}

// GroupView is a target port group as the target reported it last.
type GroupView struct {
	ID        uint16 `json:"id"`
	State     string `json:"state"` // as in PathView.ALUA
	Preferred bool   `json:"preferred"`
	Active    bool   `json:"active"` // requests go to paths of it now
}

// PathView is one path.
type PathView struct {
	Portal   string        `json:"portal"`
	Tag      uint16        `json:"tag"`       // target portal group tag
	Group    uint16        `json:"group"`     // target port group
	RelPort  uint16        `json:"rel_port"`  // relative target port id
	State    string        `json:"state"`     // connecting, probing, active, marginal, failed, refused …
	ALUA     string        `json:"alua"`      // active/optimized …
	InFlight int           `json:"in_flight"` // commands
	Latency  time.Duration `json:"latency"`   // smoothed
	Bytes    uint64        `json:"bytes"`
	Commands uint64        `json:"commands"`
	Errors   uint64        `json:"errors"` // path failures
	Since    time.Time     `json:"since"`  // of State
	Error    string        `json:"error"`  // the last one
	Instance string        `json:"instance"`
	Noted    bool          `json:"noted"` // the target noted the instance, so that it can be fenced
}

// Counters count since Open.
type Counters struct {
	Reads         uint64 `json:"reads"`
	Writes        uint64 `json:"writes"`
	Retries       uint64 `json:"retries"`        // commands sent again
	PathFailures  uint64 `json:"path_failures"`  // sessions lost
	Fences        uint64 `json:"fences"`         // FENCE commands that succeeded
	Quiesces      uint64 `json:"quiesces"`       // quiesce times waited out
	UnitAttention uint64 `json:"unit_attention"` // conditions taken
	Failovers     uint64 `json:"failovers"`      // changes of the active group
	Expired       uint64 `json:"expired"`        // requests that waited too long for a path
}

// Identity is what makes a volume the same one through every path.
type Identity struct {
	Vendor      string   `json:"vendor"`
	Product     string   `json:"product"`
	Serial      string   `json:"serial"`      // VPD page 80h
	Designators []string `json:"designators"` // of the logical unit, VPD page 83h: "naa.…", "eui.…", "t10.…", "name.…"
}

// Limits is what one request may be at most to travel as one command. Longer
// ones are split by the device; a scheduler above does it better.
type Limits struct {
	MaxTransfer    int64 // bytes of a read or write
	OptimalIO      int64 // bytes; 0: not told
	MaxDiscard     int64 // bytes; 0: no discard
	DiscardAlign   int64 // bytes: granularity
	MaxWriteZeroes int64 // bytes; 0: none
	MaxAtomic      int64 // bytes; 0: none
}
