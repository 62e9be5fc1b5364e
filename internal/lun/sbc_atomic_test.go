package lun

import (
	"bytes"
	"sync"
	"testing"

	"sango/internal/block/mem"
	"sango/internal/scsi"
)

func TestCompareAndWrite(t *testing.T) {
	both(t, func(d *disk) {
		for _, n := range []int{1, 2, int(d.u.maxCompareAndWrite())} {
			old, data := d.fill(n, 1), d.fill(n, 9)
			d.write(uint64(10*n), old)
			task := d.cmd(scsi.OpCompareAndWrite, at(uint64(10*n), n), 0, append(bytes.Clone(old), data...))
			wantGood(t, task)
			if task.Want != uint64(2*len(data)) {
				t.Errorf("Want = %d", task.Want)
			}
			d.holds(uint64(10*n), data)
			for _, i := range []int{0, 27, len(data) - 1} {
				wrong := bytes.Clone(data)
				wrong[i] ^= 0x80
				task := d.cmd(scsi.OpCompareAndWrite, at(uint64(10*n), n), 0, append(wrong, old...))
				wantSense(t, task, scsi.Miscompare, scsi.ASCMiscompare)
				if info(task) != int64(i) {
					t.Errorf("INFORMATION = %d, want %d", info(task), i)
				}
			}
			d.holds(uint64(10*n), data)
		}
		over := int(d.u.maxCompareAndWrite()) + 1
		if over <= 255 {
			wantSense(t, d.cmd(scsi.OpCompareAndWrite, at(0, over), 0, d.fill(2*over, 1)), scsi.IllegalRequest, scsi.ASCInvalidFieldInCDB)
		}
	})
}

// Of many that compare with the same, one wins.
func TestCompareAndWriteIsALock(t *testing.T) {
	d := newDisk(t, mem.Options{})
	const hosts, rounds = 4, 50
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := map[byte]int{} // by generation
	for h := range hosts {
		w := attach(t, d.target, nexusName(10+h), "")
		wg.Go(func() {
			for gen := byte(0); gen < rounds; {
				list := append(bytes.Repeat([]byte{gen}, d.bs), bytes.Repeat([]byte{gen + 1}, d.bs)...)
				c, err := (&scsi.Blocks{Blocks: 1}).CDB(scsi.OpCompareAndWrite)
				if err != nil {
					t.Error(err)
					return
				}
				task := w.run(w.out(len(list), c[:]...), list...)
				if task.Status == scsi.Good {
					mu.Lock()
					won[gen]++
					mu.Unlock()
				} else if k, _ := sense(task); k != scsi.Miscompare {
					t.Errorf("%v % x", task.Status, task.Sense)
					return
				}
				gen++
			}
		})
	}
	wg.Wait()
	for gen, n := range won {
		if n > 1 {
			t.Errorf("generation %d was won %d times", gen, n)
		}
	}
}

func TestOrWrite(t *testing.T) {
	both(t, func(d *disk) {
		n := chunk/d.bs + 2
		old, data := d.fill(n, 1), d.fill(n, 100)
		d.write(1, old)
		wantGood(t, d.cmd(scsi.OpOrWrite16, at(1, n), 0, data))
		for i := range old {
			old[i] |= data[i]
		}
		d.holds(1, old)
		d.holds(0, make([]byte, d.bs))
	})
}

// Increments by ORWRITE from several hosts at once lose no bit.
func TestOrWriteLosesNoBit(t *testing.T) {
	d := newDisk(t, mem.Options{})
	var wg sync.WaitGroup
	for h := range 8 {
		w := attach(t, d.target, nexusName(20+h), "")
		wg.Go(func() {
			for i := range d.bs / 8 {
				data := make([]byte, d.bs)
				data[i*8+h] = 1 << h
				c, err := (&scsi.Blocks{Blocks: 1}).CDB(scsi.OpOrWrite16)
				if err != nil {
					t.Error(err)
					return
				}
				if task := w.run(w.out(d.bs, c[:]...), data...); task.Status != scsi.Good {
					t.Errorf("%v % x", task.Status, task.Sense)
				}
			}
		})
	}
	wg.Wait()
	want := make([]byte, d.bs)
	for i := range want {
		want[i] = 1 << (i % 8)
	}
	d.holds(0, want)
}
