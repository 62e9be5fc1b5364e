package cluster

import (
	"context"

	"sango/internal/cluster/model"
	"sango/internal/san"
)

// Driver does what the gateway machine says: it opens and closes volumes, and
// their doors (lun.Unit). But for Open, Prepare, Flush and Close its methods
// are called by one goroutine, in the order in which the machine says it, and
// must not wait for I/O or for tasks: heartbeats would wait with them. Volumes
// that the driver does not know are normal (a record may come before the
// volume, and stay longer): all there is to do then is to answer.
//
// The calls for one volume: Open, then Serve or Close; after Serve perhaps a
// Prepare; a Hold, which waits for that 2 s at the most, then Refuse and Cancel
// where that takes long; Flush; Close. A member that is fenced gets Cancel and Close for what is open, whatever went before. Until
// Close has returned nothing else is opened for that volume.
type Driver interface {
	// Joined: this process is the member m from now on.
	Joined(m model.Member)
	// RightLost: the right to serve has run out. Sessions are dropped, and none
	// are let in, until RightBack. The volumes stay open.
	RightLost()
	// RightBack: there is a right again; the first one too. The driver lets
	// sessions in when it has caught up with what was changed meanwhile.
	RightBack()
	// Fenced: the member is over. Sessions are dropped, queues are thrown away;
	// each open volume gets a Close. Another member may begin after that.
	Fenced()

	// Open opens a volume under an epoch, so that all lower ones are shut out as
	// far as its driver can (DESIGN R2), and loads what its unit keeps. What it
	// writes, it writes under Runtime.Right as everything else. It may block; ctx
	// ends when nobody waits any more. Where it fails nothing is open.
	Open(ctx context.Context, v san.UUID, e san.Epoch) error
	// Serve opens the door of a volume that Open has opened. The reservations in
	// Runtime.Unit are current.
	Serve(v san.UUID, e san.Epoch)
	// Prepare makes stable what is written, while commands go on, so that there is
	// little left to flush once they wait. It may block; ctx ends when commands
	// are held, or nobody needs it. Flush and Close wait for it.
	Prepare(ctx context.Context, v san.UUID)
	// Hold lets new commands wait, and calls drained, from any goroutine, once
	// none is under way any more, background work included.
	Hold(v san.UUID, drained func())
	// Refuse has commands that wait, and new ones, answered with 02/04/0A.
	Refuse(v san.UUID)
	// Cancel ends commands under way as far as they can be.
	Cancel(v san.UUID)
	// Flush makes stable what is written. It may block; ctx ends when it does not
	// matter any more. Its failure changes nothing here: the next owner finds
	// what there is.
	Flush(ctx context.Context, v san.UUID)
	// Close returns when nothing of the volume can touch the medium any more;
	// commands that wait are answered with 02/04/0A. It may block.
	Close(v san.UUID)

	// Publish: the view says something new of a volume: relay and port states
	// (model.Ports) follow. While the volume is open here, its door is the
	// business of the calls above.
	Publish(v san.UUID, o model.OwnerRecord)
	// Prefer: this is the gateway that is preferred for the volume; "": none is,
	// as before the first Prefer.
	Prefer(v san.UUID, g model.GatewayID)
	// PublishGateways: these are the gateways that there are, by name: port states
	// of all volumes follow, and whom to look after (PeerLost).
	PublishGateways(all []model.GatewayRecord)
	// Attend raises unit attention 06/2A/06 for the nexuses of the volume here,
	// but for the one that asked (model.OwnerRecord). The Publish that it is about
	// comes next.
	Attend(v san.UUID, asked string)
}

// Fencer shuts members out that are gone. An error says that it did not; it is
// tried again, with pauses that grow. It is asked of the coordinator alone.
type Fencer interface {
	// FenceVolume has the volume's driver see to it that nothing of m can reach
	// the volume any more.
	FenceVolume(ctx context.Context, m model.Member, v san.UUID) error
	// FenceGateway has nothing of m reach anything any more: by the operator's
	// command (Command).
	FenceGateway(ctx context.Context, m model.Member) error
}
