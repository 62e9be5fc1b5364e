package cluster

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"sango/internal/cluster/model"
	"sango/internal/lun/luntest"
	"sango/internal/pause"
	"sango/internal/san"
)

// memory is a linearizable store in memory, with the ways to it that the
// gateways of a test have: these are slow, lose answers, or are cut.
type memory struct {
	mu      sync.Mutex // guards what follows
	rev     model.Revision
	recs    map[model.Key]model.Change
	log     []told // since the beginning
	follows map[*following]struct{}
	office  *memOffice
	txns    int
	kinds   map[model.Kind]int                // records written
	judge   func(old, now model.Record) error // looks at each change
	wrong   error
	others  map[san.UUID]*memUnit
	works   map[model.GatewayID]model.Weighed // as told last
	each    time.Duration                     // what one transaction takes, one after the other
	free    time.Time                         // when the next one may begin
}

// told is what one transaction tells.
type told struct {
	rev model.Revision
	ev  []model.Change
	ask model.Event
}

type following struct {
	at   int // of the log
	wake chan struct{}
}

func newMemory() *memory {
	return &memory{recs: map[model.Key]model.Change{}, follows: map[*following]struct{}{}, kinds: map[model.Kind]int{}, others: map[san.UUID]*memUnit{}, works: map[model.GatewayID]model.Weighed{}}
}

// way is how one gateway reaches the store.
type way struct {
	s *memory

	mu      sync.Mutex // guards what follows
	rng     *rand.Rand
	cut     bool
	stalled bool          // the stream tells nothing
	slow    time.Duration // at most, for one way
	lost    int           // answers that get lost, per cent
	healed  chan struct{} // closed when something got better
	loseOne bool          // the next answer to a change of reservations
}

func (m *memory) way(seed uint64) *way {
	return &way{s: m, rng: rand.New(rand.NewPCG(seed, 1)), slow: 4 * time.Millisecond, healed: make(chan struct{})}
}

func (w *way) set(f func(w *way)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(w)
	close(w.healed)
	w.healed = make(chan struct{})
}

// pass is the way of one message; it waits where that is cut.
func (w *way) pass(ctx context.Context) bool {
	w.mu.Lock()
	d := time.Duration(w.rng.Int64N(int64(w.slow)) + 1)
	w.mu.Unlock()
	if !pause.For(ctx, d) {
		return false
	}
	return w.until(ctx, func() bool { return !w.cut })
}

// until waits until ok holds.
func (w *way) until(ctx context.Context, ok func() bool) bool {
	for {
		w.mu.Lock()
		now, healed := ok(), w.healed
		w.mu.Unlock()
		if now {
			return ctx.Err() == nil
		}
		select {
		case <-healed:
		case <-ctx.Done():
			return false
		}
	}
}

func (w *way) chance(percent int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rng.IntN(100) < percent
}

// turn waits for the store to have done what came before.
func (m *memory) turn() {
	m.mu.Lock()
	if m.each == 0 {
		m.mu.Unlock()
		return
	}
	now := time.Now()
	if m.free.Before(now) {
		m.free = now
	}
	m.free = m.free.Add(m.each)
	wait := m.free.Sub(now)
	m.mu.Unlock()
	sleep(wait)
}

// apply makes a transaction if its guards hold.
func (m *memory) apply(t model.Txn) (model.Revision, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, g := range t.Guards {
		if m.recs[g.Key].Rev != g.Rev {
			return 0, false
		}
	}
	m.rev++
	m.txns++
	x := told{rev: m.rev}
	for _, r := range t.Puts {
		if m.judge != nil && m.wrong == nil {
			m.wrong = m.judge(m.recs[r.Key()].Record, r)
		}
		c := model.Change{Rev: m.rev, Key: r.Key(), Record: r}
		m.recs[c.Key] = c
		m.kinds[c.Key.Kind]++
		x.ev = append(x.ev, c)
	}
	for _, k := range t.Deletes {
		delete(m.recs, k)
		x.ev = append(x.ev, model.Change{Rev: m.rev, Key: k})
	}
	m.tell(x)
	return m.rev, true
}

// tell has the streams told. m.mu is held.
func (m *memory) tell(x told) {
	m.log = append(m.log, x)
	for f := range m.follows {
		select {
		case f.wake <- struct{}{}:
		default:
		}
	}
}

// put writes a record, whatever there is.
func (m *memory) put(r model.Record) { m.apply(model.Txn{Puts: []model.Record{r}}) }

func get[T model.Record](m *memory, key T) T {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, _ := m.recs[key.Key()].Record.(T)
	return r
}

// Commit implements Store.
func (w *way) Commit(ctx context.Context, t model.Txn) (model.Revision, model.Outcome) {
	if !w.pass(ctx) {
		return 0, model.Unknown
	}
	w.s.turn()
	rev, ok := w.s.apply(t)
	lost := false
	w.mu.Lock()
	if len(t.Puts) > 0 && t.Puts[0].Key().Kind == model.KindReservation {
		lost, w.loseOne = w.loseOne, false
	}
	percent := w.lost
	w.mu.Unlock()
	if lost || percent > 0 && w.chance(percent) {
		<-ctx.Done()
		return 0, model.Unknown
	}
	if !w.pass(ctx) {
		return 0, model.Unknown
	}
	if !ok {
		return 0, model.Refused
	}
	return rev, model.Committed
}

// Follow implements Store.
func (w *way) Follow(ctx context.Context, coordinator bool, f func(model.Revision, model.Event) error) error {
	if !w.pass(ctx) {
		return nil
	}
	m := w.s
	m.mu.Lock()
	snap := model.Snapshot{Rev: m.rev}
	for _, c := range m.recs {
		if wanted(c, coordinator) {
			snap.Changes = append(snap.Changes, c)
		}
	}
	works := slices.Collect(maps.Values(m.works))
	me := &following{at: len(m.log), wake: make(chan struct{}, 1)}
	m.follows[me] = struct{}{}
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		delete(m.follows, me)
		m.mu.Unlock()
	}()
	if err := f(snap.Rev, snap); err != nil {
		return err
	}
	for _, ev := range works {
		if !coordinator {
			break
		}
		if err := f(snap.Rev, ev); err != nil {
			return err
		}
	}
	for {
		select {
		case <-me.wake:
		case <-ctx.Done():
			return nil
		}
		if !w.pass(ctx) || !w.until(ctx, func() bool { return !w.stalled && !w.cut }) {
			return nil
		}
		m.mu.Lock()
		news, rev := m.log[me.at:], m.rev
		me.at = len(m.log)
		m.mu.Unlock()
		var ch model.Changed
		for _, x := range news {
			for _, c := range x.ev {
				if wanted(c, coordinator) {
					ch.Changes = append(ch.Changes, c)
				}
			}
		}
		var ev model.Event
		if len(ch.Changes) > 0 {
			ev = ch
		}
		if err := f(rev, ev); err != nil {
			return err
		}
		for _, x := range news {
			if x.ask == nil || !coordinator {
				continue
			}
			if err := f(rev, x.ask); err != nil {
				return err
			}
		}
	}
}

func wanted(c model.Change, coordinator bool) bool {
	return c.Key.Kind != model.KindReservation && (coordinator || c.Key.Kind != model.KindBeat)
}

// Read implements Store.
func (w *way) Read(ctx context.Context, keys ...model.Key) ([]model.Change, error) {
	if !w.pass(ctx) {
		return nil, san.Errorf(san.ErrUnavailable, "no answer")
	}
	w.s.mu.Lock()
	var l []model.Change
	for _, k := range keys {
		c := w.s.recs[k]
		c.Key = k
		l = append(l, c)
	}
	w.s.mu.Unlock()
	if !w.pass(ctx) {
		return nil, san.Errorf(san.ErrUnavailable, "no answer")
	}
	return l, nil
}

// Current implements Store.
func (w *way) Current(ctx context.Context) (model.Revision, error) {
	if !w.pass(ctx) {
		return 0, san.Errorf(san.ErrUnavailable, "no answer")
	}
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	w.s.tell(told{rev: w.s.rev}) // as the store does whose progress is asked for
	return w.s.rev, nil
}

// memOffice is the office of a coordinator with a lease.
type memOffice struct {
	w       *way
	term    model.Revision
	renewed time.Time
	ttl     time.Duration
	lost    chan struct{}
	cancel  context.CancelFunc
}

// Campaign implements Store.
func (w *way) Campaign(ctx context.Context, mem model.Member, ttl time.Duration) (Office, error) {
	for {
		if !w.pass(ctx) {
			return nil, ctx.Err()
		}
		if o := w.elect(ctx, mem, ttl); o != nil {
			return o, nil
		}
		if !pause.For(ctx, 50*time.Millisecond) {
			return nil, ctx.Err()
		}
	}
}

func (w *way) elect(ctx context.Context, mem model.Member, ttl time.Duration) Office {
	m := w.s
	m.mu.Lock()
	old := m.office
	if old != nil && time.Since(old.renewed) < old.ttl {
		m.mu.Unlock()
		return nil
	}
	o := &memOffice{w: w, renewed: time.Now(), ttl: ttl, lost: make(chan struct{})}
	m.office = o
	m.mu.Unlock()
	m.put(model.CoordinatorRecord{Gateway: mem.Gateway})
	m.mu.Lock()
	o.term = m.recs[model.CoordinatorRecord{}.Key()].Rev
	m.mu.Unlock()
	ctx, o.cancel = context.WithCancel(ctx)
	go o.keep(ctx)
	return o
}

func (o *memOffice) keep(ctx context.Context) {
	defer close(o.lost)
	renewed := time.Now()
	for time.Since(renewed) < o.ttl && pause.For(ctx, o.ttl/4) {
		once, cancel := context.WithTimeout(ctx, o.ttl/2)
		sent := time.Now()
		if o.w.pass(once) {
			o.w.s.mu.Lock()
			if o.w.s.office == o {
				o.renewed, renewed = time.Now(), sent
			}
			o.w.s.mu.Unlock()
		}
		cancel()
	}
}

// Term implements Office.
func (o *memOffice) Term() model.Revision { return o.term }

// Lost implements Office.
func (o *memOffice) Lost() <-chan struct{} { return o.lost }

// Resign implements Office.
func (o *memOffice) Resign(ctx context.Context) {
	o.cancel()
	<-o.lost
	if !o.w.pass(ctx) {
		return
	}
	o.w.s.mu.Lock()
	mine := o.w.s.office == o
	if mine {
		o.w.s.office = nil
	}
	o.w.s.mu.Unlock()
	if mine {
		o.w.s.apply(model.Txn{Deletes: []model.Key{model.CoordinatorRecord{}.Key()}})
	}
}

// Ask implements Store.
func (w *way) Ask(ctx context.Context, a model.MoveAsked) error { return w.send(ctx, a) }

// Weigh implements Store.
func (w *way) Weigh(ctx context.Context, id model.GatewayID, work map[san.UUID]int) error {
	ev := model.Weighed{Gateway: id, Work: maps.Clone(work)}
	w.s.mu.Lock()
	w.s.works[id] = ev
	w.s.mu.Unlock()
	return w.send(ctx, ev)
}

func (w *way) send(ctx context.Context, ev model.Event) error {
	if !w.pass(ctx) {
		return san.Errorf(san.ErrUnknown, "no answer")
	}
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	w.s.rev++
	w.s.tell(told{rev: w.s.rev, ask: ev})
	return nil
}

// Remove implements Store.
func (w *way) Remove(ctx context.Context, id model.GatewayID) error {
	return edit(ctx, w, []model.Key{model.GatewayRecord{ID: id}.Key()}, func(now []model.Record) ([]model.Record, []model.Key, error) {
		g, ok := now[0].(model.GatewayRecord)
		switch {
		case !ok || g.Life == model.Removed:
			return nil, nil, nil
		case g.Life == model.Alive:
			return nil, nil, san.Errorf(san.ErrRefused, "gateway %s is alive", id)
		}
		g.Life = model.Removed
		return []model.Record{g}, nil, nil
	})
}

// memUnit is what a unit keeps, guarded by the ownership.
type memUnit struct {
	m  *memory
	id san.UUID
	luntest.Store
	own int64
}

// Own implements UnitState.
func (u *memUnit) Own(rev int64) { u.own = rev }

// Save implements UnitState.
func (u *memUnit) Save(name string, b []byte) error {
	u.m.mu.Lock()
	rev := u.m.recs[model.OwnerRecord{Volume: u.id}.Key()].Rev
	u.m.mu.Unlock()
	if int64(rev) != u.own {
		return san.Errorf(san.ErrRefused, "another owner")
	}
	return u.Store.Save(name, b)
}

// Unit implements Store.
func (w *way) Unit(id san.UUID) UnitState {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	if w.s.others[id] == nil {
		w.s.others[id] = &memUnit{m: w.s, id: id}
	}
	return w.s.others[id]
}

// owners are the records of ownership.
func (m *memory) owners() []model.OwnerRecord {
	m.mu.Lock()
	defer m.mu.Unlock()
	var l []model.OwnerRecord
	for _, c := range m.recs {
		if o, ok := c.Record.(model.OwnerRecord); ok {
			l = append(l, o)
		}
	}
	slices.SortFunc(l, func(a, b model.OwnerRecord) int { return slices.Compare(a.Volume[:], b.Volume[:]) })
	return l
}
