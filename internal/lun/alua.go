package lun

import (
	"slices"

	"sango/internal/san"
	"sango/internal/scsi"
	"sango/internal/scsi/alua"
)

// groupCommands returns REPORT TARGET PORT GROUPS (SPC-4 §6.37). SET TARGET
// PORT GROUPS is there only where hosts may change states (TPGS = 3), which no
// unit allows yet: hosts that find it would override what the cluster decides.
func groupCommands() []command {
	return []command{{
		op: scsi.OpMaintenanceIn, sa: scsi.SAReportTargetPortGroups, name: "REPORT TARGET PORT GROUPS",
		usage:   "\xa3\xea\x00\x00\x00\x00\xff\xff\xff\xff\x00\x00",
		nominal: quick, recommended: medium,
		flags: inPlace | notReady | sanitizing | anyState | standby, access: accessAny,
		run: reportGroups,
	}}
}

// transitionTime is how long an implicit transition may take, in seconds: the
// host waits so long while a group is transitioning.
const transitionTime = 30

// supportedStates are those that a group may be in.
const supportedStates = alua.SupportsOptimized | alua.SupportsNonOptimized | alua.SupportsStandby |
	alua.SupportsUnavailable | alua.SupportsTransitioning

func reportGroups(t *Task) error {
	c := scsi.ParseReportTargetPortGroups(&t.CDB)
	f := alua.Format(c.Format)
	if f != alua.LengthOnly && f != alua.Extended {
		return scsi.InvalidField(1, 7)
	}
	groups := t.nexus.target.portGroups()
	out := make([]alua.Group, 0, len(groups))
	for _, g := range groups {
		out = append(out, alua.Group{
			ID: g.ID, State: g.State, Preferred: g.Preferred, Supported: supportedStates,
			Status: alua.StatusImplicit, Ports: portIDs(g.Ports),
		})
	}
	t.reply(alua.Append(nil, f, transitionTime, out), int(min(c.Allocation, maxParameterData)))
	return nil
}

func portIDs(ports []san.TPG) []uint16 {
	ids := make([]uint16, len(ports))
	for i, p := range ports {
		ids[i] = uint16(p)
	}
	slices.Sort(ids)
	return ids
}
