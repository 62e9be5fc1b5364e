// Package fault is a layer that makes requests fail on purpose: by script (the
// k-th write to this range ends with that class) or at random from a seed. It
// is a test tool; with no rule armed it passes everything through.
package fault

import (
	"errors"
	"math/rand/v2"
	"sync"

	"sango/internal/block"
	"sango/internal/block/layer"
)

// ErrInjected is the cause of every error that the layer makes up.
var ErrInjected = errors.New("injected fault")

// Ops is a set of operations, for Rule.
type Ops uint8

// The sets of one operation, and StatusCalls for Device.Status.
const (
	Read        Ops = 1 << block.OpRead
	Write       Ops = 1 << block.OpWrite
	Flush       Ops = 1 << block.OpFlush
	Discard     Ops = 1 << block.OpDiscard
	WriteZeroes Ops = 1 << block.OpWriteZeroes
	StatusCalls Ops = 1
	Changes         = Write | Discard | WriteZeroes
)

// Rule says which requests fail, and how.
type Rule struct {
	// Ops is the set of operations that the rule applies to; 0: all requests.
	Ops Ops
	// Off and Len, in bytes, are the range that a request must touch; Len 0:
	// any, also those without a range.
	Off, Len int64
	// Skip is how many requests that match pass before the rule fires for the
	// first time.
	Skip int
	// Times is how often the rule fires; 0: for ever.
	Times int
	// Probability, if not 0, is the chance that a request that matches fires.
	Probability float64
	// Class is the class of the error. WouldBlock applies to requests with
	// NoWait only: it forces the caller off its fast path.
	Class block.Class
	// Cause is what the error wraps; nil: ErrInjected.
	Cause error
	// After lets the device below do the request before it fails: the outcome
	// is an error, the effect is there.
	After bool
}

// Armed is a rule at work.
type Armed struct {
	rule  Rule
	dev   *Device
	seen  int
	fired int
}

// Fired returns how often the rule has fired.
func (a *Armed) Fired() int {
	a.dev.mu.Lock()
	defer a.dev.mu.Unlock()
	return a.fired
}

// Disarm takes the rule away.
func (a *Armed) Disarm() {
	d := a.dev
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, b := range d.rules {
		if a == b {
			d.rules = append(d.rules[:i:i], d.rules[i+1:]...)
			return
		}
	}
}

// Device is the layer. It implements block.Device.
type Device struct {
	dev  block.Device
	pool *layer.Pool

	mu    sync.Mutex // guards all below and the counts of the rules
	rng   *rand.Rand
	rules []*Armed
}

// New returns a layer over d; seed drives the rules with a probability.
func New(d block.Device, seed uint64, rules ...Rule) *Device {
	f := &Device{dev: d, rng: rand.New(rand.NewPCG(seed, seed))}
	f.pool = layer.NewPool(after)
	for _, r := range rules {
		f.Arm(r)
	}
	return f
}

// Arm adds a rule; the first one that fires decides.
func (d *Device) Arm(r Rule) *Armed {
	a := &Armed{rule: r, dev: d}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rules = append(d.rules, a)
	return a
}

// Info implements block.Device.
func (d *Device) Info() block.Info { return d.dev.Info() }

// Submit implements block.Device.
func (d *Device) Submit(r *block.Request) {
	rule := d.match(1<<r.Op, r.Off, r.Len, r.Flags)
	switch {
	case rule == nil:
		d.dev.Submit(r)
	case rule.After:
		c := d.pool.Get(r)
		c.Tag = rule
		d.dev.Submit(&c.Inner)
	default:
		r.End(rule.err(r.Op, r.Off, r.Len))
	}
}

// after turns the outcome of a request that was executed into its error.
func after(c *layer.Call) {
	r := c.Outer
	err := c.Inner.Err
	if err == nil {
		err = c.Tag.(*Rule).err(r.Op, r.Off, r.Len)
	}
	c.Finish(err)
}

// Status implements block.Device.
func (d *Device) Status(off, n int64, limit int) ([]block.Extent, error) {
	if rule := d.match(StatusCalls, off, n, 0); rule != nil {
		return nil, rule.err(0, off, n)
	}
	return d.dev.Status(off, n, limit)
}

// Close implements block.Device.
func (d *Device) Close() error { return d.dev.Close() }

func (r *Rule) err(op block.Op, off, n int64) error {
	if r.Class == block.WouldBlock {
		return block.ErrWouldBlock
	}
	cause := r.Cause
	if cause == nil {
		cause = ErrInjected
	}
	return &block.Error{Class: r.Class, Op: op, Off: off, Len: n, Err: cause}
}

// match returns the rule that fires for such a request, or nil.
func (d *Device) match(op Ops, off, n int64, flags block.Flags) *Rule {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, a := range d.rules {
		r := &a.rule
		switch {
		case r.Ops == 0 && op == StatusCalls, r.Ops != 0 && r.Ops&op == 0:
			continue
		case r.Len > 0 && (n == 0 || off >= r.Off+r.Len || off+n <= r.Off):
			continue
		case r.Class == block.WouldBlock && (flags&block.NoWait == 0 || r.After):
			continue
		}
		a.seen++
		if a.seen <= r.Skip || r.Times > 0 && a.fired >= r.Times {
			continue
		}
		if r.Probability > 0 && d.rng.Float64() >= r.Probability {
			continue
		}
		a.fired++
		return r
	}
	return nil
}
