package initiator

import (
	"testing"
	"testing/synctest"

	"sango/internal/iscsi"
	"sango/internal/scsi"
)

// Do keeps nothing of one bubble of synctest for the next.
func TestDoInBubbles(t *testing.T) {
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			s, p := paired(t, iscsi.DefaultLimits())
			go func() {
				c, _ := p.command()
				p.good(c.ITT)
			}()
			if err := s.Do(t.Context(), &Command{Attr: scsi.Simple}); err != nil {
				t.Error(err)
			}
		})
	}
}
