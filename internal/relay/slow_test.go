package relay

import (
	"testing"
	"testing/synctest"
	"time"

	"sango/internal/lun"
	"sango/internal/scsi"
)

// A command that the owner's reader executes in place, and that takes long, keeps
// back neither heartbeats nor the answers to others: nobody suspects a gateway
// whose store is slow, and no link is closed for that.
func TestSlowInPlace(t *testing.T) {
	for _, long := range []time.Duration{1500 * time.Millisecond, 4500 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			front, owner, _, v := pair(t, nil)
			slow, other := front.host(v, 1), front.host(v, 2)
			started := owner.unit.slow()
			r := other.send(read(1))
			k := <-started
			owner.unit.set(func(r *fakeRemote, k *lun.Task) {
				pass(long)
				r.done(k, scsi.Good)
			})
			began := time.Now()
			w := slow.send(write(1))
			synctest.Wait()
			finish(k, scsi.Good)
			expect(t, r, lun.Ended, scsi.Good)
			if d := time.Since(began); d > 2*tickTime {
				t.Errorf("%v: the answer to another nexus took %v", long, d)
			}
			expect(t, w, lun.Ended, scsi.Good)
			pass(time.Second)
			owner.unit.set(func(r *fakeRemote, k *lun.Task) { r.done(k, scsi.Good) })
			expect(t, other.send(write(2)), lun.Ended, scsi.Good)
			front.mu.Lock()
			lost := front.lost
			front.mu.Unlock()
			if n := slow.losses() + other.losses(); len(lost) > 0 || n > 0 {
				t.Errorf("%v: lost: %v, and nexuses %d times", long, lost, n)
			}
		})
	}
}

// A peer that says nothing is silent, whatever its link was busy with before.
func TestSilenceAfterSlowInPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := alone(t, nil)
		const long = 5 * time.Second
		g.unit.set(func(r *fakeRemote, k *lun.Task) {
			pass(long)
			r.done(k, scsi.Good)
		})
		f := dialRaw(t, g, memberA, 0)
		f.open(1, testNexus(1, 1))
		f.expectOpened(1)
		in := g.inbound(memberA, 0)
		began := time.Now()
		f.write(f.command(1, 0, 1))
		<-in.conn.quit
		if d := time.Since(began) - long; d < 2500*time.Millisecond || d > 3500*time.Millisecond {
			t.Errorf("the link was closed %v after the command", d)
		}
	})
}
