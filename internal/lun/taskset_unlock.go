package lun

// unlock gives up the range of t, which executes, before its end. It returns
// the tasks that start now, linked by qnext.
func (s *taskSet) unlock(t *Task) (next *Task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.lock == lockNone {
		return nil
	}
	waited := map[*Task]bool{}
	for o := s.dormant.first; o != nil; o = o.unext {
		waited[o] = after(o, t)
	}
	s.account(t, -1)
	t.lock = lockNone
	s.account(t, 1)
	var last *Task
	for o := s.dormant.first; o != nil; {
		following := o.unext
		if waited[o] && !after(o, t) {
			if o.waits--; o.waits == 0 {
				s.dormant.remove(o)
				s.start(o)
				o.qnext = nil
				if last == nil {
					next = o
				} else {
					last.qnext = o
				}
				last = o
			}
		}
		o = following
	}
	return next
}
