package gateway

import (
	"slices"
	"strings"

	"sango/internal/pause"
)

// followSchema has the metadata get the layout of this program as soon as every
// registered gateway can read that. The last one that needs it sees to that when
// it starts; where it was removed instead, those that run do.
func (m *member) followSchema() {
	var last []string
	for {
		select {
		case <-m.reads:
		case <-m.n.run.Done():
			return
		}
		waits, err := m.n.meta.Upgrade(m.n.run, m.n.cfg.Name)
		switch {
		case err == nil && waits == nil:
			return // it is the newest that this program knows
		case err != nil:
			if m.n.run.Err() == nil {
				m.n.cfg.Log.Warn("the metadata can't be upgraded now", "error", err)
			}
			if !pause.For(m.n.run, watchAgain) {
				return
			}
			m.reread()
		case !slices.Equal(waits, last):
			m.n.cfg.Log.Info("the metadata keeps its layout until these gateways run a version that knows the next one, or are removed", "gateways", strings.Join(waits, ", "))
		}
		last = waits
	}
}

// reread has it looked at once more who can read what.
func (m *member) reread() {
	select {
	case m.reads <- struct{}{}:
	default:
	}
}
