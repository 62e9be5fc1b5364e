package reserve

import (
	"bytes"
	"maps"
	"testing"

	"pgregory.net/rapid"

	"sango/internal/san"
	"sango/internal/scsi"
	"sango/internal/scsi/pr"
)

// model is persistent reservations as one would tell them: who is registered
// with which key, and what is reserved by whom. It knows nothing of ALL_TG_PT,
// SPEC_I_PT and REGISTER AND MOVE.
type model struct {
	keys   map[san.NexusID]pr.Key
	kind   pr.Type
	holder san.NexusID
	gen    uint32
}

func (m *model) holds(n san.NexusID) bool {
	_, registered := m.keys[n]
	return m.kind != 0 && registered && (m.kind.AllRegistrants() || m.holder == n)
}

// forget takes registrations away; a reservation that nobody holds any more is
// gone.
func (m *model) forget(gone func(san.NexusID, pr.Key) bool) {
	maps.DeleteFunc(m.keys, gone)
	for n := range m.keys {
		if m.holds(n) {
			return
		}
	}
	m.kind = 0
}

// step returns the status that r ends with.
func (m *model) step(r *Request) scsi.Status {
	n, key := r.Nexus, r.Out.ActionKey
	mine, registered := m.keys[n]
	ignore := r.Action == pr.RegisterAndIgnore
	if !ignore && mine != r.Out.Key { // 0 where it is not registered
		return scsi.ReservationConflict
	}
	if !registered && r.Action != pr.Register && !ignore {
		return scsi.ReservationConflict
	}
	switch r.Action {
	case pr.Register, pr.RegisterAndIgnore:
		switch {
		case key != 0:
			m.keys[n] = key
		case registered:
			m.forget(func(o san.NexusID, _ pr.Key) bool { return o == n })
		default:
			return scsi.Good
		}
		m.gen++
	case pr.Reserve:
		switch {
		case !r.Type.Valid():
			return scsi.CheckConditionStatus
		case m.kind == 0:
			m.kind, m.holder = r.Type, n
		case m.kind != r.Type || !m.holds(n):
			return scsi.ReservationConflict
		}
	case pr.Release:
		switch {
		case m.kind == 0 || !m.holds(n):
		case m.kind != r.Type:
			return scsi.CheckConditionStatus
		default:
			m.kind = 0
		}
	case pr.Clear:
		m.kind = 0
		clear(m.keys)
		m.gen++
	case pr.Preempt, pr.PreemptAndAbort:
		all := m.kind.AllRegistrants()
		takes := all && key == 0 || m.kind != 0 && !all && key != 0 && m.keys[m.holder] == key
		switch {
		case takes && !r.Type.Valid(), key == 0 && !takes:
			return scsi.CheckConditionStatus
		case takes:
			maps.DeleteFunc(m.keys, func(o san.NexusID, k pr.Key) bool { return o != n && (all || k == key) })
			m.kind, m.holder = r.Type, n
		default:
			before := len(m.keys)
			m.forget(func(_ san.NexusID, k pr.Key) bool { return k == key })
			if len(m.keys) == before {
				return scsi.ReservationConflict
			}
		}
		m.gen++
	}
	return scsi.Good
}

func drawRequest(t *rapid.T, actions []scsi.ServiceAction) *Request {
	nexus := func(label string) string {
		return rapid.SampledFrom([]string{"a1@1", "a1@2", "a2@1", "b1@1", "b1@2", "c1@1"}).Draw(t, label)
	}
	key := func(label string) pr.Key { return pr.Key(rapid.IntRange(0, 3).Draw(t, label)) }
	b := func(label string) bool { return rapid.IntRange(0, 3).Draw(t, label) == 0 }
	to := nexusOf(t, nexus("to"))
	r := &Request{
		Nexus:  nexusOf(t, nexus("from")),
		Action: rapid.SampledFrom(actions).Draw(t, "action"),
		Type:   rapid.SampledFrom(append(pr.Types(), 0, 2)).Draw(t, "type"),
		Out: &pr.Out{
			Key: key("key"), ActionKey: key("new"), APTPL: b("aptpl"), Unregister: b("unreg"),
			RelativePort: uint16(to.Target.TPG), To: pr.IDOf(to.Initiator),
		},
		Ports: ports, Known: []san.InitiatorPort{portOf(t, "a1"), portOf(t, "a2"), portOf(t, "b1")},
	}
	return r
}

var allActions = []scsi.ServiceAction{
	pr.Register, pr.Reserve, pr.Release, pr.Clear, pr.Preempt, pr.PreemptAndAbort, pr.RegisterAndIgnore, pr.RegisterAndMove,
}

// TestAgainstModel runs random histories on the machine and on the model.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, m := &State{}, &model{keys: map[san.NexusID]pr.Key{}}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			r := drawRequest(t, allActions[:7])
			next, out := s.Step(r)
			if want := m.step(r); out.Status != want {
				t.Fatalf("%+v %+v: %v, the model says %v\n%s", r, r.Out, out.Status, want, describe(s))
			}
			s = next
			got := map[san.NexusID]pr.Key{}
			for _, g := range s.Registrations() {
				got[g.Nexus] = g.Key
			}
			if !maps.Equal(got, m.keys) || s.Type() != m.kind || s.Generation() != m.gen {
				t.Fatalf("after %+v %+v:\n%sthe model says %+v", r, r.Out, describe(s), m)
			}
			for n := range m.keys {
				if s.Holds(n) != m.holds(n) {
					t.Fatalf("%s holds: %v", nameOf(n), s.Holds(n))
				}
			}
		}
	})
}

// TestInvariants looks for what must hold after whatever history.
func TestInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &State{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "kind of step") {
			case 0:
				s, _ = s.Reserve6(nexusOf(t, "a1@1"), uint64(rapid.IntRange(0, 2).Draw(t, "login")))
			case 1:
				s, _ = s.Release6(nexusOf(t, "a1@1"))
			case 2:
				s = s.NexusLost(nexusOf(t, "b1@1"))
			case 3:
				s = s.Reset()
			default:
				r := drawRequest(t, allActions)
				r.Out.AllPorts = rapid.IntRange(0, 3).Draw(t, "all") == 0
				if r.Action == pr.Register && rapid.IntRange(0, 5).Draw(t, "spec") == 0 {
					r.Out.Ports = []pr.TransportID{idOf(t, rapid.SampledFrom([]string{"a", "b1", "c1", "d"}).Draw(t, "port"))}
				}
				s = checkStep(t, s, r)
			}
			checkState(t, s)
		}
	})
}

func checkStep(t *rapid.T, s *State, r *Request) *State {
	before := s.Encode()
	next, out := s.Step(r)
	if !bytes.Equal(before, s.Encode()) {
		t.Fatalf("%+v changed a state in place", r)
	}
	if out.Status != scsi.Good && next != s {
		t.Fatalf("%+v: %v, but another state", r, out.Status)
	}
	if (out.Check != nil) != (out.Status == scsi.CheckConditionStatus) {
		t.Fatalf("%+v: %v with %v", r, out.Status, out.Check)
	}
	counts := r.Action != pr.Reserve && r.Action != pr.Release
	if want := s.generation; counts && next != s && next.generation != want+1 || (!counts || next == s) && next.generation != want {
		t.Fatalf("%+v: PRgeneration from %d to %d", r, want, next.generation)
	}
	told := map[san.NexusID]bool{}
	for _, a := range out.Attentions {
		if _, was := s.Registered(a.Nexus); a.Nexus == r.Nexus || !was || told[a.Nexus] {
			t.Fatalf("%+v: attention for %s", r, nameOf(a.Nexus))
		}
		told[a.Nexus] = true
	}
	for _, n := range out.Abort {
		if _, still := next.Registered(n); n == r.Nexus || still || r.Action != pr.PreemptAndAbort {
			t.Fatalf("%+v: aborts %s", r, nameOf(n))
		}
	}
	// Nobody loses a registration without being told, but by an act of its own
	// initiator.
	for _, g := range s.regs {
		if _, still := next.Registered(g.Nexus); !still && !told[g.Nexus] && g.Nexus.Initiator != r.Nexus.Initiator {
			t.Fatalf("%+v: %s lost its registration and was not told", r, nameOf(g.Nexus))
		}
	}
	return next
}

func checkState(t *rapid.T, s *State) {
	holders := 0
	for _, g := range s.regs {
		if g.Key == 0 {
			t.Fatalf("%s is registered with key 0", nameOf(g.Nexus))
		}
		if s.Holds(g.Nexus) {
			holders++
			if s.Conflicts(g.Nexus, AccessWrite) {
				t.Fatalf("the holder %s is stopped", nameOf(g.Nexus))
			}
		}
	}
	switch {
	case s.kind == 0 && holders != 0, s.kind != 0 && holders == 0:
		t.Fatalf("%d holders:\n%s", holders, describe(s))
	case s.kind.AllRegistrants() && holders != len(s.regs), !s.kind.AllRegistrants() && holders > 1:
		t.Fatalf("%d holders:\n%s", holders, describe(s))
	}
	if _, held := s.Legacy(); held && (len(s.regs) > 0 || s.kind != 0) {
		t.Fatalf("both kinds of reservation:\n%s", describe(s))
	}
	again, err := Decode(s.Encode())
	if err != nil || !bytes.Equal(again.Encode(), s.Encode()) {
		t.Fatalf("record: %v\n%s", err, s.Encode())
	}
}
