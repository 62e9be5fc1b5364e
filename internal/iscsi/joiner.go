package iscsi

// Joiner puts together text that comes split over several PDUs by the C bit
// (RFC 7143 §6.2), up to a bound. The zero value with Max set is ready.
type Joiner struct {
	Max  int // bytes of one text at most
	part []byte
}

// Add takes the data segment of one PDU. When the C bit is off it returns the
// whole text, which stays valid until the next call; until then complete is
// false. Text past Max is an error, and is forgotten.
func (j *Joiner) Add(data []byte, more bool) (text []byte, complete bool, err error) {
	if len(j.part)+len(data) > j.Max {
		n := len(j.part) + len(data)
		j.Reset()
		return nil, false, protocolErrorf(RejectLongOperation, "text of %d bytes and more, at most %d are taken", n, j.Max)
	}
	if more {
		j.part = append(j.part, data...)
		return nil, false, nil
	}
	if len(j.part) == 0 {
		return data, true, nil
	}
	text = append(j.part, data...)
	j.part = j.part[:0]
	return text, true, nil
}

// Pending reports whether a part has come and more must follow.
func (j *Joiner) Pending() bool { return len(j.part) > 0 }

// Reset forgets the parts that have come.
func (j *Joiner) Reset() { j.part = nil }

// Splitter hands a text out in data segments.
type Splitter struct{ rest []byte }

// Set starts with text, which the Splitter keeps.
func (s *Splitter) Set(text []byte) { s.rest = text }

// Pending reports whether something is left to hand out.
func (s *Splitter) Pending() bool { return len(s.rest) > 0 }

// Next returns the next segment of at most limit bytes and whether more
// follows, which is to set the C bit.
func (s *Splitter) Next(limit int) (seg []byte, more bool) {
	n := min(len(s.rest), max(limit, 1))
	seg, s.rest = s.rest[:n:n], s.rest[n:]
	return seg, len(s.rest) > 0
}
