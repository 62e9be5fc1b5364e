package api

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	v1 "sango/internal/api/gen/sango/v1"
	"sango/internal/meta"
	"sango/internal/san"
)

// stamp leaves a time that was never set out of messages.
func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// specVolume reads what a new volume is to be like, and fills in defaults.
func specVolume(s *v1.VolumeSpec) *san.Volume {
	v := &san.Volume{
		Name: s.GetName(), Size: s.GetSize(), Driver: s.GetDriver(), BlockSize: int(s.GetBlockSize()),
		PhysicalBlock: int(s.GetPhysicalBlock()), ReadOnly: s.GetReadOnly(), Removable: s.GetRemovable(), Adopted: s.GetAdopt(),
	}
	Defaults(v)
	return v
}

// Defaults fills in what a person may leave out of a volume: driver layered,
// blocks of 512 bytes on physical ones of 4096.
func Defaults(v *san.Volume) {
	if v.Driver == "" {
		v.Driver = san.DriverLayered
	}
	if v.BlockSize == 0 {
		v.BlockSize = san.BlockSize512
	}
	if v.PhysicalBlock == 0 {
		v.PhysicalBlock = san.BlockSize4096
	}
}

func volumeMessage(v *san.Volume, u Usage) *v1.Volume {
	m := &v1.Volume{
		Id: v.ID.String(), Name: v.Name, Driver: v.Driver, Size: v.Size, BlockSize: int32(v.BlockSize), PhysicalBlock: int32(v.PhysicalBlock),
		ReadOnly: v.ReadOnly, Removable: v.Removable, Adopted: v.Adopted, Naa: fmt.Sprintf("%016x", v.NAA), Created: stamp(v.Created),
		Used: u.Used, Shared: u.Shared, Problem: u.Problem, Silent: u.Silent,
		Fencing: string(v.Fencing), Prefer: v.Prefer,
	}
	for _, s := range u.Snapshots {
		m.Snapshots = append(m.Snapshots, snapshotMessage(s))
	}
	for _, j := range u.Jobs {
		m.Jobs = append(m.Jobs, jobMessage(j))
	}
	return m
}

func snapshotMessage(s Snapshot) *v1.Snapshot {
	return &v1.Snapshot{Name: s.Name, Created: stamp(s.Created), Size: s.Size}
}

func jobMessage(j Job) *v1.Job {
	return &v1.Job{Kind: j.Kind, Subject: j.Subject, Done: j.Done, Total: j.Total}
}

// accountMessages never carries secrets.
func accountMessages(auth []san.CHAP) (out []*v1.Account) {
	for _, a := range auth {
		out = append(out, &v1.Account{User: a.User, MutualUser: a.MutualUser})
	}
	return out
}

func accounts(in []*v1.Account) (out []san.CHAP) {
	for _, a := range in {
		out = append(out, san.CHAP{User: a.GetUser(), Secret: string(a.GetSecret()), MutualUser: a.GetMutualUser(), MutualSecret: string(a.GetMutualSecret())})
	}
	return out
}

func hostMessage(h *san.Host, targets []*san.Target) *v1.Host {
	m := &v1.Host{Name: h.Name, Iqn: h.IQN, Accounts: accountMessages(h.Auth)}
	for _, p := range h.Allowed {
		m.Allowed = append(m.Allowed, p.String())
	}
	for _, t := range targets {
		if slices.Contains(t.Hosts, h.Name) {
			m.Targets = append(m.Targets, t.Name)
		}
	}
	return m
}

func messageHost(m *v1.Host) (*san.Host, error) {
	h := &san.Host{Name: m.GetName(), IQN: iqn(m.GetIqn()), Auth: accounts(m.GetAccounts())}
	for _, s := range m.GetAllowed() {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			a, aerr := netip.ParseAddr(s)
			if aerr != nil {
				return nil, san.Errorf(san.ErrInvalid, "source range %q: write it as 10.0.0.0/24 or as one address", s)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		h.Allowed = append(h.Allowed, p.Masked())
	}
	return h, nil
}

// iqn brings an iSCSI name into the form in which names are compared (RFC
// 3722 maps upper to lower case).
func iqn(s string) string { return strings.ToLower(s) }

func sessionMessage(s Session) *v1.Session {
	return &v1.Session{
		Target: s.Target, Initiator: s.Initiator.Name, Isid: fmt.Sprintf("%x", s.Initiator.ISID[:]),
		Host: s.Host, Remote: s.Remote, Tag: int32(s.TPG),
	}
}

func portalMessages(g *meta.Gateway) (out []*v1.Portal) {
	for _, p := range g.Portals {
		out = append(out, &v1.Portal{Gateway: g.Name, Name: p.Name, Listen: p.Listen, Advertise: p.Advertise, Tag: int32(p.TPG)})
	}
	return out
}

// targetMessage describes a target; volumes names what its LUNs map.
func targetMessage(t *san.Target, volumes map[san.UUID]*san.Volume) *v1.Target {
	m := &v1.Target{Name: t.Name, Open: t.Open, Hosts: t.Hosts, Accounts: accountMessages(t.Auth), ExplicitAlua: t.Explicit}
	for lun, mp := range t.LUNs {
		l := &v1.Lun{Lun: int32(lun), Volume: mp.Volume.String(), Hosts: mp.Hosts}
		if v := volumes[mp.Volume]; v != nil {
			l.Volume, l.Size = v.Name, v.Size
		}
		m.Luns = append(m.Luns, l)
	}
	slices.SortFunc(m.Luns, func(a, b *v1.Lun) int { return int(a.Lun - b.Lun) })
	return m
}
