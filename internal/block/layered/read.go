package layered

// owner returns the layer that holds cluster c, nil if it reads as zeros, and
// for how many clusters from c on that is known to hold. A cluster that is
// being copied up still counts as what it was, the one beneath or zeros: its
// writer has not been told that it is done.
func owner(chain []*layer, c int64, nowait bool) (*layer, int64, error) {
	n := pageClusters - c&(pageClusters-1)
	for _, l := range chain {
		if l.idx == nil {
			return l, n, nil
		}
		s, uniform, ok := l.idx.look(c)
		if !ok {
			if nowait {
				return nil, 0, errWouldBlock
			}
			var err error
			if s, err = l.idx.get(c); err != nil {
				return nil, 0, err
			}
		}
		if s == copying {
			if nowait {
				return nil, 0, errWouldBlock
			}
			var err error
			if s, err = l.idx.shows(c); err != nil {
				return nil, 0, err
			}
		}
		if !uniform {
			n = 1
		}
		switch s {
		case present:
			return l, n, nil
		case zeroed:
			return nil, n, nil
		}
	}
	return nil, n, nil
}

// locate tells where the contents of the stack at off lie, and for how many of
// the next n bytes that holds. nil: they are zeros.
func locate(chain []*layer, off, n int64, nowait bool) (l *layer, run int64, err error) {
	c, last := off>>clusterShift, (off+n-1)>>clusterShift
	if len(chain) == 1 && chain[0].idx == nil {
		l, c = chain[0], last+1
	} else {
		var k int64
		if l, k, err = owner(chain, c, nowait); err != nil {
			return nil, 0, err
		}
		for c += k; c <= last; c += k {
			var next *layer
			if next, k, err = owner(chain, c, nowait); err != nil {
				return nil, 0, err
			}
			if next != l {
				break
			}
		}
	}
	run = min(n, c<<clusterShift-off)
	switch {
	case l == nil || off >= l.size:
		return nil, run, nil
	case run > l.size-off:
		run = l.size - off
	}
	return l, run, nil
}

// readChain fills vec with n bytes from off of the stack.
func readChain(chain []*layer, vec [][]byte, off, n int64, nowait bool) error {
	l, run, err := locate(chain, off, n, nowait)
	if err != nil {
		return err
	}
	if run == n && l != nil {
		return l.read(vec, off, n, nowait)
	}
	b := vecs.Get().(*vecBuf)
	defer vecs.Put(b)
	for done := int64(0); ; {
		b.v = slice(b.v[:0], vec, done, run)
		if l == nil {
			for _, p := range b.v {
				clear(p)
			}
		} else if err := l.read(b.v, off+done, run, nowait); err != nil {
			return err
		}
		if done += run; done == n {
			return nil
		}
		if l, run, err = locate(chain, off+done, n-done, nowait); err != nil {
			return err
		}
	}
}
