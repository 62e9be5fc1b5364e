package block

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// late is a device that does nothing, and ends requests after a while.
type late struct {
	Device
	wait time.Duration
	err  error
}

func (d late) Submit(r *Request) {
	if d.wait == 0 {
		r.End(d.err)
		return
	}
	time.AfterFunc(d.wait, func() { r.End(d.err) })
}

// Who waits for a request may be in any bubble of synctest, after others were in
// others: what they wait with is used again.
func TestDoInBubbles(t *testing.T) {
	failure := errors.New("failure")
	for _, wait := range []time.Duration{0, time.Second} {
		d := late{wait: wait, err: failure}
		for range 20 {
			synctest.Test(t, func(t *testing.T) {
				for range 3 {
					begin := time.Now()
					if err := Flush(d); !errors.Is(err, failure) {
						t.Error(err)
					}
					if got := time.Since(begin); got != wait {
						t.Errorf("ended after %v", got)
					}
				}
			})
		}
		if err := Flush(late{wait: wait / 1000}); err != nil {
			t.Error(err)
		}
	}
}
