package target

import (
	"strings"
	"testing"
	"time"
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

// Where commands may not grow old, the readers look at their sockets more
// often: what came since they did seems as old as that.
func TestTickIsShortBesideMaxAge(t *testing.T) {
	for _, age := range []time.Duration{500 * time.Millisecond, 3 * time.Second} {
		c, err := Config{MaxAge: age}.Complete()
		if err != nil || c.tick+tickGrid > age/2 || c.tick+tickGrid > 500*time.Millisecond {
			t.Errorf("MaxAge %v: a reader sleeps %v and %v, %v", age, c.tick, tickGrid, err)
		}
	}
}

func TestReadersWakeTogether(t *testing.T) {
	at := time.Unix(1e9, 0)
	for _, d := range []time.Duration{0, 1, tickGrid - 1} {
		if got := together(at.Add(d)); !got.Equal(at.Add(tickGrid)) {
			t.Errorf("%v past the grid: woken at %v", d, got.Sub(at))
		}
	}
}
