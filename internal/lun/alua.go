package lun

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"sango/internal/san"
	"sango/internal/scsi"
	"sango/internal/scsi/alua"
)

// groupCommands returns REPORT TARGET PORT GROUPS (SPC-4 §6.37) and SET TARGET
// PORT GROUPS (SPC-4 §6.45).
func groupCommands() []command {
	return []command{
		{
			op: scsi.OpMaintenanceIn, sa: scsi.SAReportTargetPortGroups, name: "REPORT TARGET PORT GROUPS",
			usage:   "\xa3\xea\x00\x00\x00\x00\xff\xff\xff\xff\x00\x00",
			nominal: quick, recommended: medium,
			flags: inPlace | notReady | sanitizing | anyState | standby | atFront, access: accessAny,
			run: reportGroups,
		},
		{
			op: scsi.OpMaintenanceOut, sa: scsi.SASetTargetPortGroups, name: "SET TARGET PORT GROUPS",
			usage:   "\xa4\x0a\x00\x00\x00\x00\xff\xff\xff\xff\x00\x00",
			nominal: medium, recommended: long,
			flags: explicit | notReady | sanitizing | anyState | standby | atFront, access: accessWrite,
			parse: parseSetGroups, run: setGroups,
		},
	}
}

// supportedStates are those that a group may be in.
const supportedStates = alua.SupportsOptimized | alua.SupportsNonOptimized | alua.SupportsStandby |
	alua.SupportsUnavailable | alua.SupportsTransitioning

func reportGroups(t *Task) error {
	c := scsi.ParseReportTargetPortGroups(&t.CDB)
	f := alua.Format(c.Format)
	if f != alua.LengthOnly && f != alua.Extended {
		return scsi.InvalidField(1, 7)
	}
	fresh := t.nexus.target.o.Fresh
	if fresh == nil {
		return replyGroups(t, f)
	}
	// A gateway that is cut off says nothing (DESIGN R5): its hosts would take it
	// for the truth about the others' ports too.
	fresh(func(ok bool) {
		err := errRight
		if ok {
			err = replyGroups(t, f)
		}
		t.finish(err)
	})
	return errPending
}

func replyGroups(t *Task, f alua.Format) error {
	c := scsi.ParseReportTargetPortGroups(&t.CDB)
	groups := t.itl.portGroups()
	out := make([]alua.Group, 0, len(groups))
	for _, g := range groups {
		status := alua.StatusImplicit
		if g.Asked {
			status = alua.StatusExplicit
		}
		out = append(out, alua.Group{
			ID: g.ID, State: g.State, Preferred: g.Preferred, Supported: supportedStates,
			Status: status, Ports: portIDs(g.Ports),
		})
	}
	wait := uint8(min(255, (t.unit.o.Transition+time.Second-1)/time.Second))
	t.reply(alua.Append(nil, f, wait, out), int(min(c.Allocation, maxParameterData)))
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

// maxGroupList bounds the parameter list of SET TARGET PORT GROUPS: there are
// no more than 65535 groups.
const maxGroupList = 4 + 4*65535

func parseSetGroups(t *Task) error {
	n := scsi.ParseSetTargetPortGroups(&t.CDB)
	if n > maxGroupList {
		return scsi.InvalidField(6, -1)
	}
	t.need = int(n)
	return nil
}

// setGroups hands the request to those who own the groups. The nexus that
// asked gets no unit attention for what it asked (SPC-4 §5.15.2.6).
func setGroups(t *Task) error {
	if t.Out.Len() < t.need {
		return scsi.Check(scsi.IllegalRequest, scsi.ASCParameterListLength)
	}
	changes, cc := alua.ParseSet(t.outBytes(t.need))
	if cc != nil {
		return cc
	}
	tg := t.nexus.target
	groups := t.itl.portGroups()
	for _, c := range changes {
		if !slices.ContainsFunc(groups, func(g PortGroup) bool { return g.ID == c.ID }) {
			return scsi.InvalidParameter(c.At+2, -1)
		}
	}
	if len(changes) == 0 {
		return nil
	}
	if err := tg.o.SetGroups(t.nexus, t.unit, changes); err != nil {
		level := slog.LevelWarn
		if errors.Is(err, san.ErrRefused) { // whoever asks too often would fill the log too
			level = slog.LevelDebug
		}
		tg.o.Logger.Log(context.Background(), level, "SET TARGET PORT GROUPS refused", "target", tg.name, "initiator", t.nexus.id.Initiator.Name, "err", err)
		return scsi.Check(scsi.IllegalRequest, scsi.ASCSetTargetPortGroupsFailed)
	}
	t.itl.attn.clear(scsi.ASCAccessStateChanged)
	return nil
}
