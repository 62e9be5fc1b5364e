package layered

// discardChunk is the most clusters that are discarded in one piece: first
// writes of the layer wait for it.
const discardChunk = pageClusters

// zero makes the range read as zeros, and deallocates it if unmap is set. The
// gate is held shared.
func (v *volume) zero(off, n int64, unmap bool) error {
	top := v.live.chain[0]
	if top.idx == nil {
		if unmap {
			return top.punch(off, n)
		}
		return top.zero(off, n)
	}
	for n > 0 {
		c, in := off>>clusterShift, off&(clusterSize-1)
		run := min(n, clusterSize-in)
		var err error
		switch {
		case in == 0 && (run == clusterSize || off+run == v.live.size):
			whole := n >> clusterShift
			if off+n == v.live.size && n&(clusterSize-1) != 0 {
				whole++
			}
			whole = min(whole, discardChunk)
			run = min(n, whole<<clusterShift)
			if unmap {
				err = v.discardClusters(top, c, whole)
			} else {
				err = v.zeroClusters(top, c, whole)
			}
		default:
			err = v.zeroPart(top, off, run, unmap)
		}
		if err != nil {
			return err
		}
		off, n = off+run, n-run
	}
	return nil
}

// discardClusters lets n whole clusters read as zeros and take no space: the
// record first, then the hole. Both under the index's lock, so that no first
// write comes in between whose data the hole would take.
func (v *volume) discardClusters(top *layer, c, n int64) error {
	for end := c + n; c < end; {
		got, wait, err := v.discardRun(top, c, end-c)
		if err != nil {
			return err
		}
		if wait != nil {
			<-wait
		}
		c += got
	}
	return nil
}

// discardRun discards clusters from c on up to the first that is being copied
// up, at most n, and returns how many; none, and what to wait for, if that is c.
func (v *volume) discardRun(top *layer, c, n int64) (got int64, wait chan struct{}, err error) {
	x := top.idx
	x.mu.Lock()
	defer x.mu.Unlock()
	fresh := false // one of them is not zeroed yet
	for got < n {
		p, err := x.load((c + got) >> pageShift)
		if err != nil {
			return 0, nil, err
		}
		s := p.at(c + got)
		if s != copying && p == uniform[s] {
			fresh = fresh || s != zeroed
			got = min(n, got+pageClusters-(c+got)&(pageClusters-1))
			continue
		}
		if s == copying {
			break
		}
		fresh = fresh || s != zeroed
		got++
	}
	if got == 0 {
		return 0, x.waiter(c), nil
	}
	if !fresh {
		return got, nil, nil
	}
	if err := x.log.append(record{recZeroed, uint64(c), uint64(got)}); err != nil {
		return 0, nil, err
	}
	if err := x.set(c, got, zeroed); err != nil {
		return 0, nil, err
	}
	off := c << clusterShift
	return got, nil, top.punch(off, min(got<<clusterShift, top.size-off))
}

// span returns the state of c, and how many of the next n clusters share it.
// For a copying one, wait is closed when that has ended.
func (x *index) span(c, n int64) (s state, got int64, wait chan struct{}, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for ; got < n; got++ {
		p, err := x.load((c + got) >> pageShift)
		if err != nil {
			return 0, 0, nil, err
		}
		if got == 0 {
			s = p.at(c)
		} else if p.at(c+got) != s {
			break
		}
	}
	if s == copying {
		wait = x.waiter(c)
	}
	return s, got, wait, nil
}

// zeroClusters makes n whole clusters zero and keeps space for them.
func (v *volume) zeroClusters(top *layer, c, n int64) error {
	for end := c + n; c < end; {
		s, got, wait, err := top.idx.claim(c, end-c)
		if err != nil {
			return err
		}
		if wait != nil {
			<-wait
			continue
		}
		off := c << clusterShift
		if got == 0 {
			if err := top.zero(off, min(clusterSize, top.size-off)); err != nil {
				return err
			}
			c++
			continue
		}
		err = top.zero(off, min(got<<clusterShift, top.size-off))
		if err := top.finish(c, got, s, err); err != nil {
			return err
		}
		c += got
	}
	return nil
}

// zeroPart makes a part of one cluster zero.
func (v *volume) zeroPart(top *layer, off, n int64, unmap bool) error {
	s, _, wait, err := top.idx.span(off>>clusterShift, 1)
	if err != nil {
		return err
	}
	if wait != nil {
		<-wait
		return v.zeroPart(top, off, n, unmap)
	}
	if unmap {
		if s == present {
			return top.punch(off, n)
		}
		l, run, err := locate(v.live.chain, off, n, false)
		if err != nil || l == nil && run == n {
			return err // zeros already, and nowhere
		}
	} else if s == present {
		return top.zero(off, n)
	}
	return v.write([][]byte{zeros[:n]}, off, n)
}
