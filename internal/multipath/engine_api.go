package multipath

import (
	"fmt"
	"slices"
	"time"

	"sango/internal/block"
	"sango/internal/san"
	"sango/internal/scsi"
	"sango/internal/scsi/alua"
)

// The engine decides and the runtime acts. The runtime calls step with one
// event at a time (it serialises the calls with a lock of its own) and then,
// outside that lock, does what the returned actions say. The engine has no
// goroutine, no clock and no I/O: the time of an event comes with it.
//
// Actions of two steps may be done in any order, since every action names the
// login that it concerns: a command that is handed to a session which has been
// aborted since ends at once, with lost set and sent unset.

// instant is a moment: the time since the engine was made. It never goes back.
type instant = time.Duration

// pathID names a path. The runtime chooses it; it is never used again.
type pathID uint32

// eventKind says what an event is, and with it which of its fields count.
type eventKind uint8

// The events.
const (
	// evTick: time has passed. Wanted at the instant that engine.wake tells;
	// any other time does no harm.
	evTick eventKind = iota + 1
	// evSubmit: req is to be executed. Answered by one actEnd, sooner or later.
	evSubmit
	// evResult: the command of an actSend for req has ended with out. There is
	// exactly one for each actSend, and none before the session has given up
	// the request's buffers.
	evResult
	// evAdd: path exists from now on; the runtime tries to log in. text names
	// it in errors (portal).
	evAdd
	// evRemove: path is to be given up. Its commands in flight may end first;
	// then comes an actLogout if it has a session, and after the evLost that
	// answers it actGone, or actGone at once.
	evRemove
	// evLogin: a session of path has reached full feature phase under login,
	// and takes commands. named: the target took note of the instance. Nothing
	// but what actions ask for may be sent in it.
	evLogin
	// evLoginFailed: an attempt has failed with err (for the view only).
	evLoginFailed
	// evLost: the session login of path has ended, whoever ended it, and its
	// connection is closed. Its unanswered commands end by evResult, before or
	// after.
	evLost
	// evDraining: the target ends the session login of path, and says so
	// beforehand: it asks for a logout, or is about to drop the connection.
	// Nothing is to be sent in it any more; what is in flight may end by an
	// answer. An evLost follows, soon.
	evDraining
	// evProbed answers actProbe: probe, or out when a command of it failed.
	evProbed
	// evChecked answers actCheck: the outcome of TEST UNIT READY is in out.
	evChecked
	// evGroups answers actReadGroups: groups and transition (seconds, 0: not
	// told), or out when it was not GOOD.
	evGroups
	// evFenced answers actFence with number id: out.
	evFenced
	// evOptimize: a person asks for group to become active/optimized. Answered
	// by one actOptimized with the same id.
	evOptimize
	// evGroupsSet answers actSetGroups with number id: out.
	evGroupsSet
	// evAttention: unit attention asc came over the session login of path on
	// a command of the runtime's own, or as an asynchronous message.
	evAttention
	// evDeferred: a command of the runtime's own met a deferred error, err: what
	// was written before may be lost.
	evDeferred
	// evStop: nothing is sent any more. What waits ends with class Closed at
	// once, what is in flight when its evResult comes.
	evStop
)

// event is something that happened. It is passed by value; slices and pointers
// in it belong to the engine from then on.
type event struct {
	kind       eventKind
	path       pathID
	login      uint32 // the LOGIN number of the instance: unique in the run
	named      bool
	req        *request
	out        outcome
	probe      *probe
	groups     []alua.Group
	transition uint8
	group      uint16
	asc        scsi.ASC
	id         uint64
	text       string
	err        error
}

// outcome is how a command ended.
type outcome struct {
	// lost: it was not answered. sent: some of it may have reached the target.
	// sent does not count for an answered command.
	lost, sent bool
	status     scsi.Status
	sense      scsi.Sense // with CHECK CONDITION; Key NoSense with ASC 0 when there was none that can be parsed
	short      bool       // GOOD, but fewer bytes moved than were asked for
	err        error      // why it was lost
}

// probe is what the commands of actProbe found: INQUIRY standard data, VPD
// pages 83h, 80h and C0h, READ CAPACITY (the runtime keeps that to itself), and
// REPORT TARGET PORT GROUPS where TPGS is not 0. The runtime repeats commands
// that end with a unit attention.
type probe struct {
	// identity is the same for all paths of one volume, and differs between
	// volumes: what the designators of the logical unit come to. Never empty.
	identity string
	// alua: TPGS is not 0. explicit: SET TARGET PORT GROUPS is served.
	alua, explicit bool
	group          uint16 // of the port that answered (VPD 83h)
	groups         []alua.Group
	transition     uint8
	// fence: the target serves FENCE and knows this session's instance (page
	// C0h: FENCE and NAMED, and INSTANCE is ours). maxFence is MAXIMUM
	// INSTANCES.
	fence    bool
	maxFence int
	// boot is BOOT of page C0h; zero: not told.
	boot san.UUID
}

// actionKind says what an action is, and with it which of its fields count.
type actionKind uint8

// The actions.
const (
	// actSend: submit the command of req to the session req.login of path
	// req.path. Answered by evResult.
	actSend actionKind = iota + 1
	// actEnd: req is done; err is nil or a *block.Error. The engine has
	// forgotten it: it may be used again.
	actEnd
	// actAbort: close the session abortively (SO_LINGER 0) because of err.
	// Answered by evLost; the runtime logs in anew when it sees fit.
	actAbort
	// actLogout: no command is in flight; log out of the session and do not
	// log in again. Answered by evLost.
	actLogout
	// actGone: path is forgotten.
	actGone
	// actProbe: find out what is behind the session. Answered by evProbed.
	actProbe
	// actCheck: TEST UNIT READY. Answered by evChecked.
	actCheck
	// actReadGroups: REPORT TARGET PORT GROUPS. Answered by evGroups.
	actReadGroups
	// actFence: FENCE with number id over the session: FENCE EARLIER RUNS when
	// earlier is set, else FENCE INSTANCES of logins (all of the own group and
	// run). Answered by evFenced.
	actFence
	// actSetGroups: SET TARGET PORT GROUPS with number id: group becomes
	// active/optimized. Answered by evGroupsSet.
	actSetGroups
	// actOptimized answers evOptimize.
	actOptimized
	// actReadCapacity: READ CAPACITY; the size may have changed. Not answered.
	actReadCapacity
)

// answer returns the kind of the event that answers an action of kind k, with
// the id and the request of that action in it; 0: there is none.
func (k actionKind) answer() eventKind {
	switch k {
	case actSend:
		return evResult
	case actProbe:
		return evProbed
	case actCheck:
		return evChecked
	case actReadGroups:
		return evGroups
	case actFence:
		return evFenced
	case actSetGroups:
		return evGroupsSet
	}
	return 0
}

// action is something to do. Unless told otherwise path and login name the
// session that it concerns, and an action whose session has ended meanwhile is
// answered with lost, or by the evLost alone.
type action struct {
	kind    actionKind
	path    pathID
	login   uint32
	req     *request
	err     error
	id      uint64
	earlier bool
	logins  []uint32
	group   uint16
}

// request is a block request on its way through the engine. The runtime makes
// it (and may use it again), sets the first fields, and reads path and login on
// actSend. It belongs to the engine from evSubmit to actEnd.
type request struct {
	blk  *block.Request // Op, Flags, Off and Len count here
	user any            // the runtime's
	// volatile: once acknowledged, the data may be in a cache only.
	volatile bool

	path  pathID // of the last actSend
	login uint32 // of the last actSend

	reqState // the engine's own
}

// settings are what the engine is made with. newEngine fills in the defaults.
type settings struct {
	policy   Policy
	instance san.Instance  // group and run
	takeOver bool          // fence earlier runs before anything is issued
	identity string        // of the volume; empty: that of the first path
	requests int           // at most in the engine; 0: 1024
	paths    int           // at most; 0: 64
	depth    int           // commands in flight on a path; 0: 128
	command  time.Duration // until a command counts as lost; 0: 30 s
	queue    time.Duration // I/O waits so long without any path; 0: at once an error, <0: for ever
	quiesce  time.Duration // 0: 10 s
	failback time.Duration // a recovered path of a better group is used after it
	check    time.Duration // between two TEST UNIT READY on a path; 0: 5 s
	marginal marginal
	noFence  bool // for the test of the test: send unanswered writes again at once
}

// PathState is the condition of a path.
type PathState uint8

// The states of a path.
const (
	PathDown          PathState = iota // no session; the next login is to come
	PathLoggingIn                      // unused until a login has failed or succeeded for the first time
	PathProbing                        // there is a session; whose volume it reaches is not known yet
	PathUp                             // may carry I/O, if its port group does
	PathMarginal                       // fails or dawdles: carries I/O only where no other path does
	PathFailed                         // there is a session, but the logical unit does not answer as it should
	PathWrongIdentity                  // reaches another volume
	PathDraining                       // its target is about to end the session: it takes no more I/O
)

var pathStateNames = [...]string{"down", "logging-in", "probing", "up", "marginal", "failed", "wrong-identity", "draining"}

// String returns the name of the state.
func (s PathState) String() string {
	if int(s) < len(pathStateNames) {
		return pathStateNames[s]
	}
	return "invalid"
}

// MarshalText implements encoding.TextMarshaler.
func (s PathState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *PathState) UnmarshalText(b []byte) error {
	i := slices.Index(pathStateNames[:], string(b))
	if i < 0 {
		return fmt.Errorf("path state %q is unknown", b)
	}
	*s = PathState(i)
	return nil
}

// pathView is what the engine knows of a path.
type pathView struct {
	id       pathID
	state    PathState
	usable   bool // I/O may go there now
	chosen   bool // and does: it is in the group in use
	login    uint32
	named    bool
	fence    bool
	alua     bool
	group    uint16
	access   alua.State
	prefer   bool
	since    instant // of state
	inFlight int
	bytes    int64 // in flight
	depth    int   // the present limit of inFlight
	latency  time.Duration
	sent     uint64 // commands
	errors   uint64 // commands that failed or were lost on it
	losses   uint64 // sessions lost
	lastErr  error
	lastAt   instant // of lastErr
}

// engineView is a copy of what the engine knows.
type engineView struct {
	identity  string
	paths     []pathView // in the order they were added
	serving   bool       // a usable path is there, and nothing has to be fenced before I/O is issued
	noPath    bool       // no path is usable, since:
	since     instant
	requests  int // in the engine
	waiting   int // for a path, a pause or a fence
	unfenced  int // instances to be fenced
	submitted uint64
	retries   uint64
	fences    uint64 // that succeeded
	quiesced  uint64 // instances waited out
	refused   uint64 // requests that ended without path
	reboots   uint64 // of the target's machine that may have lost writes
}
