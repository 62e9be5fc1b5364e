package history

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Never is a time after all others.
const Never = math.MaxInt64

// Kind is what a command does.
type Kind string

// The kinds.
const (
	Read    Kind = "read"
	Write   Kind = "write"   // also WRITE SAME, UNMAP, discards: Vals says what is there afterwards
	Compare Kind = "compare" // COMPARE AND WRITE
	PROut   Kind = "pr-out"
	PRKeys  Kind = "pr-keys" // READ KEYS
	PRHeld  Kind = "pr-held" // READ RESERVATION
	Reserve Kind = "reserve6"
	Release Kind = "release6"
	Lost    Kind = "lost" // the nexus ended: what RESERVE(6) held is free
)

// Outcome is how a transmission ended.
type Outcome string

// The outcomes. Whatever is neither Good nor Unknown had no effect.
const (
	Good       Outcome = "good"
	Unknown    Outcome = "unknown"    // not answered, or with an error that leaves it open
	Refused    Outcome = "refused"    // certainly not executed
	Conflict   Outcome = "conflict"   // RESERVATION CONFLICT
	Miscompare Outcome = "miscompare" // of COMPARE AND WRITE
)

// Op is one transmission of a command: one that is sent again is another one.
// Times are nanoseconds on the monotonic clock of the run.
type Op struct {
	ID     int64  `json:"id"`
	Host   string `json:"host"`
	Nexus  int    `json:"nexus,omitempty"` // in the reservation machine, from 1 on
	Path   string `json:"path,omitempty"`  // portal
	Kind   Kind   `json:"kind"`
	Name   string `json:"name,omitempty"` // of the command, for people
	Volume string `json:"volume"`
	LBA    int64  `json:"lba"`
	// Vals are what was read, or is written, block by block.
	Vals []Value `json:"vals,omitempty"`
	// Expect is what COMPARE AND WRITE wants to find; At the first block where
	// it found something else.
	Expect []Value `json:"expect,omitempty"`
	At     int     `json:"at,omitempty"`
	PR     *PR     `json:"pr,omitempty"`

	Call    int64   `json:"call"`
	Return  int64   `json:"return"` // Never: no answer
	Outcome Outcome `json:"outcome"`
	// Bound, of an Unknown command: it has no effect any more once a change that
	// was sent after this time has taken effect; where Strict, once any command
	// has.
	Bound  int64  `json:"bound,omitempty"`
	Strict bool   `json:"strict,omitempty"`
	Note   string `json:"note,omitempty"`
}

// PR is what a command of the reservation machine says, and what it was told.
type PR struct {
	Action string   `json:"action,omitempty"` // of PERSISTENT RESERVE OUT
	Key    uint64   `json:"key,omitempty"`    // RESERVATION KEY
	Other  uint64   `json:"other,omitempty"`  // SERVICE ACTION RESERVATION KEY
	Type   uint8    `json:"type,omitempty"`
	Keys   []uint64 `json:"keys,omitempty"`   // READ KEYS told, in ascending order
	Holder uint64   `json:"holder,omitempty"` // READ RESERVATION told, with Type; Type 0: none
}

// Fault is what was done to the world, and when.
type Fault struct {
	Start int64  `json:"start"`
	End   int64  `json:"end"` // Never: it lasted to the end
	What  string `json:"what"`
}

// clock formats a time of the run.
func clock(t int64) string {
	if t == Never {
		return "never"
	}
	return fmt.Sprintf("%.6f", time.Duration(t).Seconds())
}

// String tells the op as a line of a story.
func (o *Op) String() string { return o.line(-1) }

// line is String for the block at index i of the op, or all of it.
func (o *Op) line(i int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s – %s  #%d %s", clock(o.Call), clock(o.Return), o.ID, o.Host)
	if o.Path != "" {
		fmt.Fprintf(&b, " via %s", o.Path)
	}
	name := o.Name
	if name == "" {
		name = string(o.Kind)
	}
	fmt.Fprintf(&b, "  %s", name)
	switch {
	case o.PR != nil:
		fmt.Fprintf(&b, " %s", o.PR)
	case i >= 0 && i < len(o.Vals):
		if i < len(o.Expect) {
			fmt.Fprintf(&b, " if %v", o.Expect[i])
		}
		if o.Kind == Read {
			fmt.Fprintf(&b, " found")
		}
		fmt.Fprintf(&b, " %v", o.Vals[i])
	case len(o.Vals) > 0:
		fmt.Fprintf(&b, " %d+%d", o.LBA, len(o.Vals))
	}
	fmt.Fprintf(&b, ": %s", o.Outcome)
	if o.Outcome == Unknown && o.Bound != 0 {
		word := "changes"
		if o.Strict {
			word = "commands"
		}
		fmt.Fprintf(&b, " (not after %s sent later than %s)", word, clock(o.Bound))
	}
	if o.Note != "" {
		fmt.Fprintf(&b, " [%s]", o.Note)
	}
	return b.String()
}

// String implements fmt.Stringer.
func (p *PR) String() string {
	var parts []string
	add := func(name string, v uint64) {
		if v != 0 {
			parts = append(parts, fmt.Sprintf("%s=%x", name, v))
		}
	}
	if p.Action != "" {
		parts = append(parts, p.Action)
	}
	add("key", p.Key)
	add("other", p.Other)
	add("type", uint64(p.Type))
	add("holder", p.Holder)
	if p.Keys != nil {
		parts = append(parts, fmt.Sprintf("keys=%x", p.Keys))
	}
	return strings.Join(parts, " ")
}
