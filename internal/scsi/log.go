package scsi

import "encoding/binary"

// Log page codes (SPC-4 table 388, SBC-3 table 173).
const (
	LogSupported      uint8 = 0x00 // with subpage FFh: supported pages and subpages
	LogProvisioning   uint8 = 0x0c // logical block provisioning
	LogTemperature    uint8 = 0x0d
	LogInfoExceptions uint8 = 0x2f
	LogAllSubpages    uint8 = 0xff
)

// Control bytes of log parameters (SPC-4 table 384).
const (
	LogBounded uint8 = 0x02 // a counter that stays at its maximum, binary
	LogList    uint8 = 0x03 // a list parameter, binary
)

// LogParameter is a log parameter (SPC-4 §7.3.2.2).
type LogParameter struct {
	Code    uint16
	Control uint8
	Value   []byte // at most 255 bytes
}

// AppendLogPage appends a page with the parameters whose code is at least
// from, the PARAMETER POINTER of the CDB (SPC-4 §6.8).
func AppendLogPage(b []byte, page, subpage uint8, params []LogParameter, from uint16) []byte {
	b, start := beginLog(b, page, subpage)
	for _, p := range params {
		if p.Code < from {
			continue
		}
		v := p.Value[:min(len(p.Value), 255)]
		b = binary.BigEndian.AppendUint16(b, p.Code)
		b = append(b, p.Control, byte(len(v)))
		b = append(b, v...)
	}
	return endLog(b, start)
}

// LogPageCode names a log page.
type LogPageCode struct{ Page, Subpage uint8 }

// AppendLogSupported appends the supported log pages page, 00h: the pages of
// list without their subpages (SPC-4 §7.3.17). The list must be in ascending
// order.
func AppendLogSupported(b []byte, list []LogPageCode) []byte {
	b, start := beginLog(b, LogSupported, 0)
	for _, p := range list {
		if n := len(b); n > start+4 && b[n-1] == p.Page {
			continue
		}
		b = append(b, p.Page)
	}
	return endLog(b, start)
}

// AppendLogSubpages appends a supported subpages page: page 00h subpage FFh
// lists all of list (SPC-4 §7.3.18), another page's subpage FFh its own
// (§7.3.19). The list must be in ascending order.
func AppendLogSubpages(b []byte, page uint8, list []LogPageCode) []byte {
	b, start := beginLog(b, page, LogAllSubpages)
	for _, p := range list {
		if page == LogSupported || p.Page == page {
			b = append(b, p.Page, p.Subpage)
		}
	}
	return endLog(b, start)
}

func beginLog(b []byte, page, subpage uint8) ([]byte, int) {
	return append(b, bit(subpage != 0, 6)|page&0x3f, subpage, 0, 0), len(b)
}

func endLog(b []byte, start int) []byte {
	binary.BigEndian.PutUint16(b[start+2:], uint16(len(b)-start-4))
	return b
}

// TemperatureParameters are those of the temperature page, in °C; FFh means
// that it is not known (SPC-4 §7.3.20).
func TemperatureParameters(now, reference uint8) []LogParameter {
	return []LogParameter{{0, LogList, []byte{0, now}}, {1, LogList, []byte{0, reference}}}
}

// InfoExceptionsParameters are those of the informational exceptions page: the
// pending exception, 0 if there is none, and the temperature as above (SPC-4
// §7.3.8).
func InfoExceptionsParameters(pending ASC, temperature uint8) []LogParameter {
	return []LogParameter{{0, LogList, []byte{byte(pending >> 8), byte(pending), temperature, 0}}}
}

// ProvisioningParameters are those of the logical block provisioning page:
// available and used resources in threshold sets. dedicated says that the
// resources are this unit's alone (SBC-3 §6.3.5).
func ProvisioningParameters(available, used uint32, dedicated bool) []LogParameter {
	value := func(n uint32) []byte {
		scope := byte(2) // available to several logical units
		if dedicated {
			scope = 1
		}
		return append(binary.BigEndian.AppendUint32(nil, n), scope, 0, 0, 0)
	}
	return []LogParameter{{1, LogList, value(available)}, {2, LogList, value(used)}}
}
