package reserve

import (
	"slices"

	"sango/internal/san"
	"sango/internal/scsi"
	"sango/internal/scsi/pr"
)

// Request is a PERSISTENT RESERVE OUT command.
type Request struct {
	Nexus  san.NexusID // that it came through
	Action scsi.ServiceAction
	Scope  uint8
	Type   pr.Type
	Out    *pr.Out
	// Ports are the portal group tags of the target: those that ALL_TG_PT and
	// REGISTER AND MOVE can mean.
	Ports []san.TPG
	// Known are the initiator ports that are logged in: those that a TransportID
	// without ISID can mean.
	Known []san.InitiatorPort
}

// Attention is a unit attention condition for a nexus.
type Attention struct {
	Nexus san.NexusID
	ASC   scsi.ASC
}

// Outcome is what a request ends with, and what must happen before it is
// answered.
type Outcome struct {
	Status scsi.Status // Good, ReservationConflict or CheckConditionStatus
	Check  *scsi.CheckCondition
	// Attentions are to be established. The nexus that sent the request is never
	// among them.
	Attentions []Attention
	// Abort are the nexuses whose tasks are to be aborted (PREEMPT AND ABORT).
	Abort []san.NexusID
}

var (
	good     = Outcome{Status: scsi.Good}
	conflict = Outcome{Status: scsi.ReservationConflict}
)

func refuse(cc *scsi.CheckCondition) Outcome {
	return Outcome{Status: scsi.CheckConditionStatus, Check: cc}
}

// Positions of fields in the CDB and the parameter list, for field pointers.
const (
	scopeTypeAt = 2  // CDB: SCOPE and TYPE
	actionKeyAt = 8  // list: SERVICE ACTION RESERVATION KEY
	movePortAt  = 18 // list: RELATIVE TARGET PORT IDENTIFIER
	moveIDAt    = 24 // list: TransportID
	specIPTAt   = 20 // list: the byte with SPEC_I_PT
	portsAt     = 28 // list: the first TransportID
)

// Step does r. It returns s itself where nothing changes.
func (s *State) Step(r *Request) (*State, Outcome) {
	if s.legacy != nil { // SPC-2 §5.5.1: of whatever initiator
		return s, conflict
	}
	key, registered := s.Registered(r.Nexus)
	switch r.Action {
	case pr.Register:
		if registered && key != r.Out.Key || !registered && r.Out.Key != 0 {
			return s, conflict
		}
		return s.register(r, registered, false)
	case pr.RegisterAndIgnore:
		return s.register(r, registered, true)
	}
	if !registered || key != r.Out.Key {
		return s, conflict
	}
	switch r.Action {
	case pr.Reserve:
		return s.stepReserve(r)
	case pr.Release:
		return s.stepRelease(r)
	case pr.Clear:
		return s.stepClear(r)
	case pr.Preempt:
		return s.preempt(r, false)
	case pr.PreemptAndAbort:
		return s.preempt(r, true)
	case pr.RegisterAndMove:
		return s.move(r)
	}
	return s, refuse(scsi.InvalidField(1, 4))
}

// checkType refuses a scope or type that there is not.
func checkType(r *Request) *scsi.CheckCondition {
	if r.Scope != pr.ScopeLU {
		return scsi.InvalidField(scopeTypeAt, 7)
	}
	if !r.Type.Valid() {
		return scsi.InvalidField(scopeTypeAt, 3)
	}
	return nil
}

func (s *State) stepReserve(r *Request) (*State, Outcome) {
	if cc := checkType(r); cc != nil {
		return s, refuse(cc)
	}
	if s.kind != 0 {
		if s.Holds(r.Nexus) && s.kind == r.Type {
			return s, good
		}
		return s, conflict
	}
	next := s.clone()
	next.reserve(r.Nexus, r.Type)
	return next, good
}

func (s *State) stepRelease(r *Request) (*State, Outcome) {
	if s.kind == 0 || !s.Holds(r.Nexus) {
		return s, good
	}
	if r.Scope != pr.ScopeLU || r.Type != s.kind {
		return s, refuse(scsi.Check(scsi.IllegalRequest, scsi.ASCInvalidRelease))
	}
	next, out := s.clone(), good
	if s.kind.Registrants() { // SPC-4 §5.13.11.2
		out.Attentions = s.attend(r.Nexus, scsi.ASCReservationsReleased)
	}
	next.release()
	return next, out
}

func (s *State) stepClear(r *Request) (*State, Outcome) {
	next, out := s.clone(), good
	out.Attentions = s.attend(r.Nexus, scsi.ASCReservationsPreempted)
	next.remove(func(Registration) bool { return true })
	next.release()
	next.generation++
	return next, out
}

// attend returns a unit attention for every registered nexus but one.
func (s *State) attend(but san.NexusID, asc scsi.ASC) []Attention {
	var list []Attention
	for _, g := range s.regs {
		if g.Nexus != but {
			list = append(list, Attention{g.Nexus, asc})
		}
	}
	return list
}

// preempt is PREEMPT and PREEMPT AND ABORT (SPC-4 §5.13.11.4).
func (s *State) preempt(r *Request, abort bool) (*State, Outcome) {
	victim := r.Out.ActionKey
	// takes: the reservation itself is preempted, not only registrations.
	takes := s.kind != 0
	if s.kind.AllRegistrants() {
		takes = victim == 0
	} else if takes {
		held, _ := s.Registered(s.holder)
		takes = victim == held
	}
	if victim == 0 && !takes {
		return s, refuse(scsi.InvalidParameter(actionKeyAt, -1))
	}
	if takes {
		if cc := checkType(r); cc != nil {
			return s, refuse(cc)
		}
	}
	next, out := s.clone(), good
	lost := next.remove(func(g Registration) bool {
		if takes && g.Nexus == r.Nexus {
			return false
		}
		return g.Key == victim || takes && victim == 0
	})
	if !takes && len(lost) == 0 {
		return s, conflict
	}
	if takes {
		next.reserve(r.Nexus, r.Type)
	}
	next.generation++
	for _, n := range lost {
		if n != r.Nexus {
			out.Attentions = append(out.Attentions, Attention{n, scsi.ASCRegistrationsPreempted})
			if abort {
				out.Abort = append(out.Abort, n)
			}
		}
	}
	if takes && r.Type != s.kind {
		out.Attentions = append(out.Attentions, next.attend(r.Nexus, scsi.ASCReservationsReleased)...)
	}
	return next, out
}

// move is REGISTER AND MOVE (SPC-4 §5.13.8).
func (s *State) move(r *Request) (*State, Outcome) {
	switch {
	case s.kind == 0:
		return s, refuse(scsi.InvalidField(1, 4))
	case !s.Holds(r.Nexus) || s.kind.AllRegistrants():
		return s, conflict
	case r.Out.ActionKey == 0:
		return s, refuse(scsi.InvalidParameter(actionKeyAt, -1))
	case !slices.Contains(r.Ports, san.TPG(r.Out.RelativePort)):
		return s, refuse(scsi.InvalidParameter(movePortAt, -1))
	}
	ports := r.initiators(r.Out.To)
	if len(ports) != 1 {
		return s, refuse(scsi.InvalidParameter(moveIDAt, -1))
	}
	to := san.NexusID{Initiator: ports[0], Target: san.TargetPort{Name: r.Nexus.Target.Name, TPG: san.TPG(r.Out.RelativePort)}}
	if to == r.Nexus {
		return s, refuse(scsi.InvalidParameter(moveIDAt, -1))
	}
	if _, there := s.Registered(to); !there && len(s.regs) >= MaxRegistrations && !r.Out.Unregister {
		return s, refuse(scsi.Check(scsi.IllegalRequest, scsi.ASCInsufficientRegistrations))
	}
	next, kind := s.clone(), s.kind
	next.set(to, r.Out.ActionKey)
	next.reserve(to, kind)
	if r.Out.Unregister {
		next.remove(func(g Registration) bool { return g.Nexus == r.Nexus })
	}
	next.persist = r.Out.APTPL
	next.generation++
	return next, good
}

// initiators returns the initiator ports that id means.
func (r *Request) initiators(id pr.TransportID) []san.InitiatorPort {
	if id.HasISID {
		return []san.InitiatorPort{{Name: id.Name, ISID: id.ISID}}
	}
	var ports []san.InitiatorPort
	for _, p := range r.Known {
		if id.Matches(p) && !slices.Contains(ports, p) {
			ports = append(ports, p)
		}
	}
	return ports
}
