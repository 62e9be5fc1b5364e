package lun

import "sango/internal/scsi"

// taskState is the device server's own part of a Task.
type taskState struct{}

// Ready tells that the data-out of t is complete: it runs. It does nothing if
// the task was aborted meanwhile.
func (t *Task) Ready() {}

// Fail tells that the data-out of t failed (digest, sequence): the task ends
// with cc. It does nothing if the task was aborted meanwhile.
func (t *Task) Fail(cc *scsi.CheckCondition) {}

// Reset makes t ready for reuse: its buffers are released, everything else is
// zeroed. The transport calls it after the response was sent.
func (t *Task) Reset() {
	t.Out.Release()
	t.In.Release()
	out, in := t.Out, t.In
	*t = Task{Out: out, In: in}
}
