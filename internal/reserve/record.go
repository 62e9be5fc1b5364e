package reserve

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"sango/internal/san"
	"sango/internal/scsi/pr"
)

// recordVersion is the version of the record's form.
const recordVersion = 1

// ErrRecord is wrapped by the errors of Decode.
var ErrRecord = errors.New("reservation record is not valid")

// record is a State as it is stored. A RESERVE(6) is part of it for where the
// unit outlives the process that serves it; PowerOn drops it. A program that does
// not know its login passes over that, and leaves it out.
type record struct {
	Version       int                  `json:"version"`
	Generation    uint32               `json:"generation"`
	Persist       bool                 `json:"aptpl,omitempty"`
	Type          pr.Type              `json:"type,omitempty"`
	Holder        *recordNexus         `json:"holder,omitempty"` // none for all registrants types
	Registrations []recordRegistration `json:"registrations,omitempty"`
	Legacy        *recordLegacy        `json:"legacy,omitempty"` // who holds a RESERVE(6)
}

type recordRegistration struct {
	recordNexus
	Key string `json:"key"` // hexadecimal
}

type recordLegacy struct {
	recordNexus
	Login string `json:"login,omitempty"` // hexadecimal; none: not known
}

type recordNexus struct {
	Initiator string  `json:"initiator"`
	ISID      string  `json:"isid"` // hexadecimal
	Target    string  `json:"target"`
	TPG       san.TPG `json:"tpg"`
}

func recordOf(n san.NexusID) recordNexus {
	return recordNexus{n.Initiator.Name, hex.EncodeToString(n.Initiator.ISID[:]), n.Target.Name, n.Target.TPG}
}

func (r *recordNexus) nexus() (san.NexusID, error) {
	n := san.NexusID{Initiator: san.InitiatorPort{Name: r.Initiator}, Target: san.TargetPort{Name: r.Target, TPG: r.TPG}}
	if len(r.ISID) != 2*len(n.Initiator.ISID) {
		return n, fmt.Errorf("%w: ISID %q of %s", ErrRecord, r.ISID, r.Initiator)
	}
	if _, err := hex.Decode(n.Initiator.ISID[:], []byte(r.ISID)); err != nil {
		return n, fmt.Errorf("%w: ISID %q of %s", ErrRecord, r.ISID, r.Initiator)
	}
	return n, nil
}

// Encode returns the record of s.
func (s *State) Encode() []byte {
	r := record{Version: recordVersion, Generation: s.generation, Persist: s.persist, Type: s.kind}
	if s.kind != 0 && !s.kind.AllRegistrants() {
		h := recordOf(s.holder)
		r.Holder = &h
	}
	if s.legacy != nil {
		r.Legacy = &recordLegacy{recordNexus: recordOf(*s.legacy)}
		if s.login != 0 {
			r.Legacy.Login = strconv.FormatUint(s.login, 16)
		}
	}
	for _, g := range s.regs {
		r.Registrations = append(r.Registrations, recordRegistration{recordOf(g.Nexus), strconv.FormatUint(uint64(g.Key), 16)})
	}
	b, err := json.Marshal(r)
	if err != nil { // there is nothing in it that could fail
		return nil
	}
	return b
}

// Decode returns the State of a record; an empty one is the zero State. What
// could not have been encoded is refused.
func Decode(b []byte) (*State, error) {
	if len(b) == 0 {
		return &State{}, nil
	}
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	if r.Version != recordVersion {
		return nil, fmt.Errorf("%w: version %d, this program knows %d", ErrRecord, r.Version, recordVersion)
	}
	if len(r.Registrations) > MaxRegistrations {
		return nil, fmt.Errorf("%w: %d registrations", ErrRecord, len(r.Registrations))
	}
	s := (&State{generation: r.Generation, persist: r.Persist, kind: r.Type}).clone()
	for i := range r.Registrations {
		g := &r.Registrations[i]
		n, err := g.nexus()
		if err != nil {
			return nil, err
		}
		key, err := strconv.ParseUint(g.Key, 16, 64)
		if _, twice := s.Registered(n); err != nil || key == 0 || twice {
			return nil, fmt.Errorf("%w: registration %d, key %q of %s", ErrRecord, i, g.Key, g.Initiator)
		}
		s.set(n, pr.Key(key))
	}
	if r.Holder != nil {
		var err error
		if s.holder, err = r.Holder.nexus(); err != nil {
			return nil, err
		}
	}
	if r.Legacy != nil {
		n, err := r.Legacy.nexus()
		if err != nil {
			return nil, err
		}
		s.legacy = &n
		if l := r.Legacy.Login; l != "" {
			if s.login, err = strconv.ParseUint(l, 16, 64); err != nil || s.login == 0 {
				return nil, fmt.Errorf("%w: login %q of %s", ErrRecord, l, r.Legacy.Initiator)
			}
		}
	}
	if err := s.check(r.Holder != nil); err != nil {
		return nil, err
	}
	return s, nil
}

// check looks for what no sequence of steps leads to.
func (s *State) check(held bool) error {
	_, registered := s.index[s.holder]
	switch {
	case s.kind != 0 && !s.kind.Valid():
		return fmt.Errorf("%w: reservation of type %d", ErrRecord, s.kind)
	case s.kind != 0 && len(s.regs) == 0:
		return fmt.Errorf("%w: a reservation without registration", ErrRecord)
	case held != (s.kind != 0 && !s.kind.AllRegistrants()):
		return fmt.Errorf("%w: type %v and a holder do not go together", ErrRecord, s.kind)
	case s.legacy != nil && len(s.regs) > 0:
		return fmt.Errorf("%w: a RESERVE(6) beside registrations", ErrRecord)
	case held && !registered:
		return fmt.Errorf("%w: the holder %v is not registered", ErrRecord, s.holder)
	}
	return nil
}
