package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"sango/internal/initiator"
	"sango/internal/san"
	"sango/internal/scsi"
	"sango/test/harness"
)

// chooseTime is for how long hosts ask for different gateways: a volume may move
// for a host every five seconds.
const chooseTime = 16 * time.Second

// choose has two hosts say to different gateways that they are to serve the volume, over and over (SET TARGET PORT
// GROUPS). The first one that asks gets its will.
func choose(ctx context.Context, c *harness.Cluster, owner int) error {
	if _, err := c.Run(ctx, 0, "target", "set", target, "--explicit-alua"); err != nil {
		return err
	}
	before, err := c.Epoch(ctx, 0, volume)
	if err != nil {
		return err
	}
	run, cancel := context.WithTimeout(ctx, chooseTime)
	defer cancel()
	var errs [2]error
	var followed, asked [2]int
	var wg sync.WaitGroup
	for i := range errs { // neither of them is at the owner
		portal := c.Portals[(owner+1+i)%len(c.Portals)]
		wg.Go(func() {
			followed[i], asked[i], errs[i] = ask(run, portal, fmt.Sprintf("iqn.2026-11.example:host%d", i))
		})
	}
	wg.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	after, err := c.Epoch(ctx, 0, volume)
	if err != nil {
		return err
	}
	fmt.Printf("two hosts asked for two gateways %d and %d times in %v, in vain %d and %d times: the volume moved %d times\n",
		asked[0], asked[1], chooseTime, asked[0]-followed[0], asked[1]-followed[1], after-before)
	if after != before+1 {
		return fmt.Errorf("hosts that do not agree moved the volume %d times, not once", after-before)
	}
	return nil
}

// askEvery is the time between two wishes of a host.
const askEvery = 100 * time.Millisecond

// ask has a host ask for the gateway of a portal until ctx is done.
func ask(ctx context.Context, portal, name string) (followed, asked int, err error) {
	s, err := initiator.Login(ctx, initiator.Config{
		Initiator: san.InitiatorPort{Name: name, ISID: initiator.NewISID()}, Target: target, Portal: portal,
	})
	if err != nil {
		return 0, 0, err
	}
	defer s.Abort(initiator.ErrClosed)
	group, ok := s.TPG()
	if !ok {
		return 0, 0, errors.New("the target names no portal group")
	}
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		list := []byte{7: byte(group), 6: byte(group >> 8)} // one descriptor: this group is to be active/optimized
		c := &initiator.Command{CDB: scsi.CDB{0xa4, 0x0a, 9: byte(len(list))}, Attr: scsi.Simple, Out: [][]byte{list}}
		switch err := s.Do(ctx, c); {
		case ctx.Err() != nil:
			return followed, asked, nil
		case err != nil:
			return followed, asked, err
		}
		asked++
		if c.Status == scsi.Good {
			followed++
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return followed, asked, nil
		}
	}
}
