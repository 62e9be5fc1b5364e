package relay

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"time"

	"sango/internal/certs"
	"sango/internal/cluster/model"
	"sango/internal/lun"
	"sango/internal/relay/wire"
	"sango/internal/san"
	"sango/internal/scsi"
	"sango/internal/vecio"
)

// Owner is what the owner's half asks of the gateway. None of it may block.
type Owner interface {
	// Known reports whether m is alive in the view. over: it certainly isn't any
	// more, and never will be.
	Known(m model.Member) (alive, over bool)
	// Port reports whether the target port is one of the gateway's.
	Port(g model.GatewayID, p san.TargetPort) bool
	// Unit returns the unit of a volume that this gateway knows (For), nil for
	// another.
	Unit(volume san.UUID) Unit
}

// Unit is the owner's end of a volume: see For.
type Unit interface {
	AttachRemote(e san.Epoch, id san.NexusID, l san.LUN, s lun.Standing, tr lun.RemoteTransport) (Remote, error)
}

// Remote is *lun.Remote.
type Remote interface {
	Admit(t *lun.Task)
	Cancel(call uint64)
	Hasten(call uint64)
	Manage(f lun.TMF, done func(lun.TMFResponse))
	Detach()
}

// For returns u as Owner wants it.
func For(u *lun.Unit) Unit { return unitOf{u} }

type unitOf struct{ unit *lun.Unit }

// AttachRemote implements Unit.
func (u unitOf) AttachRemote(e san.Epoch, id san.NexusID, l san.LUN, s lun.Standing, tr lun.RemoteTransport) (Remote, error) {
	r, err := u.unit.AttachRemote(e, id, l, s, tr)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// local is the device server as the front's half knows it; tests have another.
type local struct {
	outgoing   func(t *lun.Task, vec [][]byte) ([16]byte, uint32, [][]byte)
	repeatable func(t *lun.Task) bool
	timeless   func(t *lun.Task) bool
	nexus      func(t *lun.Task) *lun.Nexus
	relayed    func(t *lun.Task, o lun.Outcome)
	id         func(n *lun.Nexus) san.NexusID
	transport  func(n *lun.Nexus) lun.Transport
	told       func(n *lun.Nexus, l san.LUN, e lun.Event, done func())
	cut        func(n *lun.Nexus, l san.LUN, r lun.Relay)
	opened     func(n *lun.Nexus, l san.LUN, r lun.Relay, anew uint64)
}

var device = local{
	outgoing: (*lun.Task).Outgoing, repeatable: (*lun.Task).Repeatable, timeless: (*lun.Task).Timeless, nexus: (*lun.Task).Nexus, relayed: (*lun.Task).Relayed,
	id: (*lun.Nexus).ID, transport: (*lun.Nexus).Transport, told: (*lun.Nexus).Told, cut: (*lun.Nexus).Cut, opened: (*lun.Nexus).Opened,
}

// Versions returns which versions of the protocol this program speaks, from the
// oldest to the newest.
func Versions() (oldest, newest int) { return int(wire.MinVersion), int(wire.MaxVersion) }

// Fence names instances of an initiator name (docs/fence.md).
type Fence struct {
	Initiator string
	List      scsi.FenceList
}

// Config is how a Node behaves. Zero fields take defaults; Cluster, Self and
// Owner are needed.
type Config struct {
	Cluster san.UUID
	Self    model.Member
	// TLS has the certificate of this gateway, and the authorities that signed those
	// of all. Both sides show theirs, which has to be good for server and client,
	// and to name the gateway or the address of its relay. nil: plain TCP, for
	// gateways of one machine alone.
	TLS   *certs.Kept
	Owner Owner

	// Fence ends the sessions of this gateway that f names, and calls done when
	// nothing of them is left. The relay itself has ended those that came to it as
	// owner. It must not block. nil: there are none.
	Fence func(f Fence, done func())
	// PeerLost and PeerFound tell whether a member of the last SetPeers answers;
	// at first nothing is known. Both are called with a lock held: they must not
	// block, and not call back.
	PeerLost, PeerFound func(model.Member)
	// Synced tells that a front has attached all nexuses that it has for the
	// volume (lun.Unit.Sweep). It must not block.
	Synced func(front model.Member, volume san.UUID, e san.Epoch)
	// Moved tells that the owner of epoch e says that it is none: the view will
	// name another one soon. Where it does not, the owner has let go of the volume
	// and taken it up again, and Node.Volume is to be called anew. It is called
	// with a lock held: it must not block, and not call back.
	Moved func(volume san.UUID, e san.Epoch)

	// Links is the number of connections to each peer; those past the first are
	// made when a nexus uses them.
	Links int
	// MaxAge is how old a token may be when its command is admitted here (DESIGN
	// R4 c).
	MaxAge time.Duration
	// Beat is the time between two heartbeats. A peer that was not heard for
	// Silence is lost, a connection for Dead closed.
	Beat, Silence, Dead time.Duration
	// Hold is how long a task waits at the front for a way to the owner.
	Hold time.Duration
	// Handshake bounds the time from connection to Welcome.
	Handshake time.Duration

	// Commands and Bytes bound what one link may have outstanding at this owner
	// (besides one command of each nexus), NexusCommands and NexusBytes what an
	// I_T_L nexus may, Nexuses their number.
	Commands      int
	Bytes         int64
	NexusCommands int
	NexusBytes    int64
	Nexuses       int

	// Dial connects to a peer; nil: by TCP.
	Dial   func(ctx context.Context, addr string) (net.Conn, error)
	Logger *slog.Logger // nil: slog.Default()

	local *local // nil: package lun
}

// defaultNexuses is the most nexuses of one link, too.
const defaultNexuses = 64 << 10

// maxLinks bounds the links of two gateways.
const maxLinks = 64

func (c *Config) complete() error {
	def(&c.Links, min(4, runtime.GOMAXPROCS(0)))
	def(&c.MaxAge, 3*time.Second)
	def(&c.Beat, 250*time.Millisecond)
	def(&c.Silence, time.Second)
	def(&c.Dead, 3*time.Second)
	def(&c.Hold, time.Second)
	def(&c.Handshake, 3*time.Second)
	def(&c.Commands, 4096)
	def(&c.Bytes, 512<<20)
	def(&c.NexusCommands, 256)
	def(&c.NexusBytes, 64<<20)
	def(&c.Nexuses, defaultNexuses)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Dial == nil {
		c.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			return (&net.Dialer{Control: vecio.DialUnpaced}).DialContext(ctx, "tcp", addr)
		}
	}
	if c.local == nil {
		c.local = &device
	}
	if c.PeerLost == nil {
		c.PeerLost = func(model.Member) {}
	}
	if c.PeerFound == nil {
		c.PeerFound = func(model.Member) {}
	}
	if c.Synced == nil {
		c.Synced = func(model.Member, san.UUID, san.Epoch) {}
	}
	if c.Fence == nil {
		c.Fence = func(_ Fence, done func()) { done() }
	}
	switch {
	case c.Self.IsZero() || c.Cluster.IsZero() || c.Owner == nil:
		return fmt.Errorf("relay: name the cluster, the gateway with its incarnation, and its units")
	case c.Nexuses > defaultNexuses:
		return fmt.Errorf("relay: %d nexuses on a link; set at most %d", c.Nexuses, defaultNexuses)
	case c.Links > maxLinks:
		return fmt.Errorf("relay: %d links between two gateways; set at most %d", c.Links, maxLinks)
	case c.Beat > c.Silence/2 || c.Silence > c.Dead:
		return fmt.Errorf("relay: heartbeats every %v, silence after %v, closed after %v; two heartbeats must fit into the first, and that into the second", c.Beat, c.Silence, c.Dead)
	}
	return nil
}

func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}
