package iscsi

import (
	"bytes"
	"errors"
	"testing"
)

func TestJoinWhatWasSplit(t *testing.T) {
	text := Keys{{"InitiatorName", "iqn.a"}, {"MaxBurstLength", "512"}}.Append(nil)
	for limit := 1; limit <= len(text)+1; limit++ {
		var s Splitter
		s.Set(text)
		j := Joiner{Max: len(text)}
		for n := 0; ; n++ {
			seg, more := s.Next(limit)
			if len(seg) > limit || more != s.Pending() {
				t.Fatalf("segment of %d bytes, limit %d, more %v", len(seg), limit, more)
			}
			got, complete, err := j.Add(seg, more)
			if err != nil || complete == more {
				t.Fatalf("limit %d: complete %v, more %v, %v", limit, complete, more, err)
			}
			if complete {
				if !bytes.Equal(got, text) {
					t.Fatalf("limit %d: %q", limit, got)
				}
				break
			}
			if !j.Pending() {
				t.Fatal("a part is there, but not pending")
			}
		}
		if j.Pending() {
			t.Fatal("pending after the end")
		}
	}
}

func TestJoinerBound(t *testing.T) {
	j := Joiner{Max: 10}
	if _, _, err := j.Add(make([]byte, 8), true); err != nil {
		t.Fatal(err)
	}
	_, _, err := j.Add(make([]byte, 3), true)
	var p *ProtocolError
	if !errors.As(err, &p) || p.Reason != RejectLongOperation {
		t.Fatalf("11 bytes of 10: %v", err)
	}
	if j.Pending() {
		t.Error("the rest was kept")
	}
	if _, complete, err := j.Add(make([]byte, 10), false); err != nil || !complete {
		t.Errorf("not usable after an error: %v", err)
	}
}

func TestSplitterOfNothing(t *testing.T) {
	var s Splitter
	if seg, more := s.Next(100); len(seg) != 0 || more {
		t.Errorf("%q, %v", seg, more)
	}
}
