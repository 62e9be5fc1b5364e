package main

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"time"
)

// topology says what there is.
type topology struct {
	gateways int
	portals  int // of each gateway
	etcds    int // of their own; 0: the metadata is in the gateways
	hosts    int // with Sango's own multipath
	plain    int // that behave as open-iscsi and dm-multipath do
	rivals   int // that fight over reservations
	// spare: one of the volumes is on a disk of its own, which comes after those of
	// the gateways.
	spare bool
}

// machines returns how many host machines there are: one for each host, and one
// for what the test itself asks.
func (t topology) machines() int { return t.hosts + t.plain + t.rivals + 1 }

// fault is one thing that is done to the world. A plan is data: the same seed
// and topology give the same one.
type fault struct {
	at   time.Duration // since the start
	last time.Duration // until it is undone
	kind string
	a, b int // what it is done to: see kinds
	// owner, if not empty, is the volume whose owner a is when it begins.
	owner string
	front bool // a is another gateway than that
	// current: b is the portal that host a uses when it begins, of those without
	// Sango's multipath.
	current bool
	way     int           // of a cut: 0 both ways, 1 from a to b alone, 2 back
	arg     time.Duration // of delays and slow disks
}

// kind is a kind of fault.
type kind struct {
	name   string
	weight int // 0: only in recipes
	// applies says how many a and b there are; none of one: the kind does not
	// apply to the topology. b is 1 where there is only a.
	applies func(t topology) (a, b int)
	// holds names what nobody else may use meanwhile.
	holds func(f *fault) []string
	least time.Duration
	most  time.Duration
	draw  func(f *fault, r *rand.Rand)
}

func onGateway(f *fault) []string { return []string{fmt.Sprint("gateway ", f.a)} }
func onDisk(f *fault) []string    { return []string{fmt.Sprint("disk ", f.a)} }
func onEtcd(f *fault) []string    { return []string{"etcd"} } // one at a time: the others are a majority

// everyGateway is for what is done to a gateway that is not known in advance.
func everyGateway(*fault) (list []string) {
	for i := range 16 {
		list = append(list, fmt.Sprint("gateway ", i))
	}
	return list
}

func pair(name string) func(f *fault) []string {
	return func(f *fault) []string { return []string{fmt.Sprintf("%s %d %d", name, min(f.a, f.b), max(f.a, f.b))} }
}

func link(name string) func(f *fault) []string {
	return func(f *fault) []string { return []string{fmt.Sprintf("%s %d %d", name, f.a, f.b)} }
}

func each(n func(t topology) int) func(t topology) (int, int) {
	return func(t topology) (int, int) { return n(t), 1 }
}

func anyWay(f *fault, r *rand.Rand) { f.way = r.IntN(3) }

// mostDelay bounds delays: hosts that know no fence rely on what gateways
// promise about time, and that counts from when a command comes.
const mostDelay = 300 * time.Millisecond

func someDelay(f *fault, r *rand.Rand) {
	f.way, f.arg = r.IntN(3), mostDelay/10+time.Duration(r.Int64N(int64(mostDelay*9/10)))
}

func gateways(t topology) int { return t.gateways }

// disks are those of the gateways, and where there are several the one that
// they share.
func disks(t topology) int {
	if t.gateways > 1 {
		return t.gateways + 1
	}
	return t.gateways
}

func etcds(t topology) int { return t.etcds }

// several is f for topologies with more than one gateway.
func several(f func(t topology) (int, int)) func(t topology) (int, int) {
	return func(t topology) (int, int) {
		if t.gateways < 2 {
			return 0, 0
		}
		return f(t)
	}
}

// hostLinks are the directions between machines of hosts and portals.
func hostLinks(t topology) (int, int) { return t.machines() - 1, t.gateways * t.portals }

func gatewayPairs(t topology) (int, int) { return t.gateways, t.gateways }

// kinds are all kinds of fault; those of clusters are drawn where there is one.
var kinds = []kind{
	{name: "kill-gateway", weight: 8, applies: each(gateways), holds: onGateway, least: 0, most: 5 * time.Second},
	{name: "stop-gateway", weight: 8, applies: each(gateways), holds: onGateway, least: time.Second, most: 40 * time.Second, draw: func(f *fault, r *rand.Rand) {
		if r.IntN(4) > 0 { // the long ones leave little time for anything else
			f.last = time.Second + f.last/5
		}
	}},
	{name: "restart-gateway", weight: 3, applies: each(gateways), holds: onGateway, least: 0, most: 3 * time.Second},
	{name: "cut-host-portal", weight: 10, applies: hostLinks, holds: link("host-portal"), least: 500 * time.Millisecond, most: 12 * time.Second, draw: anyWay},
	{name: "cut-host", weight: 3, applies: func(t topology) (int, int) { return t.machines() - 1, 1 }, holds: func(f *fault) []string { return []string{fmt.Sprint("host ", f.a)} }, least: 500 * time.Millisecond, most: 8 * time.Second, draw: anyWay},
	{name: "cut-portal", weight: 4, applies: func(t topology) (int, int) { return 1, t.gateways * t.portals }, holds: func(f *fault) []string { return []string{fmt.Sprint("portal ", f.b)} }, least: 500 * time.Millisecond, most: 12 * time.Second, draw: anyWay},
	{name: "delay-host-portal", weight: 6, applies: hostLinks, holds: link("host-portal"), least: time.Second, most: 15 * time.Second, draw: someDelay},
	{name: "slow-disk", weight: 4, applies: each(disks), holds: onDisk, least: time.Second, most: 10 * time.Second, draw: func(f *fault, r *rand.Rand) {
		f.arg = 20*time.Millisecond + time.Duration(r.Int64N(int64(400*time.Millisecond)))
	}},
	{name: "stuck-disk", weight: 4, applies: each(disks), holds: onDisk, least: time.Second, most: 12 * time.Second},
	{name: "full-disk", weight: 3, applies: each(disks), holds: onDisk, least: time.Second, most: 10 * time.Second},
	{name: "restart-host", weight: 3, applies: func(t topology) (int, int) { return t.hosts, 1 }, holds: func(f *fault) []string { return []string{fmt.Sprint("multipath ", f.a)} }, least: 0, most: 2 * time.Second},

	{name: "kill-etcd", weight: 4, applies: each(etcds), holds: onEtcd, least: 0, most: 8 * time.Second},
	{name: "stop-etcd", weight: 3, applies: each(etcds), holds: onEtcd, least: time.Second, most: 15 * time.Second},
	{name: "slow-etcd-disk", weight: 2, applies: each(etcds), holds: onEtcd, least: time.Second, most: 10 * time.Second, draw: func(f *fault, r *rand.Rand) {
		f.arg = 20*time.Millisecond + time.Duration(r.Int64N(int64(200*time.Millisecond)))
	}},
	{name: "restart-etcds", weight: 1, applies: func(t topology) (int, int) { return min(t.etcds, 1), 1 }, holds: onEtcd, least: 0, most: 5 * time.Second},
	{name: "kill-everything", weight: 1, applies: func(t topology) (int, int) { return min(t.gateways+t.etcds-1, 1), 1 }, holds: func(f *fault) []string { return append(everyGateway(f), onEtcd(f)...) }, least: 0, most: 5 * time.Second},
	{name: "cut-gateway-etcd", weight: 5, applies: func(t topology) (int, int) { return t.gateways, t.etcds }, holds: link("gateway-etcd"), least: time.Second, most: 12 * time.Second, draw: anyWay},
	{name: "cut-gateway-etcds", weight: 5, applies: func(t topology) (int, int) { return t.gateways, min(t.etcds, 1) }, holds: func(f *fault) []string { return []string{fmt.Sprint("gateway-etcds ", f.a)} }, least: time.Second, most: 15 * time.Second, draw: anyWay},

	{name: "cut-gateways", weight: 6, applies: several(gatewayPairs), holds: pair("gateways"), least: time.Second, most: 15 * time.Second, draw: anyWay},
	{name: "delay-gateways", weight: 4, applies: several(gatewayPairs), holds: pair("gateways"), least: time.Second, most: 15 * time.Second, draw: someDelay},
	{name: "use-front", applies: several(each(gateways)), holds: func(*fault) []string { return nil }}, // the plain hosts use a gateway that is not the owner
	{name: "use-apart", applies: several(each(gateways)), holds: func(*fault) []string { return nil }}, // the first plain host uses the owner, each other one another gateway
	{name: "kill-coordinator", weight: 4, applies: several(each(func(topology) int { return 1 })), holds: everyGateway, least: 0, most: 5 * time.Second},
	{name: "move-volume", weight: 10, applies: several(func(t topology) (int, int) { return t.gateways, len(newVolumes()) }), holds: func(*fault) []string { return nil }},
	{name: "drain-gateway", weight: 5, applies: several(each(gateways)), holds: onGateway, least: time.Second, most: 10 * time.Second},
}

func kindOf(name string) *kind {
	for i := range kinds {
		if kinds[i].name == name {
			return &kinds[i]
		}
	}
	return nil
}

// rest is how long something is left alone after a fault: a fault that begins
// as another of the same ends would be one that is longer than the most.
const rest = 4 * time.Second

// newPlan draws the faults of a run of so long. Two are under way at a time, now
// and then three; only limits the kinds.
func newPlan(seed uint64, t topology, length time.Duration, only *regexp.Regexp) []fault {
	r := rand.New(rand.NewPCG(seed, 0xfa17))
	var choice []*kind
	total := 0
	for i := range kinds {
		k := &kinds[i]
		if a, b := k.applies(t); a > 0 && b > 0 && (only == nil || only.MatchString(k.name)) {
			choice = append(choice, k)
			total += k.weight
		}
	}
	var plan []fault
	if total == 0 {
		return nil
	}
	free := map[string]time.Duration{}
	lines := [2]time.Duration{2 * time.Second, 4 * time.Second}
	for {
		line := &lines[0]
		if lines[1] < *line {
			line = &lines[1]
		}
		*line += time.Duration(r.Int64N(int64(4 * time.Second)))
		if *line > length-5*time.Second {
			break
		}
		dice := r.IntN(total)
		k := choice[0]
		for _, k = range choice {
			if dice -= k.weight; dice < 0 {
				break
			}
		}
		a, b := k.applies(t)
		f := fault{at: *line, kind: k.name, a: r.IntN(a), b: r.IntN(b), last: k.least + time.Duration(r.Int64N(int64(k.most-k.least)+1))}
		if k.draw != nil {
			k.draw(&f, r)
		}
		if strings.HasSuffix(f.kind, "-gateways") && f.a == f.b {
			continue
		}
		if busy := slices.ContainsFunc(k.holds(&f), func(h string) bool { return free[h] > f.at }); busy {
			continue
		}
		for _, h := range k.holds(&f) {
			free[h] = f.at + f.last + rest
		}
		*line += f.last
		if r.IntN(5) == 0 {
			*line = f.at // another one on top of it
		}
		plan = append(plan, f)
	}
	slices.SortStableFunc(plan, func(a, b fault) int { return cmp.Compare(a.at, b.at) })
	return plan
}

// ways are the words for fault.way.
var ways = [...]string{"both ways", "one way", "the other way"}

// String tells the fault in words.
func (f *fault) String() string {
	s := f.kind
	switch {
	case f.owner != "":
		s += " that owns " + f.owner
		if f.front || f.kind == "use-front" {
			s = f.kind + " that does not own " + f.owner
		}
	case f.current:
		s += fmt.Sprintf(" %d–the one in use", f.a)
	case f.kind == "move-volume":
		s += fmt.Sprintf(" %d to %d", f.b, f.a)
	case f.kind == "cut-portal":
		s += fmt.Sprintf(" %d", f.b)
	case strings.HasPrefix(f.kind, "cut-host-") || strings.HasPrefix(f.kind, "delay-") || f.kind == "cut-gateway-etcd" || f.kind == "cut-gateways":
		s += fmt.Sprintf(" %d–%d", f.a, f.b)
	default:
		s += fmt.Sprintf(" %d", f.a)
	}
	if strings.HasPrefix(f.kind, "cut-") || strings.HasPrefix(f.kind, "delay-") {
		s += ", " + ways[f.way]
	}
	if f.arg > 0 {
		s += fmt.Sprintf(", %v", f.arg.Round(time.Millisecond))
	}
	return s
}
