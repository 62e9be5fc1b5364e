package target

import (
	"strings"
	"testing"
)

func TestConfigDefaults(t *testing.T) {
	c, err := Config{}.Complete()
	if err != nil {
		t.Fatal(err)
	}
	if sum := c.NopInterval + c.NopTimeout; sum.Seconds() < 3 || sum.Seconds() > 5 {
		t.Errorf("a lost peer is noticed after %v, want 3 to 5 s (DESIGN R4 a)", sum)
	}
}

func TestConfigRefused(t *testing.T) {
	for want, c := range map[string]Config{
		"window is 2000; set it between 1 and 1024":                        {Window: 2000},
		"FirstBurstLength is 1048576; set it between 512 and 4096":         {FirstBurst: 1 << 20, MaxBurst: 4096},
		"MaxOutstandingR2T is 9; set it between 1 and 8":                   {OutstandingR2T: 9},
		"MaxRecvDataSegmentLength is 100; set it between 512 and 16777215": {MaxRecvDataSegment: 100},
	} {
		if _, err := New(c, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", c, err, want)
		}
	}
}
