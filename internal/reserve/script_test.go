package reserve

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"sango/internal/san"
	"sango/internal/scsi"
	"sango/internal/scsi/pr"
)

// failer is a test of package testing or rapid.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// nexusOf makes a nexus of a short name: a letter for the initiator, a digit
// for its ISID, then @ and the portal group tag: "a1@2".
func nexusOf(t failer, s string) san.NexusID {
	t.Helper()
	port, tpg, ok := strings.Cut(s, "@")
	n, err := strconv.Atoi(tpg)
	if !ok || err != nil {
		t.Fatalf("%q is not a nexus such as a1@2", s)
	}
	return san.NexusID{Initiator: portOf(t, port), Target: san.TargetPort{Name: "iqn.t", TPG: san.TPG(n)}}
}

func portOf(t failer, s string) san.InitiatorPort {
	t.Helper()
	if len(s) != 2 {
		t.Fatalf("%q is not an initiator port such as a1", s)
	}
	return san.InitiatorPort{Name: "iqn." + s[:1], ISID: san.ISID{5: s[1] - '0'}}
}

func nameOf(n san.NexusID) string {
	return fmt.Sprintf("%s%d@%d", strings.TrimPrefix(n.Initiator.Name, "iqn."), n.Initiator.ISID[5], n.Target.TPG)
}

var typeNames = map[string]pr.Type{
	"we": pr.WriteExclusive, "ea": pr.ExclusiveAccess, "wero": pr.WriteExclusiveRegistrantsOnly,
	"earo": pr.ExclusiveAccessRegistrantsOnly, "wear": pr.WriteExclusiveAllRegistrants, "eaar": pr.ExclusiveAccessAllRegistrants,
}

var actions = map[string]scsi.ServiceAction{
	"register": pr.Register, "reserve": pr.Reserve, "release": pr.Release, "clear": pr.Clear, "preempt": pr.Preempt,
	"preempt-and-abort": pr.PreemptAndAbort, "register-and-ignore": pr.RegisterAndIgnore, "register-and-move": pr.RegisterAndMove,
}

var ports = []san.TPG{1, 2}

// requestOf makes a request of a line of a script.
func requestOf(t testing.TB, action scsi.ServiceAction, d *datadriven.TestData) *Request {
	r := &Request{Action: action, Out: &pr.Out{}, Ports: ports}
	for _, a := range d.CmdArgs {
		v := ""
		if len(a.Vals) > 0 {
			v = a.Vals[0]
		}
		number := func() uint64 {
			n, err := strconv.ParseUint(v, 16, 64)
			if err != nil {
				d.Fatalf(t.(*testing.T), "%s: %v", a.Key, err)
			}
			return n
		}
		switch a.Key {
		case "from":
			r.Nexus = nexusOf(t, v)
		case "key":
			r.Out.Key = pr.Key(number())
		case "new", "victim":
			r.Out.ActionKey = pr.Key(number())
		case "type":
			r.Type = typeNames[v]
			if r.Type == 0 {
				r.Type = pr.Type(number())
			}
		case "scope":
			r.Scope = uint8(number())
		case "aptpl":
			r.Out.APTPL = true
		case "all":
			r.Out.AllPorts = true
		case "unreg":
			r.Out.Unregister = true
		case "ports":
			r.Out.Ports = []pr.TransportID{}
			for _, p := range a.Vals {
				r.Out.Ports = append(r.Out.Ports, idOf(t, p))
			}
		case "known":
			for _, p := range a.Vals {
				r.Known = append(r.Known, portOf(t, p))
			}
		case "to":
			id, tpg, _ := strings.Cut(v, "@")
			r.Out.To = idOf(t, id)
			n, _ := strconv.Atoi(tpg)
			r.Out.RelativePort = uint16(n)
		default:
			d.Fatalf(t.(*testing.T), "unknown argument %s", a.Key)
		}
	}
	return r
}

// idOf makes a TransportID: of a port (a1), or of every port of a name (a).
func idOf(t failer, s string) pr.TransportID {
	if len(s) == 1 {
		return pr.TransportID{Name: "iqn." + s}
	}
	return pr.IDOf(portOf(t, s))
}

func describe(s *State) string {
	var b strings.Builder
	fmt.Fprintf(&b, "generation %d", s.generation)
	if s.persist {
		b.WriteString(", persists")
	}
	b.WriteByte('\n')
	for _, g := range s.regs {
		fmt.Fprintf(&b, "  %s key %x", nameOf(g.Nexus), g.Key)
		if s.Holds(g.Nexus) {
			b.WriteString(" holder")
		}
		b.WriteByte('\n')
	}
	if s.kind != 0 {
		fmt.Fprintf(&b, "  reserved: %v\n", s.kind)
	}
	if n, ok := s.Legacy(); ok {
		fmt.Fprintf(&b, "  RESERVE(6) by %s\n", nameOf(n))
	}
	return b.String()
}

func describeOutcome(o Outcome) string {
	var b strings.Builder
	b.WriteString(o.Status.String())
	if o.Check != nil {
		fmt.Fprintf(&b, ": %v", o.Check.Sense.ASC)
		if o.Check.Sense.HasField {
			where := "list"
			if o.Check.Sense.FieldCDB {
				where = "CDB"
			}
			fmt.Fprintf(&b, ", byte %d of the %s", o.Check.Sense.Field, where)
		}
	}
	b.WriteByte('\n')
	for _, a := range o.Attentions {
		fmt.Fprintf(&b, "  attention %s: %v\n", nameOf(a.Nexus), a.ASC)
	}
	for _, n := range o.Abort {
		fmt.Fprintf(&b, "  abort %s\n", nameOf(n))
	}
	return b.String()
}

// TestScripts runs the scripts in testdata: each command prints what it ends
// with and the state it leaves behind, where that is another.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/scripts", func(t *testing.T, path string) {
		s := &State{}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if action, ok := actions[d.Cmd]; ok {
				next, out := s.Step(requestOf(t, action, d))
				answer := describeOutcome(out)
				if next != s {
					answer += describe(next)
				}
				s = next
				return answer
			}
			var who []san.NexusID
			for _, a := range d.CmdArgs {
				who = append(who, nexusOf(t, a.Key))
			}
			legacy := func(step func(san.NexusID) (*State, bool)) string {
				next, ok := step(who[0])
				s = next
				if !ok {
					return "RESERVATION CONFLICT\n"
				}
				return "GOOD\n" + describe(s)
			}
			switch d.Cmd {
			case "reserve6":
				return legacy(func(n san.NexusID) (*State, bool) { return s.Reserve6(n, 1) })
			case "release6":
				return legacy(s.Release6)
			case "lost":
				s = s.NexusLost(who[0])
			case "reset":
				s = s.Reset()
			case "restart":
				again, err := Decode(s.Encode())
				if err != nil {
					return err.Error()
				}
				s = again.PowerOn()
			case "state":
			case "read-reservation":
				return fmt.Sprintf("%+v\n", s.Reservation())
			case "access":
				var b strings.Builder
				for _, n := range who {
					fmt.Fprintf(&b, "%s: read %v, write %v\n", nameOf(n), !s.Conflicts(n, AccessRead), !s.Conflicts(n, AccessWrite))
				}
				return b.String()
			case "new":
				s = &State{}
				return ""
			default:
				d.Fatalf(t, "unknown command %s", d.Cmd)
			}
			return describe(s)
		})
	})
}
