package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
)

// slotSize is the unit in which the model knows the volume: a page, so that what a killed process leaves of a write is,
// slot by slot, old or new.
const slotSize = 4096

// version is what a slot holds: 0 for zeros, else the number of the write that filled it.
type version uint64

// slot is what is known of one slot.
type slot struct {
	acked version   // the last that the target acknowledged
	maybe []version // sent later and not acknowledged: each of them may be there, or not
}

// model is what a volume must hold.
type model struct {
	id    uint64
	slots []slot
}

func newModel(id uint64, size int64) *model {
	return &model{id: id, slots: make([]slot, size/slotSize)}
}

// clone is the model as it is now, for a snapshot taken while nothing is in flight.
func (m *model) clone() *model {
	c := &model{id: m.id, slots: slices.Clone(m.slots)}
	for i := range c.slots {
		c.slots[i].maybe = nil
	}
	return c
}

// sent notes that the slots from first on are on the way to v.
func (m *model) sent(first, n int, v version) {
	for i := first; i < first+n; i++ {
		m.slots[i].maybe = append(m.slots[i].maybe, v)
	}
}

// done notes that this was acknowledged.
func (m *model) done(first, n int, v version) {
	for i := first; i < first+n; i++ {
		m.slots[i] = slot{acked: v}
	}
}

// fill writes what a slot holds at version v.
func (m *model) fill(b []byte, i int, v version) {
	if v == 0 {
		clear(b)
		return
	}
	binary.BigEndian.PutUint64(b, m.id)
	binary.BigEndian.PutUint64(b[8:], uint64(i))
	binary.BigEndian.PutUint64(b[16:], uint64(v))
	r := rand.NewPCG(m.id<<32|uint64(i), uint64(v))
	for at := 24; at < slotSize; at += 8 {
		binary.BigEndian.PutUint64(b[at:], r.Uint64())
	}
}

// check compares what was read at slot i with what may be there, and takes it as what is there from now on.
func (m *model) check(i int, b []byte) error {
	s := &m.slots[i]
	want := make([]byte, slotSize)
	for _, v := range append([]version{s.acked}, s.maybe...) {
		if m.fill(want, i, v); bytes.Equal(want, b) {
			*s = slot{acked: v}
			return nil
		}
	}
	found := fmt.Sprintf("neither zeros nor a whole version: %x...", b[:32])
	if id, at, v := binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:]); id == m.id && at < uint64(len(m.slots)) {
		if m.fill(want, int(at), version(v)); bytes.Equal(want, b) {
			found = fmt.Sprintf("version %d of slot %d", v, at)
		} else {
			found = fmt.Sprintf("part of version %d of slot %d", v, at)
		}
	} else if bytes.Equal(b, make([]byte, slotSize)) {
		found = "zeros"
	}
	return fmt.Errorf("slot %d (byte %d): acknowledged was version %d, in flight %v, but there is %s", i, int64(i)*slotSize, s.acked, s.maybe, found)
}
