package model

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
)

// script drives a cluster without chance by the lines of a file in
// testdata/scripts. Every command prints what happens during it: what the
// store takes, but for heartbeats, and what the gateways do.
type script struct {
	t   *testing.T
	d   *datadriven.TestData
	w   *world
	out strings.Builder
}

func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/scripts", func(t *testing.T, file string) {
		s := &script{}
		datadriven.RunTest(t, file, func(t *testing.T, d *datadriven.TestData) string {
			s.t, s.d = t, d
			s.out.Reset()
			s.do()
			if s.w.err != nil {
				d.Fatalf(t, "%v", s.w.err)
			}
			if s.out.Len() == 0 {
				return "nothing\n"
			}
			return s.out.String()
		})
	})
}

func (s *script) arg(key string) (string, bool) {
	for _, a := range s.d.CmdArgs {
		if a.Key == key {
			return strings.Join(a.Vals, ","), true
		}
	}
	return "", false
}

func (s *script) duration(v string) Instant {
	d, err := time.ParseDuration(v)
	if err != nil {
		s.d.Fatalf(s.t, "%v", err)
	}
	return Instant(d)
}

func (s *script) span(key string, def Instant) Instant {
	if v, ok := s.arg(key); ok {
		return s.duration(v)
	}
	return def
}

func (s *script) number(key string, def int) int {
	v, ok := s.arg(key)
	if !ok {
		return def
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		s.d.Fatalf(s.t, "%v", err)
	}
	return n
}

func (s *script) word(i int) string {
	if i >= len(s.d.CmdArgs) {
		s.d.Fatalf(s.t, "%s wants more arguments", s.d.Cmd)
	}
	return s.d.CmdArgs[i].Key
}

func (s *script) proc(i int) *proc {
	name := s.word(i)
	if len(name) != 1 || int(name[0]-'A') >= len(s.w.procs) {
		s.d.Fatalf(s.t, "there is no gateway %s", name)
	}
	return s.w.proc(GatewayID(name))
}

func (s *script) volume(i int) volumeID {
	n, err := strconv.Atoi(strings.TrimPrefix(s.word(i), "v"))
	if err != nil || n > len(s.w.volumes) {
		s.d.Fatalf(s.t, "there is no volume %s", s.word(i))
	}
	return volumeOf(n)
}

var fencings = map[string]Fencing{"none": FenceNone, "driver": FenceDriver, "command": FenceCommand}

// make makes a cluster: gateways=, volumes=, fencing=, prefer=, prepare=, hosts.
func (s *script) make() {
	h := history{Gateways: s.number("gateways", 3), R2: true, Prepare: s.span("prepare", 0)}
	f, _ := s.arg("fencing")
	for range s.number("volumes", 1) {
		if f == "" {
			f = "driver"
		}
		h.Fencing = append(h.Fencing, fencings[f])
	}
	if p, ok := s.arg("prefer"); ok {
		h.Prefer = []GatewayID{GatewayID(p)}
	}
	_, h.Sole = s.arg("sole")
	set := Config{
		TTL: 3 * Second, Margin: 500 * Millisecond, Beat: 500 * Millisecond,
		Failback: s.span("failback", 10*Second), Sticky: s.span("sticky", 0), Balance: s.span("balance", -1), Moves: s.number("moves", 0),
		Gather: s.span("gather", -1),
	}
	s.w = newWorld(h, set)
	s.w.plain = true
	_, hosts := s.arg("hosts")
	s.w.quiet = !hosts
	s.w.log = func(line string) { fmt.Fprintf(&s.out, "%7.3f %s\n", float64(s.w.now)/1e9, line) }
}

func (s *script) do() {
	switch s.d.Cmd {
	case "cluster":
		s.make()
	case "start":
		for i := range s.d.CmdArgs {
			s.proc(i).start()
		}
	case "pass":
		s.w.pass(s.duration(s.word(0)))
	case "kill":
		s.proc(0).kill()
	case "stop":
		s.proc(0).stop(s.duration(s.word(1)), false)
	case "vm-pause":
		s.proc(0).stop(s.duration(s.word(1)), true)
	case "cut":
		s.w.cut(s.proc(0), s.duration(s.word(1)))
	case "outage":
		for _, p := range s.w.procs {
			s.w.cut(p, s.duration(s.word(0)))
		}
	case "apart":
		s.w.separate(s.proc(0), s.proc(1), s.duration(s.word(2)))
	case "elect":
		for _, p := range s.w.procs {
			if p != s.proc(0) && p.coordinator {
				p.coordinator = false
				p.coordinate(Deposed{})
			}
		}
		p := s.proc(0)
		p.coordinator = true
		p.coordinate(Elected{s.w.store.put(CoordinatorRecord{p.id})})
	case "drain":
		s.w.store.put(DrainRecord{s.proc(0).id})
	case "undrain":
		s.w.undrain(s.proc(0).id)
	case "leave":
		s.proc(0).gateway(Leave{})
	case "remove":
		s.w.remove(s.proc(0))
	case "confirm":
		s.w.confirm()
	case "fences":
		s.w.noFence = s.word(0) == "fail"
	case "opens":
		if s.w.noOpen == nil {
			s.w.noOpen = map[GatewayID]bool{}
		}
		s.w.noOpen[s.proc(0).id] = s.word(1) == "fail"
	case "medium-fails":
		p := s.w.proc(s.w.store.owner(s.volume(0)).Owner.Gateway)
		p.gateway(Failed{s.volume(0)})
	case "ask", "order":
		by := "gw iqn.a,i,0x1 iqn.t,t,0x1"
		switch {
		case s.d.Cmd == "order":
			by = Administrator
		case len(s.d.CmdArgs) > 2: // a host
			by = "gw " + s.word(2) + ",i,0x2 iqn.t,t,0x2"
		}
		for _, p := range s.w.procs {
			if p.coordinator {
				p.coordinate(MoveAsked{s.volume(0), s.proc(1).id, by})
			}
		}
	case "reserve":
		s.reserve()
	case "ports":
		s.ports()
	case "may-write":
		for _, p := range s.w.procs {
			o := s.w.store.owner(s.volume(0))
			fmt.Fprintf(&s.out, "%s: write under epoch %d %v, answer %v\n", p.id, o.Epoch,
				!p.dead && p.g.MayWrite(p.clock(), s.volume(0), o.Epoch), !p.dead && p.g.MayAnswer(p.clock()))
		}
		return
	default:
		s.d.Fatalf(s.t, "unknown command %s", s.d.Cmd)
	}
	s.w.pass(0)
}

// reserve has the owner of a volume store reservations: lost (its answer gets
// lost), late (it is made after the answer was given up).
func (s *script) reserve() {
	id := s.volume(0)
	p := s.w.proc(s.w.store.owner(id).Owner.Gateway)
	_, lost := s.arg("lost")
	_, late := s.arg("late")
	for _, e := range p.g.Step(p.clock(), Reserve{id, s.word(1)}) {
		pr, ok := e.(Propose)
		if !ok || !lost && !late {
			p.w.traceEffect(p, e)
			p.effect(e)
			continue
		}
		if lost {
			s.w.store.apply(pr.Txn)
		} else {
			s.w.after(1005*Millisecond, func() {
				if _, ok := s.w.store.apply(pr.Txn); !ok {
					s.w.trace("store: a late transaction is refused")
				}
			})
		}
		p.later(Second, func() { p.gateway(Answered{ID: pr.ID, Outcome: Unknown}) })
	}
}

// ports prints what every gateway would say of a volume's ports.
func (s *script) ports() {
	said := map[string][]string{}
	var order []string
	for _, p := range s.w.procs {
		if p.dead {
			continue
		}
		var l []string
		for _, port := range p.g.Ports(s.volume(0)) {
			l = append(l, fmt.Sprintf("%s %v", port.Gateway, port.State))
		}
		line := strings.Join(l, ", ")
		if said[line] == nil {
			order = append(order, line)
		}
		said[line] = append(said[line], string(p.id))
	}
	for _, line := range order {
		fmt.Fprintf(&s.out, "%s say: %s\n", strings.Join(said[line], " "), line)
	}
}
