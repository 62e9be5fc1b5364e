package multipath

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"sango/internal/scsi"
	"sango/internal/scsi/alua"
)

// facts is what a probe finds out about a path and about the volume behind it.
type facts struct {
	id  Identity
	ids []scsi.Designator // of the logical unit, that can tell it from others

	relPort   uint16 // relative target port id; 0: not told
	portGroup uint16 // target port group
	grouped   bool   // portGroup was told
	tpgs      uint8
	groups    []alua.Group // nil: the target has none
	transit   uint8        // seconds; 0: not told

	sango *scsi.SangoPage // nil: another target

	// shape is nil where the state of the port keeps it from being asked.
	shape *shape
}

// bufLen is how much the control path takes of an answer that has no fixed
// length.
const bufLen = 4096

// ask asks everything that the device has to know about a path. It clears the
// unit attentions of the nexus on its way.
func ask(ctx context.Context, a *asker) (*facts, error) {
	f := &facts{}
	_, err := a.in(ctx, scsi.CDB{0: byte(scsi.OpTestUnitReady)}, 0)
	if err != nil && !barred(err) {
		return nil, err
	}
	ready := err == nil
	if err := f.identify(ctx, a); err != nil {
		return nil, err
	}
	if err := f.askSango(ctx, a); err != nil {
		return nil, err
	}
	if err := f.askGroups(ctx, a); err != nil {
		return nil, err
	}
	if !ready {
		return f, nil
	}
	f.shape, err = askShape(ctx, a, f.sango != nil)
	if err != nil && !barred(err) { // the state may just have changed
		return nil, err
	}
	return f, nil
}

// identify reads the standard INQUIRY data and the VPD pages that name the
// volume and the port.
func (f *facts) identify(ctx context.Context, a *asker) error {
	d, err := a.in(ctx, cdbInquiry(false, 0, 96), 96)
	if err != nil {
		return err
	}
	q, err := scsi.ParseStandardInquiry(d)
	if err != nil {
		return err
	}
	if q.Peripheral != scsi.PeripheralDisk {
		return fmt.Errorf("no disk is at this LUN (peripheral %02xh): check the LUN in the URL, and that this host may use it", q.Peripheral)
	}
	f.id.Vendor, f.id.Product, f.tpgs = q.Vendor, q.Product, q.TPGS
	if d, err = vpd(ctx, a, scsi.VPDDeviceID); err != nil {
		return err
	}
	if d != nil {
		all, err := scsi.ParseVPDDeviceID(d)
		if err != nil {
			return err
		}
		f.takeDesignators(all)
	}
	if d, err = vpd(ctx, a, scsi.VPDSerial); err != nil {
		return err
	}
	if len(d) > 4 {
		f.id.Serial = strings.Trim(string(d[4:]), " \x00")
	}
	return nil
}

// vpd returns a vital product data page without what may follow it, nil where
// the target has none such.
func vpd(ctx context.Context, a *asker, page scsi.VPDPage) ([]byte, error) {
	d, err := a.in(ctx, cdbInquiry(true, page, bufLen), bufLen)
	if refused(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if len(d) < 4 || d[1] != byte(page) {
		return nil, nil
	}
	return d[:min(len(d), 4+int(binary.BigEndian.Uint16(d[2:])))], nil
}

// takeDesignators sorts the designators of page 83h: the port's place, and the
// names of the unit. Vendor-specific ones do not have to be unique, and are
// left out where another one is there.
func (f *facts) takeDesignators(all []scsi.Designator) {
	var weak []scsi.Designator
	for _, d := range all {
		switch {
		case d.Association == scsi.OfPort && d.Type == scsi.DesignatorRelativePort && len(d.Value) == 4:
			f.relPort = binary.BigEndian.Uint16(d.Value[2:])
		case d.Association == scsi.OfPort && d.Type == scsi.DesignatorPortGroup && len(d.Value) == 4:
			f.portGroup, f.grouped = binary.BigEndian.Uint16(d.Value[2:]), true
		case d.Association != scsi.OfUnit:
		case d.Type == scsi.DesignatorT10, d.Type == scsi.DesignatorEUI64, d.Type == scsi.DesignatorNAA, d.Type == scsi.DesignatorSCSIName:
			f.ids = append(f.ids, d)
		case d.Type == scsi.DesignatorVendor:
			weak = append(weak, d)
		}
	}
	if len(f.ids) == 0 {
		f.ids = weak
	}
	for i := range f.ids {
		f.id.Designators = append(f.id.Designators, designatorName(&f.ids[i]))
	}
}

// designatorName writes d as people write such names.
func designatorName(d *scsi.Designator) string {
	kind := "vendor"
	switch d.Type {
	case scsi.DesignatorNAA:
		kind = "naa"
	case scsi.DesignatorEUI64:
		kind = "eui"
	case scsi.DesignatorT10:
		kind = "t10"
	case scsi.DesignatorSCSIName:
		kind = "name"
	}
	if d.CodeSet == scsi.CodeBinary {
		return fmt.Sprintf("%s.%x", kind, d.Value)
	}
	return kind + "." + strings.Trim(strings.ToValidUTF8(string(d.Value), "?"), " \x00")
}

// askSango reads page C0h.
func (f *facts) askSango(ctx context.Context, a *asker) error {
	if f.id.Vendor != "SANGO" {
		return nil // a page C0h of another vendor is another page
	}
	d, err := vpd(ctx, a, scsi.VPDSango)
	if err != nil || d == nil {
		return err
	}
	if p, err := scsi.ParseSangoPage(d); err == nil {
		f.sango = &p
	}
	return nil
}

// askGroups reads the states of the target port groups.
func (f *facts) askGroups(ctx context.Context, a *asker) (err error) {
	if f.tpgs == scsi.TPGSNone {
		return nil
	}
	f.groups, f.transit, err = reportGroups(ctx, a)
	if err != nil {
		return err
	}
	if f.grouped {
		return nil
	}
	for _, g := range f.groups { // a target that names the port, but not its group
		for _, p := range g.Ports {
			if p == f.relPort && f.relPort != 0 {
				f.portGroup, f.grouped = g.ID, true
			}
		}
	}
	return nil
}

// reportGroups asks REPORT TARGET PORT GROUPS; a target that refuses has none.
func reportGroups(ctx context.Context, a *asker) ([]alua.Group, uint8, error) {
	d, err := a.in(ctx, cdbReportGroups(bufLen), bufLen)
	if err == nil && len(d) >= 4 {
		if n := uint64(binary.BigEndian.Uint32(d)) + 4; n > uint64(len(d)) && n <= 1<<20 {
			d, err = a.in(ctx, cdbReportGroups(uint32(n)), int(n))
		}
	}
	if refused(err) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	return alua.Parse(d)
}

// errIdentity is why a path is not joined to the others.
var errIdentity = errors.New("another volume is behind this path")

// same reports whether two probes saw the same volume: no designator of a kind
// that both have differs, and at least one agrees. Without designators the
// serial number decides.
func (f *facts) same(o *facts) error {
	agree := false
	for i := range f.ids {
		d := &f.ids[i]
		kind, equal := false, false
		for j := range o.ids {
			e := &o.ids[j]
			if e.Type == d.Type && e.CodeSet == d.CodeSet {
				kind = true
				equal = equal || d.Equal(e)
			}
		}
		if kind && !equal {
			return fmt.Errorf("%w: it is %s, not %s", errIdentity, o.name(), f.name())
		}
		agree = agree || equal
	}
	switch {
	case f.id.Serial != o.id.Serial:
		return fmt.Errorf("%w: its serial number is %q, not %q", errIdentity, o.id.Serial, f.id.Serial)
	case !agree && f.id.Serial == "":
		return fmt.Errorf("%w, as far as one can tell: the target gives no designator and no serial number that it shares with the other paths", errIdentity)
	case !agree && len(f.ids)+len(o.ids) > 0:
		return fmt.Errorf("%w: it is %s, not %s", errIdentity, o.name(), f.name())
	}
	return nil
}

// name returns what is shown of the volume's names.
func (f *facts) name() string {
	if len(f.id.Designators) > 0 {
		return strings.Join(f.id.Designators, ", ")
	}
	return "serial " + f.id.Serial
}
