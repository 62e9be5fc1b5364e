package san

import (
	"net/netip"
	"time"
)

// Block sizes that a volume may have, in bytes.
const (
	BlockSize512  = 512
	BlockSize4096 = 4096
)

// MaxVolumeSize is the largest volume, in bytes (64 TiB).
const MaxVolumeSize = 64 << 40

// The drivers of volumes.
const (
	DriverLayered = "layered" // files in the node's directory
	DriverMem     = "mem"     // memory: gone when the process ends
)

// Volume is a block address space and how hosts see it. The bytes live in its
// driver; this is its record in the metadata store.
type Volume struct {
	ID            UUID      `json:"id"`
	Name          string    `json:"name"`
	Driver        string    `json:"driver"`         // "layered" or "mem"
	Size          int64     `json:"size"`           // bytes, a multiple of BlockSize
	BlockSize     int       `json:"block_size"`     // bytes: 512 or 4096
	PhysicalBlock int       `json:"physical_block"` // bytes, ≥ BlockSize
	ReadOnly      bool      `json:"read_only,omitempty"`
	Removable     bool      `json:"removable,omitempty"`
	Adopted       string    `json:"adopted,omitempty"` // raw file or device used as the lowest layer
	NAA           uint64    `json:"naa"`               // locally assigned NAA (type 3), unique in the store
	Created       time.Time `json:"created"`
	// Fencing says what keeps a gateway that is gone from writing to it; empty:
	// what its driver can do.
	Fencing Fencing `json:"fencing,omitempty"`
	// Prefer are the names of the gateways that are to serve it, the best first.
	Prefer []string `json:"prefer,omitempty"`
}

// Fencing is how the writes of a gateway that is gone are shut out of a volume
// before another one serves it (docs/cluster-model.md).
type Fencing string

// The ways of fencing.
const (
	FenceNone    Fencing = "none"    // not at all: a person has to confirm that the gateway is off
	FenceDriver  Fencing = "driver"  // the driver does it when the volume is opened
	FenceCommand Fencing = "command" // the operator's command turns the gateway off
)

// Target is an iSCSI target and its LUN map.
type Target struct {
	Name  string          `json:"name"` // IQN
	LUNs  map[LUN]Mapping `json:"luns,omitempty"`
	Hosts []string        `json:"hosts,omitempty"` // names of hosts that may log in; empty: see Open
	Open  bool            `json:"open,omitempty"`  // any initiator may log in (demo)
	Auth  []CHAP          `json:"auth,omitempty"`  // accounts, any of which an Open target accepts; empty: no authentication
	// Explicit lets hosts ask for the gateway that serves a volume (explicit
	// ALUA), in a cluster.
	Explicit bool `json:"explicit_alua,omitempty"`
}

// Mapping puts a volume at a LUN of a target.
type Mapping struct {
	Volume UUID     `json:"volume"`
	Hosts  []string `json:"hosts,omitempty"` // names of hosts that see it; empty: every host of the target
}

// CHAP is one or two CHAP accounts (RFC 7143 §12.1). Secrets are 12 bytes or
// longer.
type CHAP struct {
	User         string `json:"user"`
	Secret       string `json:"secret"`
	MutualUser   string `json:"mutual_user,omitempty"` // what the target answers as
	MutualSecret string `json:"mutual_secret,omitempty"`
}

// Host is a machine that consumes volumes.
type Host struct {
	Name    string         `json:"name"`
	IQN     string         `json:"iqn"`
	Allowed []netip.Prefix `json:"allowed,omitempty"` // source addresses; empty: any
	Auth    []CHAP         `json:"auth,omitempty"`    // accounts, any of which lets the host in; empty: no authentication asked
}
