package model

// Config are the times and limits of both machines. Zero values get defaults,
// but for TTL.
type Config struct {
	// TTL is how long a heartbeat counts. 0: the gateway is alone, its right
	// never runs out, and nobody is declared dead for silence.
	TTL Instant
	// Margin is taken off TTL by the one who has the right: for clocks that
	// run at different speeds, and for the time between the check of the right
	// and the medium. Default: TTL/6.
	Margin Instant
	// Beat is the time between two heartbeats. Default: TTL/6.
	Beat Instant
	// Prepare is how long a volume that moves may take to make stable what is
	// written, before commands have to wait. Default: 2 s.
	Prepare Instant
	// Hold is how long commands wait for a volume that moves, before they are
	// answered with 02/04/0A. Default: 1 s.
	Hold Instant
	// Cancel is how long commands under way may take when a volume moves.
	// Default: 2 s.
	Cancel Instant
	// Retry is the pause before a transaction, a fence or an open is tried
	// again. Default: 200 ms.
	Retry Instant
	// Reopen is the pause before a volume is opened again that could be opened
	// nowhere, or whose medium failed. It doubles with each failure, up to
	// ReopenMost; when it has been well for that long it begins anew. Default:
	// 1 s, 60 s.
	Reopen, ReopenMost Instant

	// Moves bounds the planned moves under way at one time. Default: 4.
	Moves int
	// Window bounds the transactions and the fences by drivers under way at one
	// time, each. Default: 64. By command one gateway is fenced once at a time.
	Window int
	// Failback is how long a gateway must have been well before volumes move
	// to it without need. Default: 60 s.
	Failback Instant
	// Sticky is how long a volume stays where it was moved to for balance, or
	// because a host asked, if no gateway is lost and that host does not ask again.
	// Default: 300 s.
	Sticky Instant
	// Balance is the time between two moves for balance; <0: there are none.
	// Default: 10 s.
	Balance Instant
	// Slack is how many more volumes than another gateway one may have, in per
	// cent of the mean. Default: 20.
	Slack int
	// WorkSlack is how much more work than another gateway one may have, in per
	// cent of the mean. What is measured is never exact. Default: 50.
	WorkSlack int
	// Worth is how much more work than another gateway one may have at least:
	// less is not worth a move. Default: 2,000, in the unit of Weighed.
	Worth int
	// AskEvery is the time between two moves of a volume that a host asked
	// for. Default: 5 s.
	AskEvery Instant

	// Gather is how long a coordinator waits for more gateways where nobody has
	// anything: a cluster starts. Else the first one would get all. <0: it does
	// not. Default: 1 s, where TTL is not 0.
	Gather Instant

	off defence // for the test of the tests
}

func (c Config) withDefaults() Config {
	set(&c.Margin, c.TTL/6)
	set(&c.Beat, c.TTL/6)
	set(&c.Beat, Second)
	set(&c.Prepare, 2*Second)
	set(&c.Hold, Second)
	set(&c.Cancel, 2*Second)
	set(&c.Retry, 200*Millisecond)
	set(&c.Reopen, Second)
	set(&c.ReopenMost, 60*Second)
	set(&c.Moves, 4)
	set(&c.Window, 64)
	set(&c.Failback, 60*Second)
	set(&c.Sticky, 300*Second)
	set(&c.Balance, 10*Second)
	set(&c.Slack, 20)
	set(&c.WorkSlack, 50)
	set(&c.Worth, 2000)
	set(&c.AskEvery, 5*Second)
	if c.TTL > 0 {
		set(&c.Gather, Second)
	}
	return c
}

func set[T int | Instant](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// defence is something that keeps a rule. Tests switch them off one by one, to
// see that the exploration finds what goes wrong then.
type defence uint32

// The defences.
const (
	guardBeat     defence = 1 << iota // a death is guarded by the last heartbeat that was seen
	waitForRight                      // nothing is granted before the right of the dead has run out, or a fence
	waitAfresh                        // who did not hear a gateway itself, all the time, starts that wait anew
	streamFirst                       // what was committed counts when the stream of changes has come to it
	rightFromSent                     // a right counts from when its heartbeat was sent
	checkRight                        // the right is looked at before each write and good status
	raiseEpoch                        // every grant raises the epoch
	waitReleased                      // who gets a volume waits until it is released
	drainFirst                        // a volume is drained before it is released
	fenceReceiver                     // who died while a volume moved to it is fenced
	staysFenced                       // a gateway that was declared dead rejoins as new
	freshName                         // with an incarnation that was never used
	guardOwner                        // a change of ownership is guarded by the record it changes
	stopUnknown                       // a reservation of unknown outcome stops the volume
	settleByWrite                     // and is settled by a write, not by a read alone
	guardEpoch                        // a reservation is guarded by the ownership
	storeContact                      // silence of the store is not the silence of the gateways
	oneDeathATime                     // one is declared dead for suspicion, then the votes are counted again
	votesLater                        // who has just come suspects nobody
)

func (c *Config) has(d defence) bool { return c.off&d == 0 }
