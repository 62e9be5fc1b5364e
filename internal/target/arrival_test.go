package target

import (
	"testing"
	"time"

	"sango/internal/iscsi"
	"sango/internal/lun"
	"sango/internal/san"
	"sango/internal/scsi"
)

// arrivals is the relay of a unit that another gateway serves: it ends
// everything with GOOD, and tells of writes when they arrived.
type arrivals chan time.Time

func (a arrivals) Forward(t *lun.Task) {
	if t.Write {
		a <- t.Arrival
	}
	t.Status, t.Want = scsi.Good, uint64(t.Out.Len())
	t.Relayed(lun.Ended)
}

func (a arrivals) Cancel(uint64) {}
func (a arrivals) Hasten(uint64) {}
func (a arrivals) Manage(_ *lun.Nexus, _ san.LUN, _ lun.TMF, done func(lun.TMFResponse)) {
	done(lun.TMFComplete)
}
func (a arrivals) Join(*lun.Nexus, san.LUN, lun.Standing)    {}
func (a arrivals) Part(_ *lun.Nexus, _ san.LUN, gone func()) { gone() }

// A write that goes to another gateway is as old as the last of its data: a host
// that still sends it has not sent it again elsewhere.
func TestAgeIsThatOfTheData(t *testing.T) {
	a := make(arrivals, 1)
	s := start(t)
	s.unit.RelayTo(1, a)
	i := connect(t, s, iscsi.Pair{Key: iscsi.KeyMaxBurst, Value: "4096"}, iscsi.Pair{Key: iscsi.KeyFirstBurst, Value: "4096"})
	i.ready()

	before := time.Now()
	i.command(command{cdb: write10(0, 8), write: true, expected: 4096, data: pattern(4096)})
	i.outcome()
	if at := <-a; at.After(time.Now()) {
		t.Errorf("a write with its data came %v after it was sent", at.Sub(before))
	}

	itt := i.command(command{cdb: write10(0, 16), write: true, expected: 8192})
	first := i.r2t()
	i.data(itt, first.TTT, 0, 0, true, pattern(4096))
	second := i.r2t()
	asked := time.Now()
	for range 2 { // with the second the socket is found empty, after asked
		i.ping()
	}
	i.data(itt, second.TTT, 0, 4096, true, pattern(4096))
	if o := i.outcome(); o.itt != itt || o.status != 0 {
		t.Errorf("the write ended with %+v", o)
	}
	if at := <-a; at.Before(asked) {
		t.Errorf("it arrived %v before the last of its data", asked.Sub(at))
	}
}
