package bufpool

// List is a list of buffers that together hold Len bytes: the data of one
// task, handed from layer to layer without a copy. The zero value is empty.
// A List is owned like a Buf; it is not safe for concurrent use.
type List struct {
	bufs []*Buf
	vec  [][]byte
	n    int
}

// Grow appends n bytes of undefined contents.
func (l *List) Grow(n int) {
	for n > 0 {
		c := min(n, MaxPooled)
		l.Append(Get(c))
		n -= c
	}
}

// Append appends b, whose reference goes over to the list.
func (l *List) Append(b *Buf) {
	l.bufs = append(l.bufs, b)
	l.vec = append(l.vec, b.B)
	l.n += len(b.B)
}

// Len returns the number of bytes.
func (l *List) Len() int { return l.n }

// Vec returns the bytes as an I/O vector. It is valid until the next change
// of the list; callers must not modify the slice headers.
func (l *List) Vec() [][]byte { return l.vec }

// Slice appends to vec the parts of the list that make up [off, off+n), and
// returns it.
func (l *List) Slice(vec [][]byte, off, n int) [][]byte {
	for _, b := range l.vec {
		if n <= 0 {
			break
		}
		if off >= len(b) {
			off -= len(b)
			continue
		}
		b = b[off:min(len(b), off+n)]
		off, n = 0, n-len(b)
		vec = append(vec, b)
	}
	return vec
}

// Truncate cuts the list down to n bytes and releases what is not needed.
func (l *List) Truncate(n int) {
	if n >= l.n {
		return
	}
	l.n = n
	for i, b := range l.vec {
		if n >= len(b) {
			n -= len(b)
			continue
		}
		keep := i
		if n > 0 {
			l.vec[i] = b[:n]
			keep++
		}
		for j := keep; j < len(l.bufs); j++ {
			l.bufs[j].Release()
			l.bufs[j], l.vec[j] = nil, nil
		}
		l.bufs, l.vec = l.bufs[:keep], l.vec[:keep]
		return
	}
}

// Release gives all buffers up; the list is empty afterwards.
func (l *List) Release() {
	for i, b := range l.bufs {
		b.Release()
		l.bufs[i], l.vec[i] = nil, nil
	}
	l.bufs, l.vec, l.n = l.bufs[:0], l.vec[:0], 0
}
