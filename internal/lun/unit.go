package lun

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"sango/internal/block"
	"sango/internal/san"
	"sango/internal/scsi"
)

// Unit is a logical unit: a volume and how it behaves as a SCSI device. It may
// be mapped by several targets. Its methods may be called from any goroutine.
type Unit struct {
	vol   san.Volume
	dev   block.Device
	store UnitStore
	o     UnitOptions

	table   *table
	vpds    []vpdPage
	guard   *reservations
	modes   modes
	set     taskSet
	workers *workers
	tasks   atomic.Int64 // admitted and not ended

	sanitizer sanitizer
	copying   atomic.Int32 // EXTENDED COPY commands in execution

	cond     atomic.Uint32 // condition bits
	progress atomic.Uint32 // of a sanitize operation, n/65536

	mu    sync.Mutex // guards peers; no other lock but an attentions' is taken under it
	peers []*itl     // every I_T_L nexus of the unit
}

// NewUnit returns a unit that serves dev as v and keeps its state in st. The
// unit owns dev from then on, Close closes it; if NewUnit fails, dev stays the
// caller's. It fails when st does, or holds what can't be read.
func NewUnit(v san.Volume, dev block.Device, st UnitStore, o UnitOptions) (*Unit, error) {
	u := &Unit{vol: v, dev: dev, store: st, o: o.withDefaults()}
	u.workers = newWorkers(u.o.Workers)
	if u.readOnly() {
		u.setCondition(condReadOnly, true)
	}
	if err := u.modes.open(u); err != nil {
		return nil, fmt.Errorf("volume %s: saved mode pages: %w", v.Name, err)
	}
	u.table = newTable(u)
	u.vpds = vpdPages(u)
	var err error
	if u.guard, err = openReservations(u); err != nil {
		return nil, fmt.Errorf("volume %s: reservations: %w", v.Name, err)
	}
	if err := u.sanitizer.open(u); err != nil {
		return nil, fmt.Errorf("volume %s: sanitize operation: %w", v.Name, err)
	}
	return u, nil
}

// Volume returns the record that the unit was made from. Its size is that of
// the time of making.
func (u *Unit) Volume() san.Volume { return u.vol }

// Resized tells the unit that its device has another size now: every nexus
// gets unit attention 2A/09.
func (u *Unit) Resized() { u.attention(scsi.ASCCapacityChanged, everyPeer) }

// Renamed tells the unit that what INQUIRY tells of it is not what it was:
// every nexus gets unit attention 3F/03.
func (u *Unit) Renamed() { u.attention(scsi.ASCInquiryDataChanged, everyPeer) }

// Close ends the unit: its tasks are aborted, background work stops, the device
// is closed. Map entries of the unit are gone before, so that nothing is
// admitted any more.
func (u *Unit) Close() error {
	waitFence(func(f *fence) { u.abort(everyPeer, everyTask, f) })
	u.guard.close()
	u.sanitizer.close()
	u.workers.close()
	return u.dev.Close()
}

func (u *Unit) readOnly() bool { return u.vol.ReadOnly || u.dev.Info().Caps.ReadOnly }

// join adds an I_T_L nexus.
func (u *Unit) join(i *itl) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.peers = append(u.peers, i)
}

// nexusLost removes an I_T_L nexus and what ends with it.
func (u *Unit) nexusLost(i *itl) {
	u.mu.Lock()
	if at := slices.Index(u.peers, i); at >= 0 {
		u.peers = slices.Delete(u.peers, at, at+1)
	}
	u.mu.Unlock()
	i.prevents.Store(false)
	u.guard.nexusLost(i.nexus.id)
}

func everyPeer(*itl) bool { return true }

// attention raises a unit attention for the I_T_L nexuses for which to holds.
// to must not block.
func (u *Unit) attention(c scsi.ASC, to func(*itl) bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, i := range u.peers {
		if to(i) {
			i.attn.raise(c)
		}
	}
}

// others returns the I_T_L nexuses but that of t, for attention.
func others(t *Task) func(*itl) bool { return func(i *itl) bool { return i != t.itl } }

// nexuses returns the I_T_L nexuses of the unit as they are now.
func (u *Unit) nexuses() []*itl {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.peers)
}

// abort aborts the tasks for which match holds, of those I_T_L nexuses for
// which of holds; f waits for those that execute. It returns the I_T_L nexuses
// that lost a task. A handler that aborts tasks must not wait for f: it returns
// errPending and calls Task.finish when f is done, for the tasks that it waits
// for may need its worker.
func (u *Unit) abort(of func(*itl) bool, match func(*Task) bool, f *fence) (hit []*itl) {
	for _, i := range u.nexuses() {
		if of(i) && i.abort(match, f) > 0 {
			hit = append(hit, i)
		}
	}
	return hit
}

// reset is a logical unit reset (SAM-5 §6.3.3): all tasks are aborted, f waits
// for those that execute; what is not saved is lost. Every nexus gets the unit
// attention c.
func (u *Unit) reset(c scsi.ASC, f *fence) {
	u.abort(everyPeer, everyTask, f)
	u.guard.reset()
	u.modes.revert()
	for _, i := range u.nexuses() {
		i.prevents.Store(false)
	}
	u.attention(c, everyPeer)
}
