package sched

// ClassStats is what was counted of one class.
type ClassStats struct {
	Requests   uint64 // submitted
	Queued     uint64 // of these: did not go down at once
	Blocked    uint64 // of these: waited for an earlier one that they overlap
	Merged     uint64 // went down together with another one
	Split      uint64 // went down in parts
	Sent       uint64 // requests to the device below
	Errors     uint64 // of these: ended with an error
	Retried    uint64 // merged ones that failed and were sent one by one
	Overdue    uint64 // batches begun because a deadline had passed
	WouldBlock uint64 // NoWait requests sent back by the scheduler itself
	Waiting    int    // in the queue now
	InFlight   int    // in the device below now
}

// Stats is what was counted so far.
type Stats struct {
	Classes  [classes]ClassStats // by Class
	Blocked  int                 // requests that wait for an earlier one that they overlap, now
	InFlight int                 // in the device below now
}

// Stats returns the counts, all of one moment.
func (d *Device) Stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := Stats{Classes: d.stats, Blocked: d.blocked, InFlight: d.inflight}
	for c := range s.Classes {
		s.Classes[c].Waiting, s.Classes[c].InFlight = d.queue[c].n, d.flying[c]
	}
	return s
}
