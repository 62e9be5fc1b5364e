package scsi

import "math/bits"

// ModeDef defines a mode page of a device: its default parameters and which
// bits of them MODE SELECT may change. Default and Changeable are of the same
// length.
type ModeDef struct {
	Page, Subpage uint8
	Default       []byte
	Changeable    []byte // a 1 bit for each bit that MODE SELECT may change
}

// Check judges a page of a MODE SELECT parameter list against the definition
// and the current parameters: its length must be right and no bit may differ
// that cannot be changed (SPC-4 §6.9). The field pointer names the first byte
// in error and its left-most bit.
func (d *ModeDef) Check(current []byte, p *SelectedPage) *CheckCondition {
	head := p.HeaderLen()
	if len(p.Params) != len(d.Default) {
		return InvalidParameter(p.ParamAt(head-1), -1)
	}
	for i, v := range p.Params {
		if wrong := (v ^ current[i]) &^ d.Changeable[i]; wrong != 0 {
			return InvalidParameter(p.ParamAt(head+i), int8(bits.Len8(wrong)-1))
		}
	}
	return nil
}

// Merge returns saved with the bits that cannot be changed taken from the
// default: what an older version saved never overrides what this one reports.
// It returns the default where the lengths differ.
func (d *ModeDef) Merge(saved []byte) []byte {
	m := append([]byte(nil), d.Default...)
	if len(saved) != len(m) {
		return m
	}
	for i := range m {
		m[i] = m[i]&^d.Changeable[i] | saved[i]&d.Changeable[i]
	}
	return m
}
