package scsi

import "encoding/binary"

// ManagementAddress is a network services descriptor of VPD page 85h (SPC-4
// §7.8.8).
type ManagementAddress struct {
	Association Association
	Service     uint8 // SERVICE TYPE, SPC-4 table 555: 01h configuration, 02h diagnostics, 03h status, 04h logging, 06h administrative
	Address     string
}

// AppendVPDManagement appends page 85h.
func AppendVPDManagement(b []byte, peripheral byte, addresses []ManagementAddress) []byte {
	start := len(b)
	b = beginVPD(b, peripheral, VPDManagement)
	for _, a := range addresses {
		s := padNUL([]byte(a.Address), 4)
		b = append(b, byte(a.Association&3)<<5|a.Service&0x1f, 0)
		b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
		b = append(b, s...)
	}
	return endVPD(b, start)
}

// ExtendedInquiry is VPD page 86h (SPC-4 §7.8.7). What is not named is zero.
type ExtendedInquiry struct {
	UASense     bool // UASK_SUP: sense key specific data with unit attentions
	Group       bool // GROUP_SUP
	Priority    bool // PRIOR_SUP
	HeadOfQueue bool // HEADSUP
	Ordered     bool // ORDSUP
	Simple      bool // SIMPSUP
	WriteUncor  bool // WU_SUP
	NonVolatile bool // NV_SUP
	Volatile    bool // V_SUP: a volatile cache
	LUIClear    bool // LUICLR: a unit attention is told once for each I_T nexus
	MaxSense    uint8
}

// Append appends the page, 64 bytes.
func (e *ExtendedInquiry) Append(b []byte, peripheral byte) []byte {
	var p [64]byte
	p[0], p[1], p[3] = peripheral, byte(VPDExtended), 60
	p[5] = bit(e.UASense, 5) | bit(e.Group, 4) | bit(e.Priority, 3) | bit(e.HeadOfQueue, 2) | bit(e.Ordered, 1) | bit(e.Simple, 0)
	p[6] = bit(e.WriteUncor, 3) | bit(e.NonVolatile, 1) | bit(e.Volatile, 0)
	p[7] = bit(e.LUIClear, 0)
	p[13] = e.MaxSense
	return append(b, p[:]...)
}

// Mode page policies (SPC-4 table 557).
const (
	PolicyShared   uint8 = 0
	PolicyPerPort  uint8 = 1
	PolicyPerNexus uint8 = 3
)

// ModePolicy is a mode page policy descriptor of VPD page 87h (SPC-4 §7.8.9).
// Page 3Fh with subpage FFh stands for all that have no descriptor of their own.
type ModePolicy struct {
	Page, Subpage uint8
	MLUS          bool // several logical units share the page
	Policy        uint8
}

// AppendVPDModePolicy appends page 87h.
func AppendVPDModePolicy(b []byte, peripheral byte, policies []ModePolicy) []byte {
	start := len(b)
	b = beginVPD(b, peripheral, VPDModePolicy)
	for _, p := range policies {
		b = append(b, p.Page&0x3f, p.Subpage, bit(p.MLUS, 7)|p.Policy&3, 0)
	}
	return endVPD(b, start)
}
