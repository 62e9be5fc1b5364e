package lun

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"sango/internal/scsi"
)

// modes are the mode pages of a unit, shared by all nexuses.
type modes struct {
	defs []scsi.ModeDef

	serial sync.Mutex // one change at a time; held while the store saves

	mu      sync.Mutex // guards the fields below; never held while something blocks
	current [][]byte   // by index of defs; a page is replaced, never changed
	saved   [][]byte

	// What the pages say, readable without the lock.
	dsense, wce, tas atomic.Bool
	protect          func(bool) // sets software write protect
}

// savedModes is the form in which pages are kept: code and subpage, then
// parameters; and savedFormat.
type savedModes map[string][]byte

// savedFormat is the key of what tells which programs kept the pages. Those that
// kept none could not change TAS, and their 0 is nobody's choice.
const savedFormat = "format"

// page returns the page that d defines as it was kept.
func (s savedModes) page(d *scsi.ModeDef) []byte {
	p := s[modeKey(d)]
	if d.Page != scsi.ModeControl || d.Subpage != 0 || s[savedFormat] != nil {
		return p
	}
	c, err := scsi.ParseControl(p)
	if err != nil { // there is none
		return p
	}
	c.TAS = true
	return c.Params()
}

func modeKey(d *scsi.ModeDef) string { return fmt.Sprintf("%02x/%02x", d.Page, d.Subpage) }

// define defines the pages for u, with their defaults.
func (m *modes) define(u *Unit) {
	back := u.dev.Info().Caps.WriteBack
	caching := scsi.ModeDef{
		Page: scsi.ModeCaching, Default: scsi.Caching{WCE: back}.Params(),
		// WCE says what is true (DESIGN R7): a device without write-back has no
		// cache to enable.
		Changeable: scsi.Caching{WCE: back}.Params(),
	}
	recovery := scsi.ErrorRecovery{AWRE: true, ARRE: true}.Params()
	control := scsi.Control{QueueModifier: 1, TAS: true, BusyTimeout: 0xffff}.Params()
	extension := scsi.ControlExt{IALUAE: true, MaxSense: scsi.MaxSense}.Params()
	exceptions := scsi.InfoExceptions{DExcpt: true}.Params()
	m.defs = []scsi.ModeDef{
		{Page: scsi.ModeErrorRecovery, Default: recovery, Changeable: make([]byte, len(recovery))},
		caching,
		{Page: scsi.ModeControl, Default: control, Changeable: scsi.Control{DSense: true, SWP: true, TAS: true}.Params()},
		{Page: scsi.ModeControl, Subpage: scsi.ControlExtension, Default: extension, Changeable: make([]byte, len(extension))},
		{Page: scsi.ModeInfoExceptions, Default: exceptions, Changeable: make([]byte, len(exceptions))},
	}
	m.protect = func(on bool) { u.setCondition(condProtected, on) }
	for i := range m.defs {
		m.saved = append(m.saved, m.defs[i].Default)
	}
	m.revert()
}

// load makes what was saved current.
func (m *modes) load(u *Unit) error {
	var kept savedModes
	if b, err := u.store.Load(StateModePages); err != nil {
		return err
	} else if b != nil {
		if err := json.Unmarshal(b, &kept); err != nil {
			return err
		}
	}
	saved := make([][]byte, len(m.defs))
	for i := range m.defs {
		d := &m.defs[i]
		saved[i] = d.Merge(kept.page(d))
	}
	m.mu.Lock()
	m.saved = saved
	m.mu.Unlock()
	m.revert()
	return nil
}

// unsaved returns the pages that are current and not saved.
func (m *modes) unsaved() savedModes {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := savedModes{}
	for i := range m.defs {
		if !bytes.Equal(m.current[i], m.saved[i]) {
			p[modeKey(&m.defs[i])] = m.current[i]
		}
	}
	return p
}

// adopt makes pages current.
func (m *modes) adopt(pages savedModes) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.current = slices.Clone(m.current)
	for i := range m.defs {
		if p, ok := pages[modeKey(&m.defs[i])]; ok {
			m.current[i] = m.defs[i].Merge(p)
		}
	}
	m.apply()
}

// revert makes the saved pages current, as a reset does.
func (m *modes) revert() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.current = slices.Clone(m.saved)
	m.apply()
}

// apply makes the unit do what the current pages say. Call with the lock.
func (m *modes) apply() {
	for i := range m.defs {
		switch d := &m.defs[i]; {
		case d.Page == scsi.ModeCaching:
			c, _ := scsi.ParseCaching(m.current[i]) // the length is that of the default
			m.wce.Store(c.WCE)
		case d.Page == scsi.ModeControl && d.Subpage == 0:
			c, _ := scsi.ParseControl(m.current[i])
			m.dsense.Store(c.DSense)
			m.tas.Store(c.TAS)
			m.protect(c.SWP)
		}
	}
}

// descriptorSense is D_SENSE of the control page.
func (m *modes) descriptorSense() bool { return m.dsense.Load() }

// taskAborted is TAS of the control page: what another nexus aborts ends with
// TASK ABORTED, instead of not being answered.
func (m *modes) taskAborted() bool { return m.tas.Load() }

// writeCache is WCE of the caching page: where it is false, a write is stable
// before it ends with GOOD.
func (m *modes) writeCache() bool { return m.wce.Load() }

// pages returns the pages that code and subpage ask for, with the values that
// pc asks for; none if there is no such page.
func (m *modes) pages(code, subpage uint8, pc scsi.PageControl) (out []scsi.ModePage) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.defs {
		d := &m.defs[i]
		if code != scsi.ModeAllPages && code != d.Page {
			continue
		}
		if subpage != scsi.ModeAllSubpages && subpage != d.Subpage {
			continue
		}
		p := scsi.ModePage{Page: d.Page, Subpage: d.Subpage, Saved: true}
		switch pc {
		case scsi.PageCurrent:
			p.Params = m.current[i]
		case scsi.PageChangeable:
			p.Params = d.Changeable
		case scsi.PageDefault:
			p.Params = d.Default
		case scsi.PageSaved:
			p.Params = m.saved[i]
		}
		out = append(out, p)
	}
	return out
}

// change makes pages, all or none of them, current, and saved as well if save.
// It reports whether a value changed. flush is called before a write cache is
// disabled (SBC-3 §6.4.5). Of a command that was aborted meanwhile, as killed
// tells, only what has been saved becomes current: the reset that aborted it may
// have put back the saved pages already.
func (m *modes) change(pages []scsi.SelectedPage, save bool, st UnitStore, killed *atomic.Bool, flush func() error) (changed bool, err error) {
	m.serial.Lock()
	defer m.serial.Unlock()
	m.mu.Lock()
	current := m.current
	next, keep := slices.Clone(m.current), slices.Clone(m.saved)
	m.mu.Unlock()
	for n := range pages {
		p := &pages[n]
		i := m.find(p.Page, p.Subpage)
		if i < 0 {
			return false, scsi.InvalidParameter(uint16(p.At), 5)
		}
		if cc := m.defs[i].Check(next[i], p); cc != nil {
			return false, cc
		}
		if !bytes.Equal(current[i], p.Params) {
			changed = true
		}
		next[i] = bytes.Clone(p.Params)
		keep[i] = next[i]
	}
	if i := m.find(scsi.ModeCaching, 0); m.wce.Load() {
		if c, _ := scsi.ParseCaching(next[i]); !c.WCE {
			if err := flush(); err != nil {
				return false, err
			}
		}
	}
	if save {
		kept := savedModes{savedFormat: {1}}
		for i := range m.defs {
			kept[modeKey(&m.defs[i])] = keep[i]
		}
		b, err := json.Marshal(kept)
		if err != nil {
			return false, err
		}
		if err := st.Save(StateModePages, b); err != nil {
			return false, fmt.Errorf("saving mode pages: %w", err)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if save {
		m.saved = keep
	}
	if killed.Load() {
		if !save {
			return false, nil
		}
		next = slices.Clone(keep)
	}
	m.current = next
	m.apply()
	return changed, nil
}

func (m *modes) find(page, subpage uint8) int {
	for i := range m.defs {
		if m.defs[i].Page == page && m.defs[i].Subpage == subpage {
			return i
		}
	}
	return -1
}
