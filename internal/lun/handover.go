package lun

import (
	"encoding/json"
	"fmt"
	"slices"

	"sango/internal/san"
)

// handover is what an owner knows of a unit that no other record tells: it ends
// with a reset or a loss of power, but not with a planned move. When an owner
// dies it is lost.
type handover struct {
	Modes    savedModes    `json:"modes,omitempty"` // pages that are current and not saved
	Ejected  bool          `json:"ejected,omitempty"`
	Prevents []san.NexusID `json:"prevents,omitempty"` // who prevents the removal of the medium
	// Lost is who holds a RESERVE(6) by the record that it has lost.
	Lost *san.NexusID `json:"lost,omitempty"`
}

// handOver leaves the record for the next owner.
func (u *Unit) handOver() {
	h := handover{Modes: u.modes.unsaved(), Ejected: u.cond.Load()&condEjected != 0}
	u.mu.Lock()
	h.Prevents = slices.Clone(u.preventing)
	for _, i := range u.peers {
		if i.prevents.Load() {
			h.Prevents = append(h.Prevents, i.nexus.id)
		}
	}
	u.mu.Unlock()
	if d := u.guard.doubt.Load(); d != nil && d.lost && (d.login == 0 || d.ends(u.guard.state.Load())) {
		h.Lost = &d.holder
	}
	if len(h.Modes) == 0 && !h.Ejected && len(h.Prevents) == 0 && h.Lost == nil {
		return
	}
	b, err := json.Marshal(h)
	if err == nil {
		err = u.store.Save(StateHandover, b)
	}
	if err != nil {
		u.o.Logger.Warn("mode pages that are not saved, and the state of the medium, are lost as the volume moves", "volume", u.vol.Name, "err", err)
	}
}

// takeOver takes the record up, and away: it is true once.
func (u *Unit) takeOver() error {
	u.mu.Lock()
	u.preventing = nil
	u.mu.Unlock()
	if !u.o.Shared {
		return nil
	}
	b, err := u.store.Load(StateHandover)
	if err != nil || b == nil {
		return err
	}
	var h handover
	if err := json.Unmarshal(b, &h); err != nil {
		return err
	}
	if err := u.store.Save(StateHandover, nil); err != nil {
		return fmt.Errorf("taking the record away: %w", err)
	}
	u.modes.adopt(h.Modes)
	u.setCondition(condEjected, h.Ejected && u.vol.Removable)
	if h.Lost != nil {
		u.guard.nexusLost(*h.Lost, nil)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.preventing = h.Prevents
	for _, i := range u.peers {
		u.preventAgain(i)
	}
	return nil
}

// preventAgain makes i prevent the removal of the medium if it did before the
// volume moved. Call with the lock.
func (u *Unit) preventAgain(i *itl) {
	if at := slices.Index(u.preventing, i.nexus.id); at >= 0 {
		u.preventing = slices.Delete(u.preventing, at, at+1)
		i.prevents.Store(true)
	}
}
