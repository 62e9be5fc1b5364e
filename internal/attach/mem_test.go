package attach

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"sango/internal/block"
)

// A volume in memory has no scheduler: each request is over when it is
// submitted, nothing can wait. Counts and metrics are there all the same.
func TestMemoryNeedsNoScheduler(t *testing.T) {
	s, err := openStack(t.Context(), &Options{Source: Source{Size: 1 << 20, BlockSize: 512}}, &State{}, "", false, nil)
	if err != nil {
		t.Fatal(err)
	}
	if s.sched != nil {
		t.Error("it has one")
	}
	if err := block.WriteAt(s.top, make([]byte, 512), 0, 0); err != nil {
		t.Fatal(err)
	}
	if n := s.counts()["write"].Requests; n != 1 {
		t.Errorf("%d writes were counted", n)
	}
	a := &attachment{o: Options{Name: "m"}}
	a.stack.Store(s)
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(collector{a})
	if _, err := r.Gather(); err != nil {
		t.Error(err)
	}
	if err := s.close(t.Context()); err != nil {
		t.Error(err)
	}
}
