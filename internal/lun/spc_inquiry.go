package lun

import (
	"slices"

	"sango/internal/san"
	"sango/internal/scsi"
)

// What INQUIRY tells of the maker (DESIGN §9).
const (
	vendor   = "SANGO"
	product  = "VIRTUAL-DISK"
	revision = "0001"
)

// inquiryCommands returns INQUIRY (SPC-4 §6.6).
func inquiryCommands() []command {
	return []command{{
		op: scsi.OpInquiry, name: "INQUIRY",
		usage:   "\x12\x01\xff\xff\xff\x00",
		nominal: quick, recommended: medium,
		flags: inPlace | keepsAttention | notReady | sanitizing | anyState | standby | atFront, access: accessAny,
		run: inquire,
	}}
}

func inquire(t *Task) error {
	q := scsi.ParseInquiry(&t.CDB)
	if !q.EVPD {
		if q.Page != 0 {
			return scsi.InvalidField(2, -1)
		}
		t.reply(t.itl.standardInquiry(), int(q.Allocation))
		return nil
	}
	page := t.itl.vpd(q.Page)
	if page == nil {
		return scsi.InvalidField(2, -1)
	}
	t.reply(page, int(q.Allocation))
	return nil
}

// standardInquiry returns standard INQUIRY data. VERSION is that of SPC-3:
// some hosts take SPC-4 for a promise of what of it is optional.
func (i *itl) standardInquiry() []byte {
	u, tpgs := i.unit, scsi.TPGSImplicit
	if i.nexus.target.o.SetGroups != nil {
		tpgs = scsi.TPGSBoth
	}
	q := scsi.StandardInquiry{
		Peripheral: scsi.PeripheralDisk, Removable: u.vol.Removable, Version: scsi.InquirySPC3, HiSup: true,
		TPGS: tpgs, ThirdPartyCopy: u.table.lookup(scsi.OpExtendedCopy, 0) != nil, MultiPort: true, CommandQueue: true,
		Vendor: vendor, Product: product, Revision: revision,
		VersionsClaimed: []uint16{scsi.VersionSAM5, scsi.VersionSPC4, scsi.VersionSBC3, scsi.VersionISCSI},
	}
	return q.Append(nil)
}

// vpdPage is a VPD page that a unit has.
type vpdPage struct {
	code  scsi.VPDPage
	build func(*itl) []byte // nil data: the nexus does not see the page
}

// vpdPages returns the VPD pages of u. A new page adds one line here.
func vpdPages(u *Unit) []vpdPage {
	const disk = scsi.PeripheralDisk
	pages := []vpdPage{
		{scsi.VPDSerial, func(*itl) []byte { return scsi.AppendVPDSerial(nil, disk, u.vol.ID.String()) }},
		{scsi.VPDDeviceID, func(i *itl) []byte { return scsi.AppendVPDDeviceID(nil, disk, i.designators()) }},
		{scsi.VPDManagement, func(*itl) []byte { return scsi.AppendVPDManagement(nil, disk, nil) }},
		{scsi.VPDExtended, func(*itl) []byte { return u.extendedInquiry().Append(nil, disk) }},
		{scsi.VPDModePolicy, func(*itl) []byte {
			return scsi.AppendVPDModePolicy(nil, disk, []scsi.ModePolicy{
				{Page: scsi.ModeAllPages, Subpage: scsi.ModeAllSubpages, Policy: scsi.PolicyShared},
			})
		}},
		{scsi.VPDThirdParty, func(*itl) []byte { return u.thirdPartyCopy().Append(nil, disk) }},
		{scsi.VPDBlockLimits, func(*itl) []byte { return u.blockLimits().Append(nil, disk) }},
		{scsi.VPDBlockDevice, func(*itl) []byte { return u.blockDevice().Append(nil, disk) }},
		{scsi.VPDProvisioning, func(*itl) []byte { return u.provisioning().Append(nil, disk) }},
	}
	codes := []scsi.VPDPage{scsi.VPDSupported}
	for _, p := range pages {
		codes = append(codes, p.code)
	}
	return append(pages,
		vpdPage{scsi.VPDSango, func(i *itl) []byte {
			if i.nexus.fencer == nil {
				return nil
			}
			p := i.nexus.fencer.Fencing()
			p.Boot = u.o.Boot
			return p.Append(nil, disk)
		}},
		vpdPage{scsi.VPDSupported, func(i *itl) []byte {
			all := codes
			if i.nexus.fencer != nil {
				all = append(slices.Clone(codes), scsi.VPDSango)
			}
			return scsi.AppendVPDSupported(nil, disk, all)
		}})
}

// vpd returns VPD page code as i sees it, nil if there is no such page.
func (i *itl) vpd(code scsi.VPDPage) []byte {
	for _, p := range i.unit.vpds {
		if p.code == code {
			return p.build(i)
		}
	}
	return nil
}

// extendedInquiry returns VPD page 86h.
func (u *Unit) extendedInquiry() *scsi.ExtendedInquiry {
	return &scsi.ExtendedInquiry{
		HeadOfQueue: true, Ordered: true, Simple: true, Volatile: u.dev.Info().Caps.WriteBack, MaxSense: scsi.MaxSense,
	}
}

// designators returns what VPD page 83h lists (DESIGN §9): the unit by vendor
// and UUID, NAA and SCSI name, the port by its group, its number and its name,
// the device by its name.
func (i *itl) designators() []scsi.Designator {
	v, n := &i.unit.vol, i.nexus
	port := n.id.Target
	return []scsi.Designator{
		i.unit.naa(),
		scsi.T10Designator(vendor, v.ID.String()),
		scsi.NameDesignator(scsi.OfUnit, unitName(v)),
		scsi.RelativePortDesignator(uint16(port.TPG)),
		scsi.PortGroupDesignator(uint16(i.group.Load())),
		scsi.NameDesignator(scsi.OfPort, port.String()),
		scsi.NameDesignator(scsi.OfDevice, n.target.name),
	}
}

// naa returns the designator by which hosts usually know the unit.
func (u *Unit) naa() scsi.Designator { return scsi.NAADesignator(u.vol.NAA) }

// unitName is the SCSI name string of a volume, in the NAA form (RFC 7143
// §4.2.7.2).
func unitName(v *san.Volume) string {
	const digits = "0123456789ABCDEF"
	n := scsi.NAALocal(v.NAA)
	s := []byte("naa.0000000000000000")
	for i := len(s) - 1; n > 0; i-- {
		s[i] = digits[n&15]
		n >>= 4
	}
	return string(s)
}
