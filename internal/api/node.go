package api

import (
	"context"
	"io"
	"time"

	"sango/internal/meta"
	"sango/internal/san"
)

// Base is what the server needs of every node, also of a witness, which keeps
// metadata and serves no volumes.
type Base interface {
	// Meta is the node's metadata.
	Meta() *meta.Store
	// Status describes the node.
	Status(ctx context.Context) (Status, error)
	// Cluster is what it needs where several gateways serve together; nil: this
	// one serves alone.
	Cluster() Cluster
}

// Applied is the revision to wait for in Node.Sync after a change that takes
// nothing away.
const Applied = -1

// Node is what the server needs of a gateway.
type Node interface {
	Base
	// Sync returns when every change of the metadata that was made before the
	// call is applied: LUNs appear or are gone, hosts have been told, sessions that
	// lost their right are let do nothing more; and when what the change of revision
	// own (0: all of them; Applied: none) took away has ended, tasks that were under
	// way with it. These end when their store likes, and who changes something else
	// must not wait for that.
	Sync(ctx context.Context, own int64) error
	// Sessions lists the sessions of hosts on this node.
	Sessions() []Session
	// Volumes does what concerns the bytes of volumes.
	Volumes() Volumes
}

// Status is the state of a node.
type Status struct {
	Gateway    string
	Version    string
	Dir        string
	Draining   bool
	Waiting    []string // gateways of the node that have no right to serve now
	Started    time.Time
	StoreFree  int64    // bytes of the filesystem that holds the volumes
	StoreSize  int64    // bytes
	DirFree    int64    // bytes of the one that holds Dir, where that is another one
	DirSize    int64    // bytes
	Problems   []string // what is wrong, and what to do
	ClockJumps int
}

// Session is one session of a host.
type Session struct {
	Target    string
	Initiator san.InitiatorPort
	Host      string // name; empty: not a known host
	Remote    string // ip:port
	TPG       san.TPG
}

// Volumes changes volumes together with their bytes. Errors carry a kind of
// package san. Names have been checked for their form only.
type Volumes interface {
	// Create makes an empty volume, or one over v.Adopted, from the fields that
	// a person chooses; it fills in the others. Size 0 with Adopted is what is
	// there.
	Create(ctx context.Context, v *san.Volume) error
	// Usage tells what a volume takes.
	Usage(v *san.Volume) (Usage, error)
	// Jobs lists the background work by volume.
	Jobs() map[san.UUID]Job
	Resize(ctx context.Context, name string, size int64) error
	Delete(ctx context.Context, name string) error
	Snapshot(ctx context.Context, volume, snapshot string) error
	// DeleteSnapshot removes a snapshot and starts the merge behind it.
	DeleteSnapshot(ctx context.Context, volume, snapshot string) error
	// Merge tells how the merge behind a deleted snapshot stands; ok is false
	// when there is none any more.
	Merge(volume, snapshot string) (job Job, ok bool, err error)
	Clone(ctx context.Context, volume, snapshot, name string) (*san.Volume, error)
	Rollback(ctx context.Context, volume, snapshot string) error
	// Import makes a volume, gives it to fill to write, and keeps it if fill
	// succeeds.
	Import(ctx context.Context, v *san.Volume, fill func(io.WriterAt) error) error
	// Export calls send with the volume's data at one moment, in ascending
	// order, after begin was told the size. Ranges left out read as zeros. The
	// buffer belongs to the caller again when send returns.
	Export(ctx context.Context, volume, snapshot string, begin func(size int64) error, send func(off int64, p []byte) error) error
}

// Usage is what a volume takes of the store, in bytes.
type Usage struct {
	Used      int64 // its own
	Shared    int64 // shared with snapshots and clones
	Snapshots []Snapshot
	Jobs      []Job
	Problem   string // why it does not serve; empty: it does
	// Silent is why all of that is not known: the gateway that has the volume did
	// not answer, or there is none now. A node does not set it.
	Silent string
}

// Snapshot is a frozen point of a volume.
type Snapshot struct {
	Name    string
	Created time.Time
	Size    int64 // bytes, as the volume was then
}

// Job is background work on a volume.
type Job struct {
	Kind    string // "merge"
	Subject string // the snapshot that goes
	Done    int64  // bytes
	Total   int64  // bytes
}
