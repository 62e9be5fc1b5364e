package multipath

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"sango/internal/block"
	"sango/internal/scsi"
	"sango/internal/scsi/alua"
)

// script drives an engine by the lines of a file in testdata/engine.
type script struct {
	t      *testing.T
	d      *datadriven.TestData
	e      *engine
	now    instant
	logins uint32
	login  map[pathID]uint32
	reqs   map[string]*request
	fences []uint64 // unanswered
	sets   []uint64
	out    strings.Builder
}

func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/engine", func(t *testing.T, file string) {
		s := &script{t: t, login: map[pathID]uint32{}, reqs: map[string]*request{}}
		s.new()
		datadriven.RunTest(t, file, func(t *testing.T, d *datadriven.TestData) string {
			s.t, s.d = t, d
			s.out.Reset()
			s.do()
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

func (s *script) duration(key string, def time.Duration) time.Duration {
	v, ok := s.arg(key)
	if !ok {
		return def
	}
	d, err := time.ParseDuration(v)
	if err != nil {
		s.d.Fatalf(s.t, "%v", err)
	}
	return d
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

// words are the arguments without a value.
func (s *script) word(i int) string {
	if i >= len(s.d.CmdArgs) {
		s.d.Fatalf(s.t, "%s wants more arguments", s.d.Cmd)
	}
	return s.d.CmdArgs[i].Key
}

func (s *script) path(i int) pathID {
	n, err := strconv.Atoi(s.word(i))
	if err != nil {
		s.d.Fatalf(s.t, "%q is no path", s.word(i))
	}
	return pathID(n)
}

func (s *script) new() {
	s.now, s.logins = 0, 0
	set := settings{queue: -1, quiesce: 10 * time.Second, check: time.Hour}
	if s.d != nil {
		v, _ := s.arg("policy")
		p, err := ParsePolicy(v)
		if err != nil {
			s.d.Fatalf(s.t, "%v", err)
		}
		_, take := s.arg("takeover")
		set = settings{
			policy: p, takeOver: take, requests: s.number("requests", 0), depth: s.number("depth", 0), paths: s.number("paths", 0),
			command: s.duration("command", 0), queue: s.duration("queue", -1), quiesce: s.duration("quiesce", 0),
			failback: s.duration("failback", 0), check: s.duration("check", time.Hour),
			marginal: marginal{failures: s.number("failures", 0), window: s.duration("window", 0), clear: s.duration("clear", 0)},
		}
	}
	s.e = newEngine(set)
}

// do does one command.
func (s *script) do() {
	switch s.d.Cmd {
	case "new":
		s.new()
	case "add":
		s.feed(event{kind: evAdd, path: s.path(0), text: "portal " + s.word(0)})
	case "remove":
		s.feed(event{kind: evRemove, path: s.path(0)})
	case "login":
		s.logins++
		s.login[s.path(0)] = s.logins
		s.feedOn(0, event{kind: evLogin})
	case "refused":
		s.feed(event{kind: evLoginFailed, path: s.path(0), err: errors.New("connection refused")})
	case "lost":
		s.feedOn(0, event{kind: evLost, err: errors.New("connection reset")})
	case "draining":
		s.feedOn(0, event{kind: evDraining})
	case "probed":
		s.probed(0)
	case "up": // add, login and probed in one
		s.feed(event{kind: evAdd, path: s.path(0), text: "portal " + s.word(0)})
		s.logins++
		s.login[s.path(0)] = s.logins
		s.feedOn(0, event{kind: evLogin})
		s.probed(0)
	case "groups":
		g := s.groups(1)
		s.feedOn(0, event{kind: evGroups, groups: g})
	case "checked":
		s.feedOn(0, event{kind: evChecked, out: s.outcome(s.word(1))})
	case "attention":
		s.feedOn(0, event{kind: evAttention, asc: s.outcome("06/" + s.word(1)).sense.ASC})
	case "read", "write", "discard", "write-zeroes", "flush":
		s.submit()
	case "result":
		r := s.reqs[s.word(0)]
		if r == nil {
			s.d.Fatalf(s.t, "there is no request %s", s.word(0))
		}
		s.feed(event{kind: evResult, req: r, out: s.outcome(s.word(1))})
	case "fenced":
		s.feed(event{kind: evFenced, id: s.answer(&s.fences), out: s.outcome(s.word(0))})
	case "optimize":
		s.feed(event{kind: evOptimize, group: uint16(s.path(0)), id: 99})
	case "set":
		s.feed(event{kind: evGroupsSet, id: s.answer(&s.sets), out: s.outcome(s.word(0))})
	case "pass":
		s.pass()
	case "stop":
		s.feed(event{kind: evStop})
	case "view":
		s.view()
	default:
		s.d.Fatalf(s.t, "unknown command %s", s.d.Cmd)
	}
}

func (s *script) answer(l *[]uint64) uint64 {
	if len(*l) == 0 {
		s.d.Fatalf(s.t, "nothing was asked")
	}
	id := (*l)[0]
	*l = (*l)[1:]
	return id
}

func (s *script) submit() {
	ops := map[string]block.Op{
		"read": block.OpRead, "write": block.OpWrite, "discard": block.OpDiscard, "write-zeroes": block.OpWriteZeroes, "flush": block.OpFlush,
	}
	for i := range s.d.CmdArgs {
		name := s.word(i)
		if strings.Contains(s.d.CmdArgs[i].String(), "=") {
			continue
		}
		r := &request{user: name, blk: &block.Request{Op: ops[s.d.Cmd]}}
		_, r.volatile = s.arg("cached")
		if s.d.Cmd != "flush" {
			r.blk.Len = int64(s.number("len", 4096))
		}
		s.reqs[name] = r
		s.feed(event{kind: evSubmit, req: r})
	}
}

// probed answers a probe: id=, boot=, group=, groups as for groups, fence,
// explicit, fail=.
func (s *script) probed(at int) {
	if v, ok := s.arg("fail"); ok {
		s.feedOn(at, event{kind: evProbed, out: s.outcome(v)})
		return
	}
	p := &probe{identity: "v", group: uint16(s.number("group", 0)), maxFence: 2}
	if v, ok := s.arg("id"); ok {
		p.identity = v
	}
	p.boot[15] = byte(s.number("boot", 0))
	_, p.fence = s.arg("fence")
	_, p.explicit = s.arg("explicit")
	p.groups = s.groups(at + 1)
	p.alua = p.group != 0
	s.feedOn(at, event{kind: evProbed, probe: p})
}

// groups reads arguments such as 1=optimized.
func (s *script) groups(from int) []alua.Group {
	states := map[string]alua.State{
		"optimized": alua.Optimized, "non-optimized": alua.NonOptimized, "standby": alua.Standby,
		"unavailable": alua.Unavailable, "offline": alua.Offline, "transitioning": alua.Transitioning,
	}
	l := []alua.Group{}
	for _, a := range s.d.CmdArgs[from:] {
		n, err := strconv.Atoi(a.Key)
		if err != nil || len(a.Vals) == 0 {
			continue
		}
		st, ok := states[a.Vals[0]]
		if !ok {
			s.d.Fatalf(s.t, "unknown state %s", a.Vals[0])
		}
		l = append(l, alua.Group{ID: uint16(n), State: st, Preferred: len(a.Vals) > 1})
	}
	return l
}

// outcome reads good, busy, full, aborted, conflict, short, lost, unsent, or a
// sense key and code such as 06/2a06, with a trailing d for a deferred error.
func (s *script) outcome(v string) outcome {
	switch v {
	case "good":
		return outcome{}
	case "busy":
		return outcome{status: scsi.Busy}
	case "full":
		return outcome{status: scsi.TaskSetFull}
	case "aborted":
		return outcome{status: scsi.TaskAborted}
	case "conflict":
		return outcome{status: scsi.ReservationConflict}
	case "short":
		return outcome{short: true}
	case "lost":
		return outcome{lost: true, sent: true, err: errors.New("connection reset")}
	case "unsent":
		return outcome{lost: true, err: errors.New("connection reset")}
	}
	var o outcome
	code, deferred := strings.CutSuffix(v, "-deferred")
	if _, err := fmt.Sscanf(code, "%x/%x", &o.sense.Key, &o.sense.ASC); err != nil {
		s.d.Fatalf(s.t, "%q is no outcome", v)
	}
	o.status, o.sense.Deferred = scsi.CheckConditionStatus, deferred
	return o
}

// feedOn gives the engine an event of the session of the path that argument
// at names.
func (s *script) feedOn(at int, ev event) {
	ev.path = s.path(at)
	ev.login = s.login[ev.path]
	s.feed(ev)
}

func (s *script) feed(ev event) {
	for _, a := range s.e.step(s.now, ev, nil) {
		s.print(&a)
	}
}

// pass lets time pass, with the ticks that the engine wants.
func (s *script) pass() {
	d, err := time.ParseDuration(s.word(0))
	if err != nil {
		s.d.Fatalf(s.t, "%v", err)
	}
	for end := s.now + d; ; {
		w, ok := s.e.wake()
		if !ok || w > end {
			s.now = end
			return
		}
		s.now = w
		was := s.out.Len()
		s.feed(event{kind: evTick})
		if s.out.Len() > was {
			text := s.out.String()
			s.out.Reset()
			s.out.WriteString(text[:was])
			for line := range strings.Lines(text[was:]) {
				fmt.Fprintf(&s.out, "%v: %s", s.now, line)
			}
		}
	}
}

func (s *script) print(a *action) {
	w := &s.out
	switch a.kind {
	case actSend:
		fmt.Fprintf(w, "send %s on %d\n", a.req.user, a.path)
	case actEnd:
		if a.err == nil {
			fmt.Fprintf(w, "end %s\n", a.req.user)
			return
		}
		fmt.Fprintf(w, "end %s: %v\n", a.req.user, a.err)
	case actAbort:
		fmt.Fprintf(w, "abort %d: %v\n", a.path, a.err)
	case actFence:
		s.fences = append(s.fences, a.id)
		if a.earlier {
			fmt.Fprintf(w, "fence earlier runs on %d\n", a.path)
			return
		}
		fmt.Fprintf(w, "fence logins %v on %d\n", a.logins, a.path)
	case actSetGroups:
		s.sets = append(s.sets, a.id)
		fmt.Fprintf(w, "set group %d on %d\n", a.group, a.path)
	case actOptimized:
		fmt.Fprintf(w, "optimized: %v\n", a.err)
	case actGone:
		fmt.Fprintf(w, "gone %d", a.path)
		if a.err != nil {
			fmt.Fprintf(w, ": %v", a.err)
		}
		fmt.Fprintln(w)
	default:
		names := map[actionKind]string{
			actLogout: "logout", actProbe: "probe", actCheck: "check", actReadGroups: "read groups", actReadCapacity: "read capacity",
		}
		fmt.Fprintf(w, "%s on %d\n", names[a.kind], a.path)
	}
}

func (s *script) view() {
	v := s.e.view()
	for _, p := range v.paths {
		fmt.Fprintf(&s.out, "%d %v", p.id, p.state)
		if p.alua {
			fmt.Fprintf(&s.out, ", group %d %v", p.group, p.access)
		}
		if p.chosen {
			s.out.WriteString(", in use")
		}
		if p.depth != s.e.set.depth {
			fmt.Fprintf(&s.out, ", depth %d", p.depth)
		}
		if p.lastErr != nil {
			fmt.Fprintf(&s.out, " (%v)", p.lastErr)
		}
		s.out.WriteString("\n")
	}
	fmt.Fprintf(&s.out, "serving=%v requests=%d waiting=%d unfenced=%d", v.serving, v.requests, v.waiting, v.unfenced)
	if v.reboots > 0 {
		fmt.Fprintf(&s.out, " reboots=%d", v.reboots)
	}
	s.out.WriteString("\n")
}
