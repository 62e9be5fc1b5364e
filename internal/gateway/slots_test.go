package gateway

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"sango/internal/meta"
	"sango/internal/pause"
	"sango/internal/san"
)

// remembered counts what gateways keep in memory for volumes.
func remembered(n *Node) (slots, owners, units int) {
	for _, g := range n.gateways() {
		g.member.mu.Lock()
		slots += len(g.member.slots)
		owners += len(g.member.owners)
		g.member.mu.Unlock()
		g.view.mu.RLock()
		units += len(g.view.units)
		g.view.mu.RUnlock()
	}
	return slots, owners, units
}

// Of volumes that were deleted no gateway keeps anything.
func TestDeletedVolumesAreForgotten(t *testing.T) {
	n := startGang(t, subdir(t, "d"), 3)
	t.Cleanup(func() { stop(t, n) })
	const volumes = 24
	goroutines := 0
	for round := range 2 {
		for i := range volumes {
			v := &san.Volume{Name: fmt.Sprint("v", i), Size: 1 << 20, Driver: san.DriverLayered, BlockSize: 512, PhysicalBlock: 4096}
			if err := n.Volumes().Create(t.Context(), v); err != nil {
				t.Fatal(err)
			}
			if i%2 == 0 {
				mapVolume(t, n, v)
			}
		}
		allServed(t, n)
		if slots, owners, units := remembered(n); slots < 3*volumes/2 || owners < 3*volumes/2 || units != 3*volumes/2 {
			t.Fatalf("%d slots, %d owners, %d units", slots, owners, units)
		}
		for i := range volumes {
			if err := n.meta.Update(t.Context(), func(tx *meta.Tx) error {
				v, err := tx.VolumeNamed(fmt.Sprint("v", i))
				if err != nil {
					return err
				}
				uses, err := tx.Mappings(v.ID)
				for _, u := range uses {
					if err := tx.Unmap(u.Target, u.LUN); err != nil {
						return err
					}
				}
				return err
			}); err != nil {
				t.Fatal(err)
			}
			if err := n.Sync(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
			if err := n.Volumes().Delete(t.Context(), fmt.Sprint("v", i)); err != nil {
				t.Fatal(err)
			}
		}
		for end := time.Now().Add(20 * time.Second); ; pause.For(t.Context(), 10*time.Millisecond) {
			slots, owners, units := remembered(n)
			now := runtime.NumGoroutine()
			if slots == 0 && owners == 0 && units == 0 && (round == 0 || now < goroutines+volumes) {
				goroutines = now
				break
			}
			if time.Now().After(end) {
				t.Fatalf("after round %d: %d slots, %d owners, %d units, %d goroutines after %d", round, slots, owners, units, now, goroutines)
			}
		}
	}
}

// A volume that is being opened is not gone.
func TestAnOpenUnderWayIsWaitedFor(t *testing.T) {
	n := startGang(t, subdir(t, "d"), 2)
	t.Cleanup(func() { stop(t, n) })
	v := mappedBy(t, n, "a", 1<<20, san.DriverLayered)
	allServed(t, n)
	m := n.gateways()[1-ownerOf(t, n, v.ID)].member
	ctx, cancel := context.WithCancel(t.Context())
	opened := make(chan error, 1)
	go func() { opened <- m.Open(ctx, v.ID, 1000) }() // waits for the owner
	for {
		soon, over := context.WithTimeout(t.Context(), 50*time.Millisecond)
		gone := m.gone(soon, v.ID)
		over()
		if !gone {
			break
		}
		select {
		case err := <-opened:
			t.Fatalf("it did not wait: %v", err)
		default:
		}
	}
	cancel()
	if err := <-opened; err == nil {
		t.Fatal("two owners")
	}
	if !m.gone(t.Context(), v.ID) {
		t.Error("not gone")
	}
}
