package model

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"strings"

	"sango/internal/san"
)

type volumeID = san.UUID

// history is what happens to a cluster, but for chance, which Seed fixes.
type history struct {
	Seed     uint64
	Gateways int
	Fencing  []Fencing // of each volume
	Prefer   []GatewayID
	R2       bool    // the driver shuts out lower epochs when a volume is opened
	Reads    bool    // it does not shut out reads
	Clocks   bool    // clocks may stand still
	Linger   Instant // at most, between submission and medium
	Prepare  Instant // what a volume that moves takes at least to prepare that
	Skew     int     // of the clocks, per mille
	Sole     bool    // see NewGateway
	// In per cent: transactions that come late, answers that get lost, answers
	// and changes that take their time, fences that take their time, or fail, opens that fail.
	Late, Lost, Slow, FenceSlow, FenceFails, OpenFails int
	Answers                                            int // that take their time, and nothing else does
	Faults                                             []fault
}

type faultKind uint8

const (
	faultKill   faultKind = iota // and start again after the time
	faultStop                    // SIGSTOP, for the time
	faultClock                   // the same, with the clock standing still
	faultCut                     // from the store, for the time
	faultPeers                   // from the other gateways, for the time
	faultOutage                  // of the store, for the time
	faultElect                   // another coordinator
	faultDrain                   // for the time
	faultLeave                   // and start again after the time
	faultLossy                   // the stream of changes is interrupted, for the time
	faultMedium                  // of a volume, on its owner
	faultRemove                  // the gateway is killed, removed, and back after the time
	faultAsk                     // a host asks for a move
	faultSplit                   // the gateways are cut in two halves, for the time
	faultKinds
)

var faultNames = [...]string{
	"kill", "stop", "clock", "cut", "peers", "outage", "elect", "drain", "leave", "lossy", "medium", "remove", "ask", "split",
}

func (k faultKind) String() string { return faultNames[k] }

type fault struct {
	At     Instant
	Kind   faultKind
	Target int
	Length Instant
}

// world is a cluster in simulated time.
type world struct {
	h   history
	set Config
	rng *rand.Rand
	now Instant
	seq int
	todo

	store   *simStore
	procs   []*proc
	volumes []volumeID
	devices map[volumeID]*device
	apart   map[[2]GatewayID]int // pairs that don't reach each other

	quiet   bool               // hosts send nothing
	noFence bool               // no fence succeeds
	noOpen  map[GatewayID]bool // who can open nothing
	plain   bool               // no chance in delays: for scripts
	count   int
	err     error
	log     func(string)
}

type happening struct {
	at  Instant
	seq int
	do  func()
}

type todo []happening

func (t todo) Len() int { return len(t) }
func (t todo) Less(i, j int) bool {
	return t[i].at < t[j].at || t[i].at == t[j].at && t[i].seq < t[j].seq
}
func (t todo) Swap(i, j int) { t[i], t[j] = t[j], t[i] }

// Push implements heap.Interface.
func (t *todo) Push(x any) { *t = append(*t, x.(happening)) }

// Pop implements heap.Interface.
func (t *todo) Pop() any {
	x := (*t)[len(*t)-1]
	*t = (*t)[:len(*t)-1]
	return x
}

func volumeOf(n int) volumeID { return volumeID{15: byte(n)} }

func name(id volumeID) string { return fmt.Sprintf("v%d", id[15]) }

// newWorld makes a cluster that has not started.
func newWorld(h history, set Config) *world {
	w := &world{
		h: h, set: set, rng: rand.New(rand.NewPCG(h.Seed, 0)), devices: map[volumeID]*device{}, apart: map[[2]GatewayID]int{},
		log: func(string) {},
	}
	w.store = newSimStore(w)
	for i, f := range h.Fencing {
		id := volumeOf(i + 1)
		w.volumes = append(w.volumes, id)
		w.devices[id] = newDevice(w, id)
		w.store.put(VolumeRecord{ID: id, Fencing: f, Prefer: h.Prefer})
	}
	for i := range h.Gateways {
		rate := 1 + float64(w.rng.IntN(2*h.Skew+1)-h.Skew)/1000
		w.procs = append(w.procs, &proc{w: w, id: GatewayID('A' + byte(i)), rate: rate, dead: true})
	}
	w.watchdog()
	return w
}

func (w *world) fail(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf("at %.3f s: %s", float64(w.now)/1e9, fmt.Sprintf(format, args...))
	}
}

func (w *world) after(d Instant, f func()) {
	w.seq++
	heap.Push(&w.todo, happening{w.now + max(0, d), w.seq, f})
}

// span returns a time from a range.
func (w *world) span(a, b Instant) Instant {
	if w.plain || b <= a {
		return a
	}
	return a + Instant(w.rng.Int64N(int64(b-a)))
}

// delay is how long a message takes.
func (w *world) delay() Instant {
	if w.chance(3) {
		return w.span(10*Millisecond, 900*Millisecond)
	}
	return w.span(Millisecond, 10*Millisecond)
}

func (w *world) chance(percent int) bool {
	return !w.plain && percent > 0 && w.rng.IntN(100) < percent
}

func (w *world) unique() string {
	w.count++
	return fmt.Sprint("r", w.count)
}

// pass lets time pass, until something is wrong.
func (w *world) pass(d Instant) {
	for end := w.now + d; w.err == nil; {
		if len(w.todo) == 0 || w.todo[0].at > end {
			w.now = end
			return
		}
		e := heap.Pop(&w.todo).(happening)
		w.now = e.at
		e.do()
	}
}

// fence shuts a member out of a volume, or of all.
func (w *world) fence(m Member, id volumeID) {
	for v, d := range w.devices {
		if id.IsZero() || v == id {
			d.blocked[m] = true
		}
	}
	for _, p := range w.procs {
		if id.IsZero() && p.id == m.Gateway && p.g != nil && p.g.Member() == m {
			p.kill()
		}
	}
}

// watchdog is what runs beside: the election, and the gateways' looking at
// each other.
func (w *world) watchdog() {
	w.after(100*Millisecond, w.watchdog)
	w.elect(false)
	for _, p := range w.procs {
		if p.dead {
			continue
		}
		p.do(p.run, func() {
			for _, m := range p.g.view.live() {
				if m != p.g.Member() {
					w.look(p, m)
				}
			}
		})
	}
}

// look has p look at another member. One that died is missed at once, one that
// is silent after a while.
func (w *world) look(p *proc, m Member) {
	q := w.proc(m.Gateway)
	lost := q.dead || q.g.Member() != m || q.stopped > 0 && w.now-q.since > 1500*Millisecond || w.apart[pair(p.id, q.id)] > 0
	if lost {
		p.gateway(PeerLost{m})
	} else {
		p.gateway(PeerFound{m})
	}
}

func pair(a, b GatewayID) [2]GatewayID { return [2]GatewayID{min(a, b), max(a, b)} }

func (w *world) proc(id GatewayID) *proc { return w.procs[id[0]-'A'] }

// elect sees to it that there is a coordinator: another one, if so wanted. The
// old one hears of it late.
func (w *world) elect(another bool) {
	var old *proc
	for _, p := range w.procs {
		if p.coordinator {
			old = p
		}
	}
	well := func(p *proc) bool { return !p.dead && !p.cut && (p.stopped == 0 || w.now-p.since < Second) }
	if old != nil && well(old) && !another {
		return
	}
	var can []*proc
	for _, p := range w.procs {
		if p != old && well(p) && p.stopped == 0 {
			can = append(can, p)
		}
	}
	if len(can) == 0 {
		return
	}
	p := can[0]
	if !w.plain {
		p = can[w.rng.IntN(len(can))]
	}
	if old != nil {
		old.coordinator = false
		old.later(w.span(0, 3*Second), func() {
			if !old.coordinator {
				old.coordinate(Deposed{})
			}
		})
	}
	p.coordinator = true
	term := w.store.put(CoordinatorRecord{p.id})
	p.later(w.delay(), func() {
		if p.coordinator {
			p.coordinate(Elected{term})
		}
	})
}

func (w *world) trace(format string, args ...any) {
	w.log(fmt.Sprintf(format, args...))
}

// traceTxn tells of a transaction that was made, but for heartbeats.
func (w *world) traceTxn(t Txn) {
	for _, r := range t.Puts {
		switch r := r.(type) {
		case OwnerRecord:
			w.trace("store: %s %s", name(r.Volume), showOwner(r))
		case GatewayRecord:
			s := []string{"", "alive", "dead", "removed"}[r.Life]
			if r.Why != "" {
				s += ": " + string(r.Why)
			}
			w.trace("store: %v %s", r.Member(), s)
		case DrainRecord:
			w.trace("store: %s is to be drained", r.ID)
		case FenceRecord:
			w.trace("store: %s is harmless up to %d", r.ID, r.Upto)
		case ReservationRecord:
			if w.plain && !w.quiet {
				break // hosts do nothing else
			}
			w.trace("store: %s reservations %s, epoch %d", name(r.Volume), r.Data, r.Epoch)
		case CoordinatorRecord:
			w.trace("store: %s coordinates", r.Gateway)
		}
	}
	for _, k := range t.Deletes {
		if k.Kind == KindGateway {
			w.trace("store: %s is forgotten", k.Gateway)
		}
	}
}

func showOwner(r OwnerRecord) string {
	var b strings.Builder
	switch r.State {
	case Free:
		fmt.Fprintf(&b, "free, epoch %d", r.Epoch)
	case Active:
		fmt.Fprintf(&b, "active on %v, epoch %d", r.Owner, r.Epoch)
	case Moving:
		fmt.Fprintf(&b, "moving from %v to %v, epoch %d", r.Owner, r.To, r.Epoch)
		if r.Released {
			b.WriteString(", released")
		}
	}
	fmt.Fprintf(&b, " (%s)", r.Reason)
	if r.Failed != "" {
		fmt.Fprintf(&b, ", failed on %s", r.Failed)
	}
	return b.String()
}

// traceEffect tells what a gateway does.
func (w *world) traceEffect(p *proc, e Effect) {
	on := func(id volumeID) string {
		return fmt.Sprintf("%s: %s %s", p.id, strings.ToLower(strings.TrimPrefix(fmt.Sprintf("%T", e), "model.")), name(id))
	}
	switch e := e.(type) {
	case Open:
		w.trace("%s, epoch %d", on(e.Volume), e.Epoch)
	case Serve:
		w.trace("%s, epoch %d", on(e.Volume), e.Epoch)
	case Prepare:
		w.trace("%s", on(e.Volume))
	case Hold:
		w.trace("%s", on(e.Volume))
	case Refuse:
		w.trace("%s", on(e.Volume))
	case Cancel:
		w.trace("%s", on(e.Volume))
	case Flush:
		w.trace("%s", on(e.Volume))
	case Close:
		w.trace("%s", on(e.Volume))
	case Stop:
		w.trace("%s", on(e.Volume))
	case Resume:
		w.trace("%s, reservations %s", on(e.Volume), e.Data)
	case Attend:
		w.trace("%s", on(e.Volume))
	case Fence:
		if e.Volume.IsZero() {
			w.trace("%s: fence %v", p.id, e.Member)
		} else {
			w.trace("%s: fence %v from %s", p.id, e.Member, name(e.Volume))
		}
	case Joined:
		w.trace("%s: joined as %v", p.id, e.Member)
	case RightLost:
		w.trace("%s: right lost", p.id)
	case RightBack:
		w.trace("%s: right there", p.id)
	case Fenced:
		w.trace("%s: fenced", p.id)
	case Rejoin:
		w.trace("%s: rejoin", p.id)
	case Left:
		w.trace("%s: left", p.id)
	}
}
