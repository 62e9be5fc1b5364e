package iscsi

import (
	"fmt"

	"sango/internal/san"
)

// Offers is what an initiator offers in the operational stage, by name as in
// RFC 7143 §13. Start from DefaultOffers.
type Offers struct {
	HeaderDigest       []string // DigestCRC32C, ValueNone: the order is the preference
	DataDigest         []string
	InitialR2T         bool // Yes: no unsolicited data but immediate data
	ImmediateData      bool
	MaxRecv            int    // MaxRecvDataSegmentLength to declare, 512 to 2^24−1 bytes
	MaxBurstLength     uint32 // bytes
	FirstBurstLength   uint32 // bytes, at most MaxBurstLength
	MaxOutstandingR2T  uint16
	DefaultTime2Wait   uint16 // seconds: the larger side wins
	DefaultTime2Retain uint16 // seconds: the smaller side wins
}

// DefaultOffers returns the offers of an initiator that has memory and likes
// speed, and takes digests where the target insists on them.
func DefaultOffers() Offers {
	return Offers{
		HeaderDigest:       []string{ValueNone, DigestCRC32C},
		DataDigest:         []string{ValueNone, DigestCRC32C},
		ImmediateData:      true,
		MaxRecv:            256 << 10,
		MaxBurstLength:     1 << 20,
		FirstBurstLength:   256 << 10,
		MaxOutstandingR2T:  16,
		DefaultTime2Wait:   2,
		DefaultTime2Retain: 0,
	}
}

// OriginatorConfig is what an Originator logs in as, to what, and how.
type OriginatorConfig struct {
	Initiator san.InitiatorPort
	Alias     string // InitiatorAlias to declare, if any
	Target    string // may be empty in a discovery session
	Discovery bool
	CID       uint16
	ITT       ITT
	CmdSN     CmdSN // of the first command in full feature phase
	// CHAP is the account to prove; nil: none. Where it has a MutualUser or a
	// MutualSecret, the target has to prove itself in turn.
	CHAP       *san.CHAP
	Algorithms []CHAPAlgorithm // that are offered, by preference; nil: all, the strongest first
	Challenger *Challenger     // nil: the one of the process
	Offers     Offers
	Instance   san.Instance // declared unless zero
}

// LoginError is the answer of a target that refuses a login.
type LoginError struct {
	Status   LoginStatus
	Redirect []TargetAddress // with LoginMovedTemporarily and LoginMovedForGood
	Text     string          // what the login was for
}

// Error implements error.
func (e *LoginError) Error() string {
	return fmt.Sprintf("%s: the target answered %04xh, %v", e.Text, uint16(e.Status), e.Status)
}

// Originator is the initiator's side of one connection's login phase (RFC 7143
// §6.3) as a machine: a response goes in, a request comes out. It opens a new
// session with every login. It is not safe for concurrent use.
type Originator struct {
	cfg    OriginatorConfig
	params Params
	done   bool
	statSN StatSN
	tpg    san.TPG
	hasTPG bool
	tsih   uint16
	alias  string
}

// NewOriginator starts a login.
func NewOriginator(cfg OriginatorConfig) *Originator { return &Originator{cfg: cfg} }

// First returns the first request and its text, DataLen set.
func (o *Originator) First() (LoginRequest, []byte) { return LoginRequest{}, nil }

// Step takes a Login Response with its data segment and returns the next
// request with its data segment, DataLen set. After Done there is none. An
// error ends the login, and the caller closes the connection; a *LoginError is
// the target's refusal.
func (o *Originator) Step(r LoginResponse, text []byte) (LoginRequest, []byte, error) {
	return LoginRequest{}, nil, protocolErrorf(RejectProtocol, "no login")
}

// Done reports whether the login phase is over with success.
func (o *Originator) Done() bool { return o.done }

// Outcome returns the parameters agreed on; valid after Done.
func (o *Originator) Outcome() Params { return o.params }

// TSIH returns the target's handle of the session; valid after Done.
func (o *Originator) TSIH() uint16 { return o.tsih }

// TPG returns the portal group tag that the target declared, if it did.
func (o *Originator) TPG() (san.TPG, bool) { return o.tpg, o.hasTPG }

// TargetAlias returns the alias that the target declared, if any.
func (o *Originator) TargetAlias() string { return o.alias }

// CmdSN returns the number of the first command in full feature phase.
func (o *Originator) CmdSN() CmdSN { return o.cfg.CmdSN }

// ExpStatSN returns the status number that comes next.
func (o *Originator) ExpStatSN() StatSN { return o.statSN }

// InstanceNoted reports whether the target took note of the instance, as far
// as its answers tell: it did not answer that it does not know the key.
func (o *Originator) InstanceNoted() bool { return false }
