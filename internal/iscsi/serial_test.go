package iscsi

import "testing"

func TestSerialOrder(t *testing.T) {
	for _, c := range []struct {
		a, b uint32
		want bool
	}{
		{0, 0, false},
		{0, 1, true},
		{1, 0, false},
		{0xffffffff, 0, true},
		{0, 0xffffffff, false},
		{0xfffffff0, 0x10, true},
		{0, 0x7fffffff, true},
		{0, 0x80000000, false},
		{0x80000000, 0, false},
	} {
		if got := CmdSN(c.a).Before(CmdSN(c.b)); got != c.want {
			t.Errorf("CmdSN(%#x).Before(%#x) = %v", c.a, c.b, got)
		}
		if got := StatSN(c.a).Before(StatSN(c.b)); got != c.want {
			t.Errorf("StatSN(%#x).Before(%#x) = %v", c.a, c.b, got)
		}
		if got := DataSN(c.a).Before(DataSN(c.b)); got != c.want {
			t.Errorf("DataSN(%#x).Before(%#x) = %v", c.a, c.b, got)
		}
	}
}

func TestCommandWindow(t *testing.T) {
	for _, c := range []struct {
		sn, exp, max CmdSN
		want         bool
	}{
		{5, 5, 4, false}, // closed
		{5, 5, 5, true},
		{4, 5, 10, false},
		{10, 5, 10, true},
		{11, 5, 10, false},
		{0, 0xfffffffe, 3, true}, // across the wrap
		{4, 0xfffffffe, 3, false},
		{0xfffffffd, 0xfffffffe, 3, false},
		{0x80000005, 5, 10, false},
	} {
		if got := c.sn.Within(c.exp, c.max); got != c.want {
			t.Errorf("%#x in [%#x, %#x] = %v", c.sn, c.exp, c.max, got)
		}
	}
}
