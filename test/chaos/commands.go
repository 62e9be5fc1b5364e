package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"

	"sango/internal/initiator"
	"sango/internal/scsi"
	"sango/test/chaos/history"
)

// work sends commands to one volume until ctx ends.
func (h *plain) work(ctx context.Context, v *volume, seed uint64) {
	r := rand.New(rand.NewPCG(seed, uint64(v.lun)))
	for h.think(ctx, r) {
		h.one(r, v)
	}
}

// one does one thing, with as many transmissions as it takes.
func (h *plain) one(r *rand.Rand, v *volume) {
	a := v.area()
	off, n, ok := a.pick(r, areaBlocks)
	if !ok {
		return
	}
	o := history.Op{ID: h.rec.NextID(), Volume: v.name, LBA: a.base + int64(off), Kind: history.Write}
	b := scsi.Blocks{LBA: scsi.LBA(o.LBA), Blocks: uint32(n)}
	var out []byte
	op := scsi.OpWrite16
	dice := r.IntN(100)
	switch {
	case dice < 45:
		o.Kind, op = history.Read, scsi.OpRead16
	case dice < 75:
		o.Vals = values(o.ID, n, false)
		out = encode(o.Vals, v.block)
		b.FUA = dice < 48
	case dice < 80: // one block for all of them
		o.Vals = values(o.ID, n, false)
		for i := range o.Vals {
			o.Vals[i] = o.Vals[0]
		}
		out, op = encode(o.Vals[:1], v.block), scsi.OpWriteSame16
	case dice < 84:
		o.Vals, op = values(o.ID, n, true), scsi.OpWriteSame16
		b.NoData, b.Unmap = true, dice < 82
	case dice < 87:
		o.Vals, op = values(o.ID, n, true), scsi.OpUnmap
	default:
		h.compareAndWrite(r, a, off, min(n, 4))
		return
	}
	build := func() *initiator.Command {
		c := &initiator.Command{LUN: v.lun.Field(), Attr: scsi.Simple}
		if op == scsi.OpUnmap {
			list := scsi.AppendUnmapList(nil, []scsi.Range{{LBA: b.LBA, Blocks: b.Blocks}})
			c.CDB[0] = byte(scsi.OpUnmap)
			binary.BigEndian.PutUint16(c.CDB[7:], uint16(len(list)))
			c.Out = [][]byte{list}
			return c
		}
		c.CDB, _ = b.CDB(op) // it fits
		if out != nil {
			c.Out = [][]byte{out}
		}
		if o.Kind == history.Read {
			c.In = [][]byte{make([]byte, n*v.block)}
		}
		return c
	}
	o.Name = op.String()
	h.persevere(&o, build, true)
}

// persevere sends a command until it was answered; where it was not answered
// only if twice. It returns the last transmission.
func (h *plain) persevere(first *history.Op, build func() *initiator.Command, twice bool) *history.Op {
	for tries := 0; ; tries++ {
		o := *first
		if tries > 0 {
			o.ID, o.Note = h.rec.NextID(), ""
		}
		p := h.pick()
		if p == nil {
			if !h.await(h.ends) {
				return nil
			}
			tries--
			continue
		}
		c := build()
		var look func()
		if o.Kind == history.Read {
			o.Vals = nil
			look = func() { o.Vals = decode(c.In[0], h.blockOf(&o)) }
		}
		todo := h.transmit(p, &o, c, look)
		switch {
		case todo == ended, todo == resend && !twice && o.Kind != history.Read:
			return &o
		case todo == again && !h.await(h.ends):
			return nil
		}
	}
}

// compareAndWrite reads some blocks and replaces them if they are still the
// same, or, now and then, if they are what they can't be.
func (h *plain) compareAndWrite(r *rand.Rand, a *area, off, n int) {
	v := a.volume
	lba := a.base + int64(off)
	b := scsi.Blocks{LBA: scsi.LBA(lba), Blocks: uint32(n)}
	look := history.Op{ID: h.rec.NextID(), Volume: v.name, LBA: lba, Kind: history.Read, Name: scsi.OpRead16.String()}
	found := h.persevere(&look, func() *initiator.Command {
		c := &initiator.Command{LUN: v.lun.Field(), Attr: scsi.Simple, In: [][]byte{make([]byte, n*v.block)}}
		c.CDB, _ = b.CDB(scsi.OpRead16) // it fits
		return c
	}, true)
	if found == nil || found.Outcome != history.Good || slices.Contains(found.Vals, history.Torn) {
		return
	}
	o := history.Op{ID: h.rec.NextID(), Volume: v.name, LBA: lba, Kind: history.Compare, Name: scsi.OpCompareAndWrite.String(), Expect: found.Vals}
	o.Vals = values(o.ID, n, false)
	if r.IntN(8) == 0 {
		o.Expect = append([]history.Value{}, o.Expect...)
		o.Expect[n-1] = history.ValueOf(o.ID, n)
	}
	out := append(encode(o.Expect, v.block), encode(o.Vals, v.block)...)
	h.persevere(&o, func() *initiator.Command {
		c := &initiator.Command{LUN: v.lun.Field(), Attr: scsi.Simple, Out: [][]byte{out}}
		c.CDB = scsi.CDB{byte(scsi.OpCompareAndWrite), 13: byte(n)}
		binary.BigEndian.PutUint64(c.CDB[2:], uint64(lba))
		return c
	}, false)
}

// verify reads a whole area.
func (h *plain) verify(a *area) error {
	v := a.volume
	const most = 64
	for off := 0; off < areaBlocks; off += most {
		b := scsi.Blocks{LBA: scsi.LBA(a.base + int64(off)), Blocks: most}
		o := history.Op{ID: h.rec.NextID(), Volume: v.name, LBA: int64(b.LBA), Kind: history.Read, Name: "verifying read"}
		last := h.persevere(&o, func() *initiator.Command {
			c := &initiator.Command{LUN: v.lun.Field(), Attr: scsi.Simple, In: [][]byte{make([]byte, most*v.block)}}
			c.CDB, _ = b.CDB(scsi.OpRead16) // it fits
			return c
		}, true)
		if last == nil || last.Outcome != history.Good {
			return fmt.Errorf("%v: it can't be read", &o)
		}
	}
	return nil
}
