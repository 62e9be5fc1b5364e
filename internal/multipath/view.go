package multipath

import (
	"fmt"
	"slices"
	"strconv"
	"time"
)

// View is what Device.View tells: a snapshot for people and programs. Times
// are wall clock, durations in nanoseconds in JSON.
type View struct {
	Target     string      `json:"target"`
	LUN        uint16      `json:"lun"`
	Identity   Identity    `json:"identity"`
	Size       int64       `json:"size"` // bytes
	BlockSize  int         `json:"block_size"`
	ReadOnly   bool        `json:"read_only"`
	Policy     Policy      `json:"policy"`
	Group      GroupName   `json:"group"`                  // of the instances: what a restarted process has to go on with
	Run        uint64      `json:"run"`                    // of the instances; small where Config counts it
	Fence      bool        `json:"fence"`                  // the target serves FENCE: unanswered writes don't wait for the quiesce time
	Serving    bool        `json:"serving"`                // a path serves
	Requests   int         `json:"requests"`               // commands under way or waiting
	Waiting    int         `json:"waiting"`                // of these, for a path, a pause or a fence
	Unfenced   int         `json:"unfenced"`               // lost sessions that may still write
	NoPath     *time.Time  `json:"no_path,omitempty"`      // since when no path serves; absent while one does
	Groups     []GroupView `json:"groups"`                 // target port groups by id; none where the target has no ALUA
	Paths      []PathView  `json:"paths"`                  // in the order in which they were found
	Counters   Counters    `json:"counters"`               // since Open
	LastFence  *time.Time  `json:"last_fence,omitempty"`   // the end of the last fence that succeeded
	LastResize *time.Time  `json:"last_resized,omitempty"` // the last change of size
}

// GroupName is Config.Group. As text it has 16 hexadecimal digits: many programs
// read the numbers of JSON with 53 bits.
type GroupName uint64

// MarshalText implements encoding.TextMarshaler.
func (g GroupName) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%016x", uint64(g)), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (g *GroupName) UnmarshalText(b []byte) error {
	n, err := strconv.ParseUint(string(b), 16, 64)
	if err != nil || len(b) != 16 {
		return fmt.Errorf("group %.40q is not 16 hexadecimal digits", b)
	}
	*g = GroupName(n)
	return nil
}

// GroupView is a target port group as the paths of it reported it last.
type GroupView struct {
	ID        uint16 `json:"id"`
	State     string `json:"state"` // in the words of SPC-4: active/optimized …
	Preferred bool   `json:"preferred"`
	Active    bool   `json:"active"` // requests go to paths of it now
}

// PathView is one path.
type PathView struct {
	Portal   string        `json:"portal"`
	Target   string        `json:"target"`
	Tag      uint16        `json:"tag"`      // target portal group tag; 0 where it is not known
	RelPort  uint16        `json:"rel_port"` // relative target port id; 0 where it is not known
	Group    uint16        `json:"group"`    // target port group
	ALUA     string        `json:"alua"`     // its state; empty where the target has no ALUA
	State    PathState     `json:"state"`
	Usable   bool          `json:"usable"` // requests may go there now
	Active   bool          `json:"active"` // and do
	InFlight int           `json:"in_flight"`
	Depth    int           `json:"depth"`   // the most that may be in flight at present
	Latency  time.Duration `json:"latency"` // smoothed
	Commands uint64        `json:"commands"`
	Bytes    uint64        `json:"bytes"`  // of the commands sent
	Errors   uint64        `json:"errors"` // commands that failed or were lost
	Losses   uint64        `json:"losses"` // sessions lost
	Since    time.Time     `json:"since"`  // of State
	Error    string        `json:"error,omitempty"`
	ErrorAt  *time.Time    `json:"error_at,omitempty"`
	Instance string        `json:"instance,omitempty"` // of the session
	Fence    bool          `json:"fence"`              // the session can be fenced
}

// Counters count since Open.
type Counters struct {
	Reads       uint64 `json:"reads"`  // requests
	Writes      uint64 `json:"writes"` // requests that change something
	Commands    uint64 `json:"commands"`
	Retries     uint64 `json:"retries"`       // commands sent again
	Losses      uint64 `json:"losses"`        // sessions lost
	Fences      uint64 `json:"fences"`        // FENCE commands that succeeded
	Quiesced    uint64 `json:"quiesced"`      // lost sessions that were waited out
	Refused     uint64 `json:"refused"`       // commands that ended since there was no path
	Attentions  uint64 `json:"attentions"`    // unit attentions taken
	PathsRefuse uint64 `json:"paths_refused"` // paths that lead to another volume
	Reboots     uint64 `json:"reboots"`       // of the target's machine that may have lost writes: the next flush failed
}

// Identity is what makes a volume the same one through every path.
type Identity struct {
	Vendor      string   `json:"vendor"`
	Product     string   `json:"product"`
	Serial      string   `json:"serial"`      // VPD page 80h
	Designators []string `json:"designators"` // of the logical unit, VPD page 83h: "naa.…", "eui.…", "t10.…", "name.…"
}

// Limits is what one request may be at most to travel as one command. Longer
// ones are cut by the device; a scheduler above does it better.
type Limits struct {
	MaxTransfer    int64 // bytes of a read or write
	OptimalIO      int64 // bytes; 0: not told
	MaxDiscard     int64 // bytes; 0: no discard
	DiscardAlign   int64 // bytes: granularity
	MaxWriteZeroes int64 // bytes
	MaxAtomic      int64 // bytes; 0: none
}

// View returns a snapshot.
func (d *Device) View() View {
	e := d.engineView()
	first := d.cfg.URLs[0]
	v := View{
		Target: first.Target, LUN: uint16(first.LUN), Identity: d.Identity(), Policy: d.cfg.Policy, Group: GroupName(d.cfg.Group), Run: d.cfg.Run,
		Serving: e.serving, Requests: e.requests, Waiting: e.waiting, Unfenced: e.unfenced, Groups: []GroupView{}, Paths: []PathView{},
		Counters: Counters{
			Reads: d.stat.reads.Load(), Writes: d.stat.writes.Load(), Commands: e.submitted, Retries: e.retries, Fences: e.fences,
			Quiesced: e.quiesced, Refused: e.refused, Attentions: d.stat.attentions.Load(), Reboots: e.reboots,
		},
		LastFence: moment(d.fencedAt.Load()), LastResize: moment(d.resized.Load()),
	}
	if s := d.shape.Load(); s != nil {
		v.Size, v.BlockSize, v.ReadOnly = s.size, s.block, s.readOnly
	}
	if e.noPath {
		t := d.began.Add(e.since)
		v.NoPath = &t
	}
	for i := range e.paths {
		q := &e.paths[i]
		v.Counters.Losses += q.losses
		if q.state == PathWrongIdentity {
			v.Counters.PathsRefuse++
		}
		v.Fence = v.Fence || q.fence
		if p := d.path(q.id); p != nil {
			v.Paths = append(v.Paths, p.view(q))
		}
		if q.alua {
			v.addGroup(q)
		}
	}
	slices.SortFunc(v.Groups, func(a, b GroupView) int { return int(a.ID) - int(b.ID) })
	return v
}

// addGroup adds the port group of q, of which other paths may have told.
func (v *View) addGroup(q *pathView) {
	for i := range v.Groups {
		if g := &v.Groups[i]; g.ID == q.group {
			g.Active = g.Active || q.chosen
			return
		}
	}
	v.Groups = append(v.Groups, GroupView{ID: q.group, State: q.access.String(), Preferred: q.prefer, Active: q.chosen})
}

// view is what is shown of p.
func (p *portal) view(q *pathView) PathView {
	v := PathView{
		Portal: p.url.Host, Target: p.url.Target, Group: q.group, State: q.state, Usable: q.usable, Active: q.chosen,
		InFlight: q.inFlight, Depth: q.depth, Latency: q.latency, Commands: p.commands.Load(), Bytes: p.bytes.Load(),
		Errors: q.errors, Losses: q.losses, Since: p.d.began.Add(q.since), Fence: q.fence,
	}
	if q.alua {
		v.ALUA = q.access.String()
	}
	if q.lastErr != nil {
		t := p.d.began.Add(q.lastAt)
		v.Error, v.ErrorAt = q.lastErr.Error(), &t
	}
	if f := p.seen.Load(); f != nil {
		v.RelPort = f.relPort
	}
	if l := p.live.Load(); l != nil {
		tag, _ := l.TPG()
		i, _ := l.Instance()
		v.Tag, v.Instance = uint16(tag), i.String()
	}
	return v
}

// moment is a wall clock in nanoseconds, nil for 0.
func moment(ns int64) *time.Time {
	if ns == 0 {
		return nil
	}
	t := time.Unix(0, ns)
	return &t
}

// Watch returns a channel that gets a token when View has changed in more than
// counters; tokens don't add up. There is one channel, for one watcher.
func (d *Device) Watch() <-chan struct{} { return d.watch }

// Identity returns what names the volume.
func (d *Device) Identity() Identity {
	if f := d.known.Load(); f != nil {
		i := f.id
		i.Designators = slices.Clone(i.Designators)
		return i
	}
	return Identity{}
}

// Limits returns the limits of one command.
func (d *Device) Limits() Limits {
	if s := d.shape.Load(); s != nil {
		return s.limits()
	}
	return Limits{}
}
