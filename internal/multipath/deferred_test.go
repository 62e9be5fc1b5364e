package multipath

import (
	"context"
	"testing"
	"time"

	"sango/internal/block"
	"sango/internal/block/mem"
	"sango/internal/initiator"
	"sango/internal/lun"
	"sango/internal/scsi"
)

// deferring answers the first TEST UNIT READY after it is armed with a deferred
// write error.
type deferring struct {
	session
	armed chan struct{}
}

func (s *deferring) Do(ctx context.Context, c *initiator.Command) error {
	if scsi.Op(&c.CDB) == scsi.OpTestUnitReady {
		select {
		case <-s.armed:
			c.Status = scsi.CheckConditionStatus
			c.Sense = (&scsi.Sense{Key: scsi.MediumError, ASC: 0x0c00, Deferred: true}).Append(nil, false)
			return nil
		default:
		}
	}
	return s.session.Do(ctx, c)
}

// A target tells of data that it could not write later to whoever asks next:
// where that is a check of the path, the next flush fails nevertheless.
func TestDeferredErrorMeetsACheck(t *testing.T) {
	r := newRig(t, mem.Options{BlockSize: 512}, lun.TargetOptions{})
	armed := make(chan struct{})
	c := r.config()
	c.Check = 20 * time.Millisecond
	c.keep = func(cfg initiator.Config, up func(session), down func(session, error), failed func(error)) keeper {
		made := map[session]*deferring{}
		return keepSession(cfg, func(s session) {
			made[s] = &deferring{s, armed}
			up(made[s])
		}, func(s session, err error) { down(made[s], err) }, failed)
	}
	d := r.open(c)
	if err := block.WriteAt(d, make([]byte, 4096), 0, 0); err != nil {
		t.Fatal(err)
	}
	select {
	case armed <- struct{}{}:
	case <-time.After(20 * time.Second):
		t.Fatal("no check of a path")
	}
	until(t, d, "the deferred error", func(*View) bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.eng.deferred != nil
	})
	if err := block.Flush(d); block.ClassOf(err) != block.Medium {
		t.Errorf("the flush ended with %v", err)
	}
	if err := block.Flush(d); err != nil {
		t.Errorf("the next flush ended with %v", err)
	}
}
