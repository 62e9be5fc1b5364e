package initiator

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"sango/internal/iscsi"
	"sango/internal/scsi"
	"sango/internal/target"
)

// Commands that are aborted at random moments, in the middle of their data as
// well, end aborted or answered, and the session goes on.
func TestAbortsAtRandomMoments(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for _, r2t := range []bool{false, true} {
		s := start(t, func(c *target.Config, _ *directory) { c.MaxRecvDataSegment = 4096 })
		o := iscsi.DefaultOffers()
		o.InitialR2T, o.ImmediateData, o.MaxRecv = r2t, !r2t, 4096
		o.MaxBurstLength, o.FirstBurstLength = 32<<10, 32<<10
		x := s.login(func(c *Config) { c.Offers = &o })
		var all sync.WaitGroup
		for k := range 8 {
			all.Go(func() {
				r := rand.New(rand.NewPCG(seed, uint64(k)))
				data := [][]byte{make([]byte, 256<<10)}
				for i := range 30 {
					c := &Command{Attr: scsi.Simple, CDB: writeCDB(k*1024, 512), Out: data}
					if i%3 == 0 {
						c = &Command{Attr: scsi.Simple, CDB: readCDB(k*1024, 512), In: data}
					}
					ctx, cancel := context.WithTimeout(longTime(t), time.Duration(r.IntN(3000))*time.Microsecond)
					err := x.Do(ctx, c)
					cancel()
					if err != nil && !errors.Is(err, ErrAborted) || err == nil && c.Status != scsi.Good {
						t.Errorf("%v, %v, sense %x", err, c.Status, c.Sense)
						return
					}
				}
			})
		}
		all.Wait()
		if err := x.Ping(longTime(t)); err != nil {
			t.Error(err)
		}
	}
}
