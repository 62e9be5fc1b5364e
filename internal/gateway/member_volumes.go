package gateway

import (
	"context"
	"time"

	"sango/internal/block"
	"sango/internal/meta"
	"sango/internal/pause"
	"sango/internal/san"
)

// Open implements cluster.Driver.
func (m *member) Open(ctx context.Context, v san.UUID, e san.Epoch) error {
	s := m.pin(v)
	defer m.unpin(s)
	// This goes before the record is read: who has deleted it, and finds the
	// volume not taken, can be sure that it is not opened any more.
	s.take(true)
	vol, err := m.volume(ctx, v)
	if err == nil {
		err = m.openDevice(ctx, s, vol, e)
	}
	if err != nil {
		s.take(false)
		return err
	}
	s.begin(vol.Name)
	s.wait(func() { s.stage, s.epoch = opened_, e })
	return nil
}

// openDevice opens what is behind a slot.
func (m *member) openDevice(ctx context.Context, s *slot, vol *san.Volume, e san.Epoch) error {
	m.mu.Lock()
	self := m.self
	m.mu.Unlock()
	dev, err := m.n.disks.open(ctx, vol, e, uint64(self.Incarnation))
	if err != nil {
		return err
	}
	if err := m.adjust(ctx, vol, dev); err != nil {
		dev.Close()
		return err
	}
	s.dev.put(dev)
	return nil
}

// take notes whether the volume is open here, or being opened or closed.
func (s *slot) take(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken = on
}

// isTaken reports it.
func (s *slot) isTaken() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken
}

// volume reads the record of a volume: the view may not know it yet.
func (m *member) volume(ctx context.Context, v san.UUID) (vol *san.Volume, err error) {
	err = m.n.meta.Update(ctx, func(tx *meta.Tx) error {
		vol, err = tx.Volume(v)
		return err
	})
	return vol, err
}

// adjust ends what a former owner began and did not finish.
func (m *member) adjust(ctx context.Context, vol *san.Volume, dev block.Device) error {
	size := dev.Info().Size
	if err := m.n.meta.Update(ctx, func(tx *meta.Tx) error {
		if size > vol.Size {
			return tx.ResizeVolume(vol.ID, size)
		}
		pending, err := tx.Pending()
		if what, _ := pending[vol.ID].By(); what == meta.PendingResize {
			tx.Settle(vol.ID)
		}
		return err
	}); err != nil {
		return err
	}
	return m.n.settleExports(ctx, vol.ID)
}

// gone returns when a volume that was deleted is no longer open, or ctx is
// done.
func (m *member) gone(ctx context.Context, v san.UUID) bool {
	for s := m.found(v); s != nil && s.isTaken(); {
		if !pause.For(ctx, goneLook) {
			return false
		}
	}
	return true
}

// goneLook is how often a volume that is being closed is looked at.
const goneLook = 10 * time.Millisecond

// Serve implements cluster.Driver.
func (m *member) Serve(v san.UUID, e san.Epoch) {
	s := m.taken(v)
	s.do(func() {
		s.stage = serving
		if s.unit != nil {
			s.serve()
		}
	})
}

// Hold implements cluster.Driver.
func (m *member) Hold(v san.UUID, drained func()) {
	s := m.taken(v)
	used := s.end()
	s.do(func() {
		s.stage = held
		if s.unit == nil {
			go func() {
				<-used
				drained()
			}()
			return
		}
		s.unit.Hold(func() {
			go func() {
				<-used
				drained()
			}()
		})
	})
}

// Refuse implements cluster.Driver.
func (m *member) Refuse(v san.UUID) {
	s := m.taken(v)
	s.do(func() {
		if s.unit != nil {
			s.unit.Refuse()
		}
	})
}

// Cancel implements cluster.Driver.
func (m *member) Cancel(v san.UUID) {
	s := m.taken(v)
	s.end()
	s.do(func() {
		if s.unit != nil {
			s.unit.Cancel()
		}
	})
}

// Close implements cluster.Driver.
func (m *member) Close(v san.UUID) {
	s := m.pin(v)
	defer m.unpin(s)
	used := s.end()
	s.wait(func() {
		if s.unit != nil && s.stage != away {
			s.unit.Release()
		}
	})
	<-used
	m.settled(s)
	if err := s.dev.take(); err != nil {
		m.n.cfg.Log.Error("volume did not close cleanly", "volume", v.String(), "error", err)
	}
	s.wait(func() {
		s.stage = away
		s.settle()
	})
	s.take(false)
}
