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
	Used          int64          `json:"used"`
	Shared        int64          `json:"shared"`
	Snapshots     []snapshotView `json:"snapshots"`
	Mappings      []mappingView  `json:"mappings"`
	Jobs          []jobView      `json:"jobs"`
	Problem       string         `json:"problem,omitempty"`
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
	ClockJumps int32        `json:"clock_jumps"`
	Jobs       []jobView    `json:"jobs"`
	Problems   []string     `json:"problems"`
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
	return volumeView{
		Name: v.GetName(), ID: v.GetId(), Driver: v.GetDriver(), Size: v.GetSize(), BlockSize: v.GetBlockSize(), PhysicalBlock: v.GetPhysicalBlock(),
		ReadOnly: v.GetReadOnly(), Removable: v.GetRemovable(), Adopted: v.GetAdopted(), NAA: v.GetNaa(), Created: clock(v.GetCreated()),
		Used: v.GetUsed(), Shared: v.GetShared(), Snapshots: each(v.GetSnapshots(), viewSnapshot), Jobs: each(v.GetJobs(), viewJob), Problem: v.GetProblem(),
		Mappings: each(v.GetMappings(), func(m *v1.VolumeMapping) mappingView { return mappingView{m.GetTarget(), m.GetLun()} }),
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
		Portals: each(t.GetPortals(), viewPortal), Sessions: each(t.GetSessions(), viewSession),
	}
}

func viewHost(h *v1.Host) hostView {
	return hostView{h.GetName(), h.GetIqn(), same(h.GetAllowed()), each(h.GetAccounts(), viewAccount), same(h.GetTargets())}
}

func viewGateway(g *v1.Gateway) gatewayView {
	return gatewayView{
		Name: g.GetName(), Group: g.GetGroup(), State: g.GetState(), Started: clock(g.GetStarted()),
		Portals: each(g.GetPortals(), viewPortal), Sessions: each(g.GetSessions(), viewSession),
	}
}
