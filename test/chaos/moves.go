package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"connectrpc.com/connect"

	"sango/internal/api"
	v1 "sango/internal/api/gen/sango/v1"
)

// moves gives volumes other owners all the time.
type moves struct {
	*site
	every time.Duration
	seed  uint64
	wg    sync.WaitGroup

	mu    sync.Mutex // guards what follows
	took  []time.Duration
	fails int
	last  error
}

// start moves each volume by itself until ctx ends.
func (m *moves) start(ctx context.Context, volumes []*volume) {
	for _, v := range volumes {
		r := rand.New(rand.NewPCG(m.seed, 0x307e5+uint64(v.lun)))
		m.wg.Go(func() { m.keep(ctx, r, v.name) })
	}
}

func (m *moves) keep(ctx context.Context, r *rand.Rand, volume string) {
	tick := time.NewTicker(m.every)
	defer tick.Stop()
	at := r.IntN(len(m.gateways))
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		at = (at + 1 + r.IntN(len(m.gateways)-1)) % len(m.gateways)
		asked := r.IntN(len(m.gateways))
		began := time.Now()
		err := m.move(ctx, asked, volume, fmt.Sprint("gw", at))
		if ctx.Err() != nil {
			return
		}
		m.mu.Lock()
		if err == nil {
			m.took = append(m.took, time.Since(began))
		} else { // with faults under way nobody may be able to
			m.fails, m.last = m.fails+1, err
		}
		m.mu.Unlock()
	}
}

// move asks a gateway to give a volume to another one, and waits until it has
// it.
func (s *site) move(ctx context.Context, asked int, volume, to string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	cl := api.NewClient(s.gateways[asked].disk.Path)
	defer cl.Close()
	_, err := cl.MoveVolume(ctx, connect.NewRequest(&v1.MoveVolumeRequest{Volume: volume, Gateway: to}))
	return err
}

// end waits for the last of them, and tells how many there were.
func (m *moves) end(say func(string, ...any)) error {
	m.wg.Wait()
	if len(m.took) == 0 {
		return errors.Join(errors.New("no volume moved"), m.last)
	}
	slices.Sort(m.took)
	say("%d moves; they took %v (median), %v at the most; %d failed", len(m.took), m.took[len(m.took)/2].Round(time.Millisecond), m.took[len(m.took)-1].Round(time.Millisecond), m.fails)
	return nil
}
