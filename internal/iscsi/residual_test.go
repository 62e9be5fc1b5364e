package iscsi

import "testing"

func TestNewResidual(t *testing.T) {
	for _, c := range []struct {
		expected uint32
		want     uint64
		res      Residual
	}{
		{512, 512, Residual{}},
		{512, 1024, Residual{Overflow: true, Count: 512}},
		{1024, 512, Residual{Underflow: true, Count: 512}},
		{0, 1 << 40, Residual{Overflow: true, Count: 0xffffffff}},
		{0xffffffff, 0, Residual{Underflow: true, Count: 0xffffffff}},
	} {
		if got := NewResidual(c.expected, c.want); got != c.res {
			t.Errorf("NewResidual(%d, %d) = %+v, want %+v", c.expected, c.want, got, c.res)
		}
	}
}
