package multipath

import (
	"testing"
	"time"

	"sango/internal/block"
	"sango/internal/scsi"
)

// manual drives an engine with paths 1 to n, by hand.
type manual struct {
	t   *testing.T
	e   *engine
	now instant
	got []action // of the last step
}

func newManual(t *testing.T, s settings, paths int) *manual {
	m := &manual{t: t, e: newEngine(s)}
	for i := range paths {
		m.step(event{kind: evAdd, path: pathID(i + 1)})
		m.login(pathID(i+1), uint32(i+1))
	}
	return m
}

func (m *manual) step(ev event) { m.got = m.e.step(m.now, ev, nil) }

func (m *manual) login(p pathID, login uint32) {
	m.step(event{kind: evLogin, path: p, login: login})
	m.step(event{kind: evProbed, path: p, login: login, probe: &probe{identity: "v", fence: true, maxFence: 8}})
}

// sent returns the path to which the last step sent r, 0 for none.
func (m *manual) sent(r *request) pathID {
	for _, a := range m.got {
		if a.kind == actSend && a.req == r {
			return a.path
		}
	}
	return 0
}

func (m *manual) read() *request {
	r := &request{blk: &block.Request{Op: block.OpRead, Len: 4096}}
	m.step(event{kind: evSubmit, req: r})
	return r
}

// TestSlowPathIsMarginal: a path whose latency is far above that of its group
// carries I/O no longer, and does again when its checks are as fast as others.
func TestSlowPathIsMarginal(t *testing.T) {
	m := newManual(t, settings{
		policy: RoundRobin, check: time.Second, marginal: marginal{clear: 10 * time.Second}, queue: -1,
	}, 2)
	slow := map[pathID]time.Duration{1: time.Millisecond, 2: 500 * time.Millisecond}
	second := func() {
		rs := make([]*request, 64)
		for i := range rs {
			rs[i] = m.read()
		}
		start := m.now
		for p := pathID(1); p <= 2; p++ {
			m.now = start + slow[p]
			for _, r := range rs {
				if r.path == p {
					m.step(event{kind: evResult, req: r})
				}
			}
		}
		m.now = start + time.Second
		m.step(event{kind: evTick})
		checks := m.got
		for p := pathID(1); p <= 2; p++ {
			for _, a := range checks {
				if a.kind == actCheck && a.path == p {
					m.now += slow[p]
					m.step(event{kind: evChecked, path: p, login: uint32(p)})
				}
			}
		}
	}
	state := func() PathState { return m.e.view().paths[1].state }
	for range slowChecks + 1 {
		second()
	}
	if state() != PathMarginal {
		t.Fatalf("path 2 is %v", state())
	}
	for range 30 {
		second()
	}
	if state() != PathMarginal {
		t.Fatalf("path 2 is %v while its checks are slow", state())
	}
	slow[2] = slow[1]
	for range 12 {
		second()
	}
	if state() != PathUp {
		t.Fatalf("path 2 is %v after it was clean", state())
	}
}

// TestPoisonEnds: a request that takes every session with it does not go on
// for ever.
func TestPoisonEnds(t *testing.T) {
	m := newManual(t, settings{queue: -1}, 0)
	m.step(event{kind: evAdd, path: 1})
	w := &request{blk: &block.Request{Op: block.OpWrite, Len: 4096}}
	m.step(event{kind: evSubmit, req: w})
	for login := uint32(1); login <= 2*maxLosses; login++ {
		m.now += time.Second
		m.login(1, login)
		for _, a := range m.got {
			if a.kind == actFence {
				m.step(event{kind: evFenced, id: a.id})
			}
		}
		for _, a := range m.got {
			if a.kind == actEnd {
				if block.ClassOf(a.err) != block.Busy {
					t.Errorf("ended with %v", a.err)
				}
				if v := m.e.view(); v.unfenced > 0 {
					t.Errorf("%d instances are not fenced", v.unfenced)
				}
				return
			}
		}
		m.step(event{kind: evResult, req: w, out: outcome{lost: true, sent: true}})
		m.step(event{kind: evLost, path: 1, login: login})
	}
	t.Error("it was sent again and again")
}

// TestAttentionsWithoutEnd: a target that has nothing but unit attentions is
// not asked without a pause.
func TestAttentionsWithoutEnd(t *testing.T) {
	m := newManual(t, settings{queue: -1, check: time.Hour}, 1)
	r := m.read()
	n := 0
	for m.sent(r) != 0 {
		if n++; n > 10*maxAttentions {
			t.Fatal("no pause")
		}
		m.step(event{kind: evResult, req: r, out: sense(scsi.UnitAttention, scsi.ASCPowerOnOrReset)})
	}
	w, ok := m.e.wake()
	if !ok {
		t.Fatal("no wake")
	}
	m.now = w
	if m.step(event{kind: evTick}); m.sent(r) == 0 {
		t.Error("not sent after the pause")
	}
}

// TestStrayEvents: what comes twice, too late or for nobody does no harm.
func TestStrayEvents(t *testing.T) {
	m := newManual(t, settings{queue: -1}, 2)
	r := m.read()
	first := m.sent(r)
	m.step(event{kind: evLost, path: first, login: uint32(first) + 7})
	m.step(event{kind: evResult, req: r})
	for _, ev := range []event{
		{kind: evResult, req: r},
		{kind: evAdd, path: 1},
		{kind: evFenced, id: 5},
		{kind: evGroupsSet, id: 5},
		{kind: evGroups, path: 1, login: 1},
		{kind: evChecked, path: 1, login: 1},
		{kind: evProbed, path: 1, login: 1, probe: &probe{identity: "x"}},
		{kind: evProbed, path: 9, login: 1},
		{kind: evLoginFailed, path: 1},
		{kind: evRemove, path: 9},
		{kind: evTick},
		{},
	} {
		if m.step(ev); len(m.got) > 0 {
			t.Errorf("%+v led to %+v", ev, m.got)
		}
	}
	if v := m.e.view(); v.requests != 0 || v.paths[0].state != PathUp || v.paths[1].state != PathUp {
		t.Errorf("%+v", v)
	}
}

// TestSettingPortGroupsIsBounded: so many at one time, each of which ends.
func TestSettingPortGroupsIsBounded(t *testing.T) {
	m := newManual(t, settings{queue: -1, command: 3 * time.Second}, 0)
	m.step(event{kind: evAdd, path: 1})
	m.step(event{kind: evLogin, path: 1, login: 1})
	m.step(event{kind: evProbed, path: 1, login: 1, probe: &probe{identity: "v", alua: true, explicit: true, group: 1}})
	ended := 0
	count := func() {
		for _, a := range m.got {
			if a.kind == actOptimized {
				if a.err == nil {
					t.Error("no error")
				}
				ended++
			}
		}
	}
	for range maxSets + 1 {
		m.step(event{kind: evOptimize, group: 1})
		count()
	}
	if ended != 1 {
		t.Errorf("%d were refused", ended)
	}
	m.now += 4 * time.Second
	m.step(event{kind: evTick})
	count()
	if ended != maxSets+1 {
		t.Errorf("%d have ended", ended)
	}
}
