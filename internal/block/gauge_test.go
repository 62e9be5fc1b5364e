package block

import (
	"sync"
	"sync/atomic"
	"testing"
)

func TestGauge(t *testing.T) {
	var g Gauge
	if !g.Open() || !g.Enter() || !g.Enter() {
		t.Fatal("closed from the start")
	}
	g.Leave()
	shut := make(chan bool)
	go func() { shut <- g.Shut() }()
	for g.Enter() {
		g.Leave()
	}
	select {
	case <-shut:
		t.Fatal("did not wait")
	default:
	}
	g.Leave()
	if !<-shut || g.Shut() || g.Open() || g.Enter() {
		t.Error("open after Shut")
	}
}

func TestGaugeRace(t *testing.T) {
	for range 200 {
		var g Gauge
		var in atomic.Int32
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for g.Enter() {
					in.Add(1)
					in.Add(-1)
					g.Leave()
				}
			})
		}
		g.Shut()
		if n := in.Load(); n != 0 {
			t.Fatalf("%d are in after Shut", n)
		}
		wg.Wait()
	}
}
