package lun

import (
	"errors"
	"slices"
	"sync"

	"sango/internal/scsi"
	"sango/internal/scsi/copy"
)

// copyResults are what RECEIVE COPY RESULTS tells one I_T_L nexus of its
// copies, and nobody else (DESIGN R10). They are lost with the nexus.
type copyResults struct {
	mu   sync.Mutex    // guards the fields below and the results
	list []*copyResult // in order of their start
}

// copyResult is one copy with a list identifier.
type copyResult struct {
	id     uint8
	usage  copy.Usage
	state  copy.Progress
	status scsi.Status
	sense  []byte // of a copy that failed, fixed format
}

// begin notes a new copy. One of the same identifier that has ended is
// forgotten; one that goes on is an error (SPC-4 §6.4.3.2).
func (c *copyResults) begin(l *copy.List) (*copyResult, *scsi.CheckCondition) {
	r := &copyResult{id: l.ID, usage: l.Usage}
	if l.Usage == copy.UsageNone {
		return r, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := c.index(l.ID); i >= 0 {
		if c.list[i].state.State == copy.InProgress {
			return nil, scsi.Check(scsi.IllegalRequest, scsi.ASCOperationInProgress)
		}
		c.list = slices.Delete(c.list, i, i+1)
	}
	if len(c.list) >= maxHeldCopies {
		ended := func(r *copyResult) bool { return r.state.State != copy.InProgress }
		if i := slices.IndexFunc(c.list, ended); i >= 0 {
			c.list = slices.Delete(c.list, i, i+1)
		}
	}
	c.list = append(c.list, r)
	return r, nil
}

func (c *copyResults) index(id uint8) int {
	return slices.IndexFunc(c.list, func(r *copyResult) bool { return r.id == id })
}

// moved notes n more bytes of r.
func (c *copyResults) moved(r *copyResult, n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r.state.Bytes += uint64(n)
}

// segment notes that one more segment of r is complete.
func (c *copyResults) segment(r *copyResult) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r.state.Segments++
}

// end notes how r ended. Results that need not be held are forgotten where
// they have nothing bad to tell.
func (c *copyResults) end(r *copyResult, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r.state.State = copy.Done
	if err == nil {
		if r.usage == copy.UsageDiscard {
			c.list = slices.DeleteFunc(c.list, func(o *copyResult) bool { return o == r })
		}
		return
	}
	r.state.State, r.status = copy.Failed, scsi.CheckConditionStatus
	if cc := (*scsi.CheckCondition)(nil); errors.As(err, &cc) {
		r.sense = cc.Sense.Append(nil, false)
	}
}

// look answers a RECEIVE COPY RESULTS command: f is called with the result
// that its CDB names, with the lock. It returns false to have it forgotten.
func (c *copyResults) look(t *Task, f func(*copyResult) (data []byte, keep bool)) error {
	q := scsi.ParseReceiveCopyResults(&t.CDB)
	c.mu.Lock()
	defer c.mu.Unlock()
	i := c.index(q.ListID)
	if i < 0 {
		return scsi.InvalidField(2, -1)
	}
	data, keep := f(c.list[i])
	if !keep {
		c.list = slices.Delete(c.list, i, i+1)
	}
	t.reply(data, int(q.Allocation))
	return nil
}

func copyStatus(t *Task) error {
	return t.itl.copies.look(t, func(r *copyResult) ([]byte, bool) { return r.state.Append(nil), true })
}

// copyData answers that no data is held: segments of this kind leave none.
func copyData(t *Task) error {
	return t.itl.copies.look(t, func(*copyResult) ([]byte, bool) { return []byte{0, 0, 0, 0}, true })
}

// copyFailure tells of a failure once (SPC-4 §6.20).
func copyFailure(t *Task) error {
	return t.itl.copies.look(t, func(r *copyResult) ([]byte, bool) {
		failed := r.state.State == copy.Failed
		return copy.AppendFailure(nil, r.status, r.sense), !failed
	})
}
