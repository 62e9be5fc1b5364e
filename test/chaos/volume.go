package main

import (
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"

	"sango/internal/san"
	"sango/test/chaos/history"
)

// volume is a volume of the site. Hosts use one area of it at a time.
type volume struct {
	name     string
	lun      san.LUN
	block    int   // bytes
	size     int64 // bytes
	reserved bool  // its hosts fight over reservations; see arena

	mu    sync.Mutex // guards what follows
	now   *area
	all   []*area
	slots []int // of areas, that were not used yet
}

// newVolumes returns what a site has.
func newVolumes() []*volume {
	return []*volume{
		{name: "small", lun: 0, block: 512, size: 1 << 30},
		{name: "large", lun: 1, block: 4096, size: 1 << 30},
		{name: reservedPrefix + "pr", lun: 2, block: 512, size: 16 << 20, reserved: true},
		{name: reservedPrefix + "six", lun: 3, block: 512, size: 16 << 20, reserved: true},
	}
}

// reservedPrefix begins the names of volumes with reservations.
const reservedPrefix = "r"

func isReserved(name string) bool { return strings.HasPrefix(name, reservedPrefix) }

// areaBlocks is the length of an area. Its first blocks are used most.
const (
	areaBlocks = 320
	hotBlocks  = 24
)

// mostUnknown is how many writes without an answer a block may have. Each may
// or may not have happened, at any time: more are hard to put in order.
const mostUnknown = 4

// area is a range of blocks that are used for a while. Histories of blocks stay
// short so, and each is read again at the end.
type area struct {
	volume  *volume
	base    int64 // LBA
	unknown [areaBlocks]atomic.Int32
}

// next gives v another area, as long as there are some.
func (v *volume) next(r *rand.Rand) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.slots == nil {
		v.slots = r.Perm(int(v.size / int64(v.block) / areaBlocks))
	}
	if len(v.slots) == 0 {
		return
	}
	v.now = &area{volume: v, base: int64(v.slots[0]) * areaBlocks}
	v.slots = v.slots[1:]
	v.all = append(v.all, v.now)
}

func (v *volume) area() *area {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.now
}

// pick chooses blocks of the area for a command, none of which is retired. ok
// is false where it found none.
func (a *area) pick(r *rand.Rand, most int) (off, n int, ok bool) {
	for range 20 {
		switch dice := r.IntN(100); {
		case dice < 60:
			n = 1 + r.IntN(4)
		case dice < 92:
			n = 8 + r.IntN(25)
		default:
			n = 64 + r.IntN(areaBlocks-64) // of 4096 bytes: longer than what is streamed in one piece
		}
		n = min(n, most)
		off = r.IntN(areaBlocks - n + 1)
		if n < hotBlocks/2 && r.IntN(4) > 0 {
			off = r.IntN(hotBlocks - n + 1)
		}
		if !a.retired(off, n) {
			return off, n, true
		}
	}
	return 0, 0, false
}

func (a *area) retired(off, n int) bool {
	for i := off; i < off+n; i++ {
		if a.unknown[i].Load() >= mostUnknown {
			return true
		}
	}
	return false
}

// note counts an op without an answer.
func (a *area) note(o *history.Op) {
	for i := range o.Vals {
		a.unknown[o.LBA-a.base+int64(i)].Add(1)
	}
}

// values are what op id writes to n blocks: zeros, or a stamp for each.
func values(id int64, n int, zero bool) []history.Value {
	v := make([]history.Value, n)
	for i := range v {
		if !zero {
			v[i] = history.ValueOf(id, i)
		}
	}
	return v
}

// encode returns the bytes of vals.
func encode(vals []history.Value, block int) []byte {
	b := make([]byte, len(vals)*block)
	for i, v := range vals {
		v.Fill(b[i*block : (i+1)*block])
	}
	return b
}

// decode returns what b holds.
func decode(b []byte, block int) []history.Value {
	vals, scratch := make([]history.Value, len(b)/block), make([]byte, block)
	for i := range vals {
		vals[i] = history.ValueIn(b[i*block:(i+1)*block], scratch)
	}
	return vals
}
