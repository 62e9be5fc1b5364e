package reserve

import (
	"sango/internal/san"
	"sango/internal/scsi"
	"sango/internal/scsi/pr"
)

// register is REGISTER, whose RESERVATION KEY has been checked, and REGISTER
// AND IGNORE EXISTING KEY (SPC-4 §5.13.7, table 209).
func (s *State) register(r *Request, registered, ignore bool) (*State, Outcome) {
	key := r.Out.ActionKey
	switch {
	case r.Out.Ports != nil && (registered || ignore):
		return s, refuse(scsi.InvalidParameter(specIPTAt, 3))
	case !registered && key == 0:
		return s, good
	case key == 0:
		return s.unregister(r, ignore)
	}
	initiators := []san.InitiatorPort{r.Nexus.Initiator}
	for _, id := range r.Out.Ports {
		ports := r.initiators(id)
		if len(ports) == 0 {
			return s, refuse(scsi.InvalidParameter(portsAt, -1))
		}
		initiators = append(initiators, ports...)
	}
	next := s.clone()
	for _, n := range r.nexuses(initiators) {
		old, there := next.Registered(n)
		// A key is changed only by who knows it: a nexus that is named by SPEC_I_PT
		// or reached by ALL_TG_PT and has another one refuses the whole command;
		// ALL_TG_PT as if the command had come through that port, SPEC_I_PT with
		// CHECK CONDITION (SPC-4 §6.16.3). IGNORE EXISTING KEY goes for every port of
		// the initiator.
		if there && !ignore && old != key && !(registered && old == r.Out.Key) {
			if n.Initiator != r.Nexus.Initiator {
				return s, refuse(scsi.InvalidParameter(portsAt, -1))
			}
			return s, conflict
		}
		if !there && len(next.regs) >= MaxRegistrations {
			return s, refuse(scsi.Check(scsi.IllegalRequest, scsi.ASCInsufficientRegistrations))
		}
		next.set(n, key)
	}
	next.persist = r.Out.APTPL
	next.generation++
	return next, good
}

// unregister takes the registration of the nexus away, with ALL_TG_PT those of
// its initiator port through the target's other ports too (SPC-4 §5.13.11.3), as
// if the command had come through each: those with another key conflict.
func (s *State) unregister(r *Request, ignore bool) (*State, Outcome) {
	gone := make(map[san.NexusID]bool)
	for _, n := range r.nexuses([]san.InitiatorPort{r.Nexus.Initiator}) {
		if key, there := s.Registered(n); there && !ignore && key != r.Out.Key {
			return s, conflict
		}
		gone[n] = true
	}
	next, out := s.clone(), good
	next.remove(func(g Registration) bool { return gone[g.Nexus] })
	if s.kind != 0 && next.kind == 0 && s.kind.Registrants() {
		out.Attentions = next.attend(r.Nexus, scsi.ASCReservationsReleased)
	}
	next.persist = r.Out.APTPL
	next.generation++
	return next, out
}

// nexuses returns the nexuses of the initiator ports with the target port of
// the request or, with ALL_TG_PT, with all ports of its target.
func (r *Request) nexuses(initiators []san.InitiatorPort) []san.NexusID {
	ports := []san.TPG{r.Nexus.Target.TPG}
	if r.Out.AllPorts {
		for _, p := range r.Ports {
			if p != r.Nexus.Target.TPG {
				ports = append(ports, p)
			}
		}
	}
	list := make([]san.NexusID, 0, len(initiators)*len(ports))
	for _, i := range initiators {
		for _, p := range ports {
			list = append(list, san.NexusID{Initiator: i, Target: san.TargetPort{Name: r.Nexus.Target.Name, TPG: p}})
		}
	}
	return list
}

// Capabilities is what REPORT CAPABILITIES tells of this machine.
func (s *State) Capabilities() pr.Capabilities {
	return pr.Capabilities{
		CRH: true, SIP: true, ATP: true, PTPL: true, Active: s.persist, Allow: allowCommands, Types: pr.Types(),
	}
}

// allowCommands is the ALLOW COMMANDS value of this server (SPC-4 table 202):
// TEST UNIT READY is allowed under every type; nothing is told about MODE SENSE
// and the like.
const allowCommands = 1
