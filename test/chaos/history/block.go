package history

import (
	"fmt"

	"github.com/anishathalye/porcupine"
)

// blockOp is what an op does to one block.
type blockOp struct {
	op *Op
	i  int // of the block in the op
}

// blockState is a block while its history is put in order.
type blockState struct {
	val Value
	marks
}

// marks are what ends the hope of commands that were not answered: the latest
// time at which something was sent that has taken effect.
type marks struct {
	change int64 // something that changes
	any    int64
}

// over reports whether the unanswered o has no effect any more.
func (m *marks) over(o *Op) bool {
	if o.Strict {
		return m.any > o.Bound
	}
	return m.change > o.Bound
}

// note takes down that o has taken effect.
func (m *marks) note(o *Op, change bool) {
	m.any = max(m.any, o.Call)
	if change {
		m.change = max(m.change, o.Call)
	}
}

// blockModel is a block as a register that is zeros at first.
var blockModel = porcupine.Model{
	Init: func() any { return blockState{} },
	Step: func(state, input, _ any) (bool, any) {
		s, in := state.(blockState), input.(blockOp)
		ok := s.step(in.op, in.i)
		return ok, s
	},
	DescribeOperation: func(input, _ any) string {
		in := input.(blockOp)
		return in.op.line(in.i)
	},
	DescribeState: func(state any) string { return state.(blockState).val.String() },
}

// step does o, and reports whether it can have been answered so. An op that was
// not answered never returned: that it had no effect is the order in which it
// comes last.
func (s *blockState) step(o *Op, i int) bool {
	if o.Outcome == Unknown {
		if s.over(o) || o.Kind == Compare && s.val != o.Expect[i] {
			return true
		}
		s.val = o.Vals[i]
		s.note(o, true)
		return true
	}
	switch o.Kind {
	case Read:
		s.note(o, false)
		return s.val == o.Vals[i]
	case Write:
		s.val = o.Vals[i]
		s.note(o, true)
		return true
	case Compare:
		if o.Outcome == Miscompare {
			s.note(o, false)
			return (s.val == o.Expect[i]) == (i < o.At)
		}
		ok := s.val == o.Expect[i]
		s.val = o.Vals[i]
		s.note(o, true)
		return ok
	}
	return true
}

// ofBlock reports whether o tells something of its i-th block.
func (o *Op) ofBlock(i int) bool {
	switch o.Kind {
	case Read:
		return o.Outcome == Good
	case Write:
		return o.Outcome == Good || o.Outcome == Unknown
	case Compare:
		return o.Outcome == Good || o.Outcome == Unknown || o.Outcome == Miscompare && i <= o.At
	}
	return false
}

// returned is when o was answered, for porcupine.
func (o *Op) returned() int64 {
	if o.Outcome == Unknown {
		return Never
	}
	return o.Return
}

// Block names a block of a volume.
type Block struct {
	Volume string
	LBA    int64
}

// String implements fmt.Stringer.
func (b Block) String() string { return fmt.Sprintf("block %d of volume %s", b.LBA, b.Volume) }
