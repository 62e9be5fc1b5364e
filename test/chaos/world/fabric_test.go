package world

import (
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// sink is a card that keeps what comes, with the time.
type sink struct {
	began time.Time
	got   []string
}

func (s *sink) Write(p []byte) (int, error) {
	s.got = append(s.got, string(p[20:])+"@"+time.Since(s.began).String())
	return len(p), nil
}

func TestFabric(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
		f, at := NewFabric(), &sink{began: time.Now()}
		f.ports[b] = at
		s := newSender()
		send := func(text string) {
			p := append(make([]byte, 20), text...)
			p[0] = 0x45
			copy(p[12:], a.AsSlice())
			copy(p[16:], b.AsSlice())
			f.forward(s, p)
		}
		addrs := func(x ...netip.Addr) []netip.Addr { return x }
		send("1")
		f.Set(addrs(a), addrs(b), Lane{Cut: true})
		send("lost")
		f.Set(addrs(b), addrs(a), Lane{Cut: true})
		f.Set(addrs(a), addrs(b), Lane{Delay: time.Second})
		send("2")
		<-time.After(100 * time.Millisecond)
		send("3")
		f.Heal()
		send("4") // must not overtake
		<-time.After(2 * time.Second)
		send("5")
		synctest.Wait()
		s.stop()
		want := []string{"1@0s", "2@1s", "3@1.1s", "4@1.1s", "5@2.1s"}
		if !slices.Equal(at.got, want) {
			t.Errorf("got %v, want %v", at.got, want)
		}
	})
}
