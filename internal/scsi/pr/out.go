package pr

import (
	"encoding/binary"

	"sango/internal/scsi"
)

// Lengths of PERSISTENT RESERVE OUT parameter lists, in bytes.
const (
	// BasicLen is the length without TransportIDs.
	BasicLen = 24
	// MaxListLength bounds the parameter lists that are accepted.
	MaxListLength = 64 << 10
)

// Out is the parameter list of PERSISTENT RESERVE OUT: the basic one (SPC-4
// §6.16.3) and, where the service action is REGISTER AND MOVE, the one of
// §6.16.4.
type Out struct {
	Key       Key  // RESERVATION KEY: who the sender says it is
	ActionKey Key  // SERVICE ACTION RESERVATION KEY
	APTPL     bool // activate persist through power loss
	AllPorts  bool // ALL_TG_PT
	// Ports are the initiator ports that SPEC_I_PT adds, where it is set; never
	// nil then.
	Ports []TransportID
	// Of REGISTER AND MOVE alone.
	Unregister   bool   // UNREG
	RelativePort uint16 // relative target port identifier of the nexus moved to
	To           TransportID
}

// ParseOut reads a parameter list of the service action. It ends with
// PARAMETER LIST LENGTH ERROR where the list's length is not what its fields
// say, with INVALID FIELD IN PARAMETER LIST and a field pointer where a
// TransportID is none of iSCSI, or
// where SPEC_I_PT is set for an action other than REGISTER.
func ParseOut(b []byte, action scsi.ServiceAction) (*Out, *scsi.CheckCondition) {
	wrongLength := scsi.Check(scsi.IllegalRequest, scsi.ASCParameterListLength)
	if len(b) < BasicLen || len(b) > MaxListLength {
		return nil, wrongLength
	}
	o := &Out{Key: Key(binary.BigEndian.Uint64(b)), ActionKey: Key(binary.BigEndian.Uint64(b[8:]))}
	if action == RegisterAndMove {
		o.Unregister, o.APTPL = b[17]&0x02 != 0, b[17]&0x01 != 0
		o.RelativePort = binary.BigEndian.Uint16(b[18:])
		if n := uint64(binary.BigEndian.Uint32(b[20:])); n != uint64(len(b)-BasicLen) {
			return nil, wrongLength
		}
		id, n, err := ParseTransportID(b[BasicLen:])
		if err != nil {
			return nil, scsi.InvalidParameter(BasicLen, -1)
		}
		if BasicLen+n != len(b) {
			return nil, wrongLength
		}
		o.To = id
		return o, nil
	}
	o.AllPorts, o.APTPL = b[20]&0x04 != 0, b[20]&0x01 != 0
	if b[20]&0x08 == 0 {
		if len(b) != BasicLen {
			return nil, wrongLength
		}
		return o, nil
	}
	if action != Register {
		return nil, scsi.InvalidParameter(20, 3)
	}
	if len(b) < BasicLen+4 || uint64(binary.BigEndian.Uint32(b[BasicLen:])) != uint64(len(b)-BasicLen-4) {
		return nil, wrongLength
	}
	o.Ports = []TransportID{}
	for at := BasicLen + 4; at < len(b); {
		id, n, err := ParseTransportID(b[at:])
		if err != nil {
			return nil, scsi.InvalidParameter(uint16(at), -1)
		}
		o.Ports, at = append(o.Ports, id), at+n
	}
	return o, nil
}

// Append appends the parameter list of the service action.
func (o *Out) Append(b []byte, action scsi.ServiceAction) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(o.Key))
	b = binary.BigEndian.AppendUint64(b, uint64(o.ActionKey))
	flags := byte(0)
	if o.APTPL {
		flags |= 0x01
	}
	if action == RegisterAndMove {
		if o.Unregister {
			flags |= 0x02
		}
		b = append(b, 0, flags)
		b = binary.BigEndian.AppendUint16(b, o.RelativePort)
		at := len(b)
		b = append(b, 0, 0, 0, 0)
		b = o.To.Append(b)
		binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-4))
		return b
	}
	if o.AllPorts {
		flags |= 0x04
	}
	if o.Ports != nil {
		flags |= 0x08
	}
	b = append(b, 0, 0, 0, 0, flags, 0, 0, 0)
	if o.Ports == nil {
		return b
	}
	at := len(b)
	b = append(b, 0, 0, 0, 0)
	for i := range o.Ports {
		b = o.Ports[i].Append(b)
	}
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	return b
}
