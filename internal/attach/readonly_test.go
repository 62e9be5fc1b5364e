package attach

import (
	"context"
	"testing"

	"sango/internal/block"
)

// protected is a volume that takes no writes.
type protected struct{ block.Device }

func (p protected) Info() block.Info {
	i := p.Device.Info()
	i.Caps.ReadOnly = true
	return i
}

// The status says that nothing can be written, also where nobody asked for it.
func TestStatusOfReadOnlyVolume(t *testing.T) {
	d := testDir(t)
	o := quiet(d, "volume:v")
	o.OpenVolume = func(context.Context, string, bool) (block.Device, error) {
		dev, err := newMemory(Source{Size: 1 << 20, BlockSize: 512})
		return protected{dev}, err
	}
	r := begin(t, o.with(&disk{id: 7}, nil))
	<-r.ready
	if s, err := d.Status(t.Context(), "v"); err != nil || !s.ReadOnly {
		t.Errorf("status %+v, %v", s, err)
	}
	r.cancel()
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
}
