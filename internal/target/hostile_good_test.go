package target

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"sango/internal/iscsi"
	"sango/internal/iscsi/iscsitest"
)

// goodRegion is what the good client uses of LUN 0, in blocks.
const goodRegion = 2048

// goodClient writes and reads LUN 0 in a goroutine, and compares everything
// with a model of it.
type goodClient struct {
	t      *testing.T
	rounds chan struct{} // a token for each round, while somebody listens
	quit   chan struct{}
	ended  chan struct{} // closed after err was set
	err    error
}

func newGoodClient(t *testing.T, s *setup, seed uint64) *goodClient {
	t.Helper()
	c, err := iscsitest.Dial(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	l := iscsitest.Login{Initiator: hostName, Target: targetName, ISID: isid(1), Keys: iscsi.Keys{
		{Key: iscsi.KeyHeaderDigest, Value: iscsi.DigestCRC32C},
		{Key: iscsi.KeyDataDigest, Value: iscsi.DigestCRC32C},
		{Key: iscsi.KeyInitialR2T, Value: iscsi.ValueNo},
		{Key: iscsi.KeyFirstBurst, Value: "16384"},
		{Key: iscsi.KeyMaxBurst, Value: "32768"},
		{Key: iscsi.KeyMaxRecvSegment, Value: "16384"},
	}}
	if len(s.dir.accounts) > 0 {
		l.Account = &s.dir.accounts[0]
	}
	if err := c.Login(l); err != nil {
		t.Fatal(err)
	}
	g := &goodClient{t: t, rounds: make(chan struct{}), quit: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(g.ended)
		defer c.Close()
		g.err = g.run(c, rand.New(rand.NewPCG(seed, 1)))
	}()
	return g
}

func (g *goodClient) run(c *iscsitest.Conn, rnd *rand.Rand) error {
	if r, err := c.Ready(iscsitest.LUN0); err != nil || r.Good() != nil {
		return fmt.Errorf("not ready: %w, %w", r.Good(), err)
	}
	model := make([]byte, goodRegion*512)
	for n := 0; ; n++ {
		select {
		case <-g.quit:
			return c.Logout()
		case g.rounds <- struct{}{}:
		default:
		}
		at := rnd.IntN(goodRegion)
		blocks := 1 + rnd.IntN(min(256, goodRegion-at))
		b := model[at*512:][:blocks*512]
		for i := range b {
			b[i] = byte(n + i)
		}
		if err := c.WriteBlocks(iscsitest.LUN0, uint64(at), b, 512); err != nil {
			return fmt.Errorf("round %d: write of %d blocks at %d: %w", n, blocks, at, err)
		}
		if n%16 == 0 {
			at, blocks = 0, goodRegion
		}
		got, err := c.Read(iscsitest.LUN0, uint64(at), uint32(blocks), 512)
		if err != nil {
			return fmt.Errorf("round %d: read of %d blocks at %d: %w", n, blocks, at, err)
		}
		if !bytes.Equal(got, model[at*512:][:blocks*512]) {
			return fmt.Errorf("round %d: %d blocks at %d are not what was written", n, blocks, at)
		}
		if len(c.Events) > 0 {
			return fmt.Errorf("round %d: a %v came out of nothing", n, c.Events[0].Opcode())
		}
	}
}

// progress waits until the good client has gone on for a few whole rounds.
func (g *goodClient) progress() {
	g.t.Helper()
	for range 4 {
		select {
		case <-g.rounds:
		case <-g.ended:
			g.t.Fatalf("the good client: %v", g.err)
		}
	}
}

// stop ends the good client and tells what it met.
func (g *goodClient) stop() {
	close(g.quit)
	<-g.ended
	if g.err != nil {
		g.t.Errorf("the good client: %v", g.err)
	}
}
