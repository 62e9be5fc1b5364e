package cli

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	v1 "sango/internal/api/gen/sango/v1"
)

// The types below are what -o json and -o yaml print: a contract with scripts,
// and so apart from the messages of the API. Fields are only ever added.

type volumeView struct {
	Name          string         `json:"name"`
	ID            string         `json:"id"`
	Driver        string         `json:"driver"`
	Size          int64          `json:"size"`
	BlockSize     int32          `json:"block_size"`
	PhysicalBlock int32          `json:"physical_block"`
	ReadOnly      bool           `json:"read_only"`
	Removable     bool           `json:"removable"`
	Adopted       string         `json:"adopted,omitempty"`
	NAA           string         `json:"naa"`
	Created       *time.Time     `json:"created,omitempty"`
	Used          *int64         `json:"used,omitempty"`   // left out with silent
	Shared        *int64         `json:"shared,omitempty"` // left out with silent
	Snapshots     []snapshotView `json:"snapshots"`
	Mappings      []mappingView  `json:"mappings"`
	Jobs          []jobView      `json:"jobs"`
	Problem       string         `json:"problem,omitempty"`
	// Where several gateways serve together. Silent is why used, shared,
	// snapshots and jobs are not known.
	Owner     string         `json:"owner,omitempty"`
	Epoch     uint64         `json:"epoch,omitempty"`
	Ownership *ownershipView `json:"ownership,omitempty"`
	Silent    string         `json:"silent,omitempty"`
	Fencing   string         `json:"fencing,omitempty"`
	Prefer    []string       `json:"prefer,omitempty"`
}

// ownershipView is who executes the commands of a volume. State is active,
// moving, released, lost or none.
type ownershipView struct {
	Volume  string     `json:"volume"`
	State   string     `json:"state"`
	Owner   string     `json:"owner,omitempty"`
	To      string     `json:"to,omitempty"`
	Epoch   uint64     `json:"epoch"`
	Reason  string     `json:"reason,omitempty"` // of the last change of owner
	Asked   string     `json:"asked,omitempty"`
	Since   *time.Time `json:"since,omitempty"`
	Failed  string     `json:"failed,omitempty"` // gateway that could not open it, last time
	Problem string     `json:"problem,omitempty"`
}

type snapshotView struct {
	Name    string     `json:"name"`
	Created *time.Time `json:"created,omitempty"`
	Size    int64      `json:"size"`
}

type mappingView struct {
	Target string `json:"target"`
	LUN    int32  `json:"lun"`
}

type jobView struct {
	Volume  string `json:"volume,omitempty"`
	Kind    string `json:"kind"`
	Subject string `json:"subject"`
	Done    int64  `json:"done"`
	Total   int64  `json:"total"`
}

type targetView struct {
	Name     string        `json:"name"`
	Open     bool          `json:"open"`
	Hosts    []string      `json:"hosts"`
	Accounts []accountView `json:"accounts"`
	LUNs     []lunView     `json:"luns"`
	Portals  []portalView  `json:"portals,omitempty"`
	Sessions []sessionView `json:"sessions"`
	Silent   []string      `json:"silent,omitempty"` // gateways that did not tell their sessions
	Explicit bool          `json:"explicit_alua,omitempty"`
}

type accountView struct {
	User   string `json:"user"`
	Mutual string `json:"mutual_user,omitempty"`
}

type lunView struct {
	LUN    int32    `json:"lun"`
	Volume string   `json:"volume"`
	Size   int64    `json:"size"`
	Hosts  []string `json:"hosts,omitempty"`
}

type portalView struct {
	Gateway   string `json:"gateway"`
	Name      string `json:"name"`
	Listen    string `json:"listen"`
	Advertise string `json:"advertise"`
	Tag       int32  `json:"tag"`
}

type sessionView struct {
	Target    string `json:"target"`
	Initiator string `json:"initiator"`
	ISID      string `json:"isid"`
	Host      string `json:"host,omitempty"`
	Remote    string `json:"remote"`
	Tag       int32  `json:"tag"`
}

type hostView struct {
	Name     string        `json:"name"`
	IQN      string        `json:"iqn"`
	Allowed  []string      `json:"allowed"`
	Accounts []accountView `json:"accounts"`
	Targets  []string      `json:"targets"`
}

type gatewayView struct {
	Name     string        `json:"name"`
	Group    int32         `json:"group"`
	State    string        `json:"state"`
	Started  *time.Time    `json:"started,omitempty"`
	Portals  []portalView  `json:"portals"`
	Sessions []sessionView `json:"sessions,omitempty"`
	// Where several gateways serve together.
	Version     string `json:"version,omitempty"`
	Reads       int32  `json:"reads,omitempty"` // newest layout of the metadata that it knows
	Links       string `json:"links,omitempty"` // versions of the protocol between gateways
	Incarnation uint64 `json:"incarnation,omitempty"`
	Reason      string `json:"reason,omitempty"` // of its death: silent, suspected or left
	Drained     bool   `json:"drained,omitempty"`
	Harmless    bool   `json:"harmless,omitempty"`
	Volumes     *int32 `json:"volumes,omitempty"`
	Load        *int64 `json:"load,omitempty"` // work of its volumes; nil: not known
	Coordinator bool   `json:"coordinator,omitempty"`
	Silent      string `json:"silent,omitempty"` // why sessions are not known
}

// layoutView is how the metadata is laid out.
type layoutView struct {
	Version  int32    `json:"version"`
	Newest   int32    `json:"newest"`              // that a gateway knows
	WaitsFor []string `json:"waits_for,omitempty"` // gateways that do not know the next
}

type statusView struct {
	Gateway    *gatewayView `json:"gateway,omitempty"`
	Version    string       `json:"version"`
	PID        int32        `json:"pid"`
	Dir        string       `json:"dir"`
	Volumes    int32        `json:"volumes"`
	Targets    int32        `json:"targets"`
	Hosts      int32        `json:"hosts"`
	LUNs       int32        `json:"luns"`
	Sessions   int32        `json:"sessions"`
	StoreFree  int64        `json:"store_free"`
	StoreSize  int64        `json:"store_size"`
	DirFree    int64        `json:"dir_free,omitempty"` // of another filesystem than that of the volumes
	DirSize    int64        `json:"dir_size,omitempty"`
	ClockJumps int32        `json:"clock_jumps"`
	Jobs       []jobView    `json:"jobs"`
	Problems   []string     `json:"problems"`
	// Where several gateways serve together.
	Coordinator string          `json:"coordinator,omitempty"`
	Layout      *layoutView     `json:"layout,omitempty"`
	Gateways    []gatewayView   `json:"gateways,omitempty"`
	Owners      []ownershipView `json:"owners,omitempty"`
	Moving      *int32          `json:"moving,omitempty"`
	Paths       *pathsView      `json:"paths,omitempty"`
	Old         string          `json:"old,omitempty"` // why this is what the gateway knew last
}

// each turns a list of messages into a list of views, never nil.
func each[M, V any](in []M, f func(M) V) []V {
	out := make([]V, 0, len(in))
	for _, m := range in {
		out = append(out, f(m))
	}
	return out
}

func same[T any](in []T) []T { return append([]T{}, in...) }

func clock(t *timestamppb.Timestamp) *time.Time {
	if t == nil {
		return nil
	}
	u := t.AsTime()
	return &u
}

func viewVolume(v *v1.Volume) volumeView {
	w := volumeView{
		Name: v.GetName(), ID: v.GetId(), Driver: v.GetDriver(), Size: v.GetSize(), BlockSize: v.GetBlockSize(), PhysicalBlock: v.GetPhysicalBlock(),
		ReadOnly: v.GetReadOnly(), Removable: v.GetRemovable(), Adopted: v.GetAdopted(), NAA: v.GetNaa(), Created: clock(v.GetCreated()),
		Silent: v.GetSilent(), Fencing: v.GetFencing(), Prefer: v.GetPrefer(), Snapshots: each(v.GetSnapshots(), viewSnapshot), Jobs: each(v.GetJobs(), viewJob), Problem: v.GetProblem(),
		Mappings: each(v.GetMappings(), func(m *v1.VolumeMapping) mappingView { return mappingView{m.GetTarget(), m.GetLun()} }),
	}
	if w.Silent == "" {
		w.Used, w.Shared = &v.Used, &v.Shared
	}
	if o := v.GetOwnership(); o != nil {
		x := viewOwnership(o)
		w.Owner, w.Epoch, w.Ownership = x.Owner, x.Epoch, &x
	}
	return w
}

func viewOwnership(o *v1.Ownership) ownershipView {
	return ownershipView{
		Volume: o.GetVolume(), State: o.GetState(), Owner: o.GetOwner(), To: o.GetTo(), Epoch: o.GetEpoch(), Reason: o.GetReason(),
		Asked: o.GetAsked(), Since: clock(o.GetSince()), Failed: o.GetFailed(), Problem: o.GetProblem(),
	}
}

func viewSnapshot(s *v1.Snapshot) snapshotView {
	return snapshotView{s.GetName(), clock(s.GetCreated()), s.GetSize()}
}

func viewJob(j *v1.Job) jobView {
	return jobView{Kind: j.GetKind(), Subject: j.GetSubject(), Done: j.GetDone(), Total: j.GetTotal()}
}

func viewAccount(a *v1.Account) accountView { return accountView{a.GetUser(), a.GetMutualUser()} }

func viewPortal(p *v1.Portal) portalView {
	return portalView{p.GetGateway(), p.GetName(), p.GetListen(), p.GetAdvertise(), p.GetTag()}
}

func viewSession(s *v1.Session) sessionView {
	return sessionView{s.GetTarget(), s.GetInitiator(), s.GetIsid(), s.GetHost(), s.GetRemote(), s.GetTag()}
}

func viewTarget(t *v1.Target) targetView {
	return targetView{
		Name: t.GetName(), Open: t.GetOpen(), Hosts: same(t.GetHosts()), Accounts: each(t.GetAccounts(), viewAccount),
		LUNs: each(t.GetLuns(), func(l *v1.Lun) lunView {
			return lunView{l.GetLun(), l.GetVolume(), l.GetSize(), l.GetHosts()}
		}),
		Portals: each(t.GetPortals(), viewPortal), Sessions: each(t.GetSessions(), viewSession), Silent: t.GetSilent(),
		Explicit: t.GetExplicitAlua(),
	}
}

func viewHost(h *v1.Host) hostView {
	return hostView{h.GetName(), h.GetIqn(), same(h.GetAllowed()), each(h.GetAccounts(), viewAccount), same(h.GetTargets())}
}

func viewGateway(g *v1.Gateway) gatewayView {
	w := gatewayView{
		Name: g.GetName(), Group: g.GetGroup(), State: g.GetState(), Started: clock(g.GetStarted()),
		Portals: each(g.GetPortals(), viewPortal), Sessions: each(g.GetSessions(), viewSession),
		Version: g.GetVersion(), Reads: g.GetReads(), Links: g.GetLinks(), Incarnation: g.GetIncarnation(), Reason: g.GetReason(), Drained: g.GetDrained(), Harmless: g.GetHarmless(),
		Coordinator: g.GetCoordinator(), Silent: g.GetSilent(),
	}
	if w.Incarnation != 0 {
		w.Volumes, w.Load = &g.Volumes, g.Load
	}
	return w
}
