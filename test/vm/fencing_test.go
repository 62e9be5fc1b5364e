package main

import (
	"context"
	"testing"
	"testing/synctest"
)

func TestTwoGuestsMeet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m meeting
		for range 2 {
			first := make(chan error, 1)
			go func() { first <- m.meet(t.Context(), "here") }()
			synctest.Wait()
			if len(first) > 0 {
				t.Fatal("the first one did not wait")
			}
			if err := m.meet(t.Context(), "there"); err == nil {
				t.Error("they met at two places")
			}
			if err := m.meet(t.Context(), "here"); err != nil {
				t.Error(err)
			}
			if err := <-first; err != nil {
				t.Error(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := m.meet(ctx, "here"); err == nil {
			t.Error("one met nobody")
		}
	})
}
