package mem

import (
	"reflect"
	"runtime"
	"testing"

	"pgregory.net/rapid"
)

// check holds p against its own rules.
func (p *pool) check(t *rapid.T) {
	taken, held := 0, 0
	for n, s := range p.level {
		var prev *slab
		for ; s != nil; prev, s = s, s.next {
			if s.taken() != n || s.prev != prev || s.leaving {
				t.Fatalf("a slab with %d slots in use is in list %d, or wrongly linked", s.taken(), n)
			}
			taken += n
			held += slabSlots - n
		}
	}
	if held != p.held || taken > p.taken || (p.taken-taken)%slabSlots != 0 {
		t.Fatalf("lists: %d in use, %d held; counted: %d, %d", taken, held, p.taken, p.held)
	}
	if p.excess() && p.level[0] != nil {
		t.Fatalf("%d slots are held for %d, and free slabs among them", p.held, p.taken)
	}
	for _, s := range p.given {
		if s.free != allFree {
			t.Fatal("the memory of a slab in use was given back")
		}
	}
}

// TestPool takes and gives slots at random and gathers them as a device does.
// Every slot bears the mark of its owner all the time.
func TestPool(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var slabs Slabs
		d := &Device{pool: newPool(slabs.source())}
		p := d.pool
		marks := map[*chunk]byte{}
		var all []*chunk
		var mark byte
		take := func() {
			c := new(chunk)
			if !d.take(c) {
				t.Fatal("no slot")
			}
			mark++
			c.data[0], c.data[chunkSize-1] = mark, ^mark
			marks[c] = mark
			all = append(all, c)
		}
		give := func(i int) {
			c := all[i]
			all[i] = all[len(all)-1]
			all = all[:len(all)-1]
			delete(marks, c)
			if d.forget(c) {
				d.gather()
				if p.excess() {
					t.Fatalf("%d slots are held for %d after gathering", p.held, p.taken)
				}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"take": func(t *rapid.T) {
				for range rapid.IntRange(1, 2*slabSlots).Draw(t, "n") {
					take()
				}
			},
			"give": func(t *rapid.T) {
				for range rapid.IntRange(0, len(all)).Draw(t, "n") {
					give(rapid.IntRange(0, len(all)-1).Draw(t, "i"))
				}
			},
			"give the oldest": func(t *rapid.T) {
				for range rapid.IntRange(0, min(len(all), slabSlots)).Draw(t, "n") {
					give(0)
				}
			},
			"": func(t *rapid.T) {
				p.check(t)
				if p.taken != len(all) {
					t.Fatalf("%d slots in use, want %d", p.taken, len(all))
				}
				for c, m := range marks {
					if c.home.owner[c.slot] != c || c.data != c.home.slot(int(c.slot)) || c.data[0] != m || c.data[chunkSize-1] != ^m {
						t.Fatalf("slot %d is not what its owner left", c.slot)
					}
				}
			},
		})
		p.close()
		if now, _ := slabs.Areas(); now != 0 {
			t.Fatalf("%d areas are left after close", now)
		}
		if d.take(new(chunk)) {
			t.Fatal("a closed pool handed out a slot")
		}
	})
}

// TestChunkIsACacheLine: lock, state and address of the data come together.
func TestChunkIsACacheLine(t *testing.T) {
	if n := reflect.TypeFor[chunk]().Size(); n != 64 {
		t.Fatalf("a chunk takes %d bytes, want 64", n)
	}
}

// TestMoveOfWhatHasLeft: between the look at who owns a slot and the lock of
// that chunk, the slot may have changed hands.
func TestMoveOfWhatHasLeft(t *testing.T) {
	var slabs Slabs
	d := &Device{pool: newPool(slabs.source())}
	c, other := new(chunk), new(chunk)
	d.take(c)
	s, i := c.home, int(c.slot)
	d.forget(c)
	d.move(c, s, i) // discarded
	d.take(other)
	d.take(c)
	if other.home != s || int(other.slot) != i || c.home == s && int(c.slot) == i {
		t.Fatal("the slot went elsewhere")
	}
	d.move(c, s, i) // written to again, elsewhere
	if d.pool.taken != 2 || s.owner[i] != other || c.home.owner[c.slot] != c {
		t.Fatal("the slot of another chunk was given back")
	}
}

// TestGatherTakesTurns: who finds somebody else at moving does not leave its
// part undone, and nobody does more than that.
func TestGatherTakesTurns(t *testing.T) {
	var slabs Slabs
	d := &Device{pool: newPool(slabs.source())}
	p := d.pool
	var all []*chunk
	for range 8 * slabSlots {
		c := new(chunk)
		d.take(c)
		all = append(all, c)
	}
	for i, c := range all {
		if i%4 != 0 {
			d.forget(c)
		}
	}
	p.moving.Lock()
	done := make(chan struct{})
	go func() {
		d.gather()
		close(done)
	}()
	for range 1000 {
		runtime.Gosched()
	}
	select {
	case <-done:
		t.Error("it was left undone because another one was moving")
	default:
	}
	p.moving.Unlock()
	<-done
	if want := 5 * slabSlots; p.held != want {
		t.Errorf("%d slots are held after one turn, want %d", p.held, want)
	}
}
