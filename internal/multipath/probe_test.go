package multipath

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"sango/internal/initiator"
	"sango/internal/san"
	"sango/internal/scsi"
)

// babbler is a session with a target that answers anything with noise; now and
// then with something that looks right at its beginning.
type babbler struct{ rng *rand.Rand }

func (b *babbler) Submit(*initiator.Command)          {}
func (b *babbler) Drop(error)                         {}
func (b *babbler) Instance() (i san.Instance, n bool) { return i, false }
func (b *babbler) TPG() (san.TPG, bool)               { return 0, false }

func (b *babbler) Do(_ context.Context, c *initiator.Command) error {
	c.Status, c.Sense, c.Got = scsi.Good, nil, 0
	if b.rng.IntN(12) == 0 {
		c.Status = []scsi.Status{scsi.CheckConditionStatus, scsi.ReservationConflict, 0x77}[b.rng.IntN(3)]
		s := scsi.Sense{Key: scsi.SenseKey(b.rng.IntN(16)), ASC: []scsi.ASC{scsi.ASCPortStandby, scsi.ASCInvalidOpCode, scsi.ASC(b.rng.Uint32())}[b.rng.IntN(3)]}
		c.Sense = s.Append(nil, b.rng.IntN(2) == 0)
		return nil
	}
	if len(c.In) == 0 {
		return nil
	}
	d := c.In[0]
	c.Got = b.rng.IntN(len(d) + 1)
	for i := range d[:c.Got] {
		r := b.rng.Uint32()
		d[i] = byte(r) & byte(r>>8) // more zeros than ones
	}
	if c.Got > 4 && b.rng.IntN(4) > 0 {
		switch scsi.Op(&c.CDB) {
		case scsi.OpInquiry:
			d[0], d[1], d[2] = 0, c.CDB[2], byte(b.rng.IntN(3))
			if c.Got > 16 && c.CDB[1] == 0 {
				copy(d[8:], "SANGO   ")
			}
		case scsi.OpServiceActionIn16:
			if c.Got > 11 {
				clear(d[:4])
				copy(d[8:], []byte{0, 0, byte(b.rng.IntN(2) * 2), 0})
			}
		case scsi.OpMaintenanceIn:
			d[0], d[1] = 0, d[1]&^7|3
		}
	}
	return nil
}

// No answer of a target makes a probe do anything but fail, or come to limits
// that a request can be cut by.
func TestProbeBabble(t *testing.T) {
	ended := map[bool]int{}
	for seed := range uint64(20000) {
		rng := rand.New(rand.NewPCG(seed, 1))
		f, err := ask(t.Context(), &asker{s: &babbler{rng}})
		ended[err == nil && f.shape != nil]++
		if err != nil || f.shape == nil {
			continue
		}
		s := f.shape
		i, bs := s.info(), int64(s.block)
		switch {
		case i.Size <= 0 || i.Size%bs != 0 || i.PhysicalBlock < i.BlockSize,
			s.maxTransfer < bs || s.maxTransfer%bs != 0, s.maxSame < bs || s.maxSame%bs != 0,
			s.granule < bs || s.granule%bs != 0, s.alignment < 0 || s.alignment >= s.granule,
			s.discard == byUnmap && (s.maxUnmap < bs || s.maxUnmap%bs != 0), s.maxAtomic%bs != 0:
			t.Fatalf("seed %d: %+v", seed, s)
		}
	}
	if ended[true] == 0 {
		t.Error("no probe got through: the noise is too loud")
	}
}

func TestSameVolume(t *testing.T) {
	make := func(serial string, ids ...scsi.Designator) *facts {
		f := &facts{id: Identity{Serial: serial}}
		f.takeDesignators(ids)
		return f
	}
	naa := scsi.NAADesignator
	t10 := func(s string) scsi.Designator { return scsi.T10Designator("V", s) }
	for _, c := range []struct {
		name string
		a, b *facts
		same bool
	}{
		{"equal", make("1", naa(1), t10("a")), make("1", t10("a"), naa(1)), true},
		{"one designator more", make("1", naa(1)), make("1", t10("a"), naa(1)), true},
		{"another NAA", make("1", naa(1), t10("a")), make("1", naa(2), t10("a")), false},
		{"another serial number", make("1", naa(1)), make("2", naa(1)), false},
		{"nothing in common", make("1", naa(1)), make("1", t10("a")), false},
		{"serial number only", make("1"), make("1"), true},
		{"nothing at all", make(""), make(""), false},
	} {
		if err := c.a.same(c.b); (err == nil) != c.same || err != nil && !errors.Is(err, errIdentity) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
