package kernelnbd

import (
	"fmt"

	"github.com/mdlayher/netlink"
)

// anyIndex lets the driver choose the number of a disk.
const anyIndex = -1

// config is what CONNECT and RECONFIGURE say about a disk. Zero values are left
// out of the message.
type config struct {
	index       int
	size        uint64 // bytes
	blockSize   uint64 // bytes
	timeout     uint64 // seconds
	deadTimeout uint64 // seconds
	flags       uint64 // transmission flags
	client      uint64 // client flags
	backend     string
	sockets     []uintptr
}

func (c *config) encode() ([]byte, error) {
	e := netlink.NewAttributeEncoder()
	if c.index != anyIndex {
		e.Uint32(attrIndex, uint32(c.index))
	}
	for _, a := range []struct {
		typ uint16
		v   uint64
	}{
		{attrSize, c.size},
		{attrBlockSize, c.blockSize},
		{attrTimeout, c.timeout},
		{attrDeadTimeout, c.deadTimeout},
		{attrServerFlags, c.flags},
		{attrClientFlags, c.client},
	} {
		if a.v != 0 {
			e.Uint64(a.typ, a.v)
		}
	}
	if c.backend != "" {
		e.String(attrBackend, c.backend)
	}
	if len(c.sockets) > 0 {
		e.Nested(attrSockets, func(list *netlink.AttributeEncoder) error {
			for _, fd := range c.sockets {
				list.Nested(sockItem, func(item *netlink.AttributeEncoder) error {
					item.Uint32(sockFD, uint32(fd))
					return nil
				})
			}
			return nil
		})
	}
	return e.Encode()
}

// decodeIndex returns attrIndex, which the answer to CONNECT and LINK_DEAD
// consist of.
func decodeIndex(b []byte) (int, error) {
	d, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return 0, fmt.Errorf("nbd: %w", err)
	}
	index := anyIndex
	for d.Next() {
		if d.Type() == attrIndex {
			index = int(d.Uint32())
		}
	}
	if err := d.Err(); err != nil {
		return 0, fmt.Errorf("nbd: %w", err)
	}
	if index < 0 {
		return 0, fmt.Errorf("nbd: the driver's answer has no device number")
	}
	return index, nil
}

// decodeStatus returns the disks of an answer to STATUS: by number, whether
// they are connected.
func decodeStatus(b []byte) (map[int]bool, error) {
	d, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return nil, fmt.Errorf("nbd: %w", err)
	}
	disks := map[int]bool{}
	for d.Next() {
		if d.Type() != attrDeviceList {
			continue
		}
		d.Nested(func(list *netlink.AttributeDecoder) error {
			for list.Next() {
				if list.Type() == deviceItem {
					list.Nested(func(item *netlink.AttributeDecoder) error {
						index, connected := anyIndex, false
						for item.Next() {
							switch item.Type() {
							case deviceIndex:
								index = int(item.Uint32())
							case deviceConnected:
								connected = item.Uint8() != 0
							}
						}
						if index != anyIndex {
							disks[index] = connected
						}
						return nil
					})
				}
			}
			return nil
		})
	}
	if err := d.Err(); err != nil {
		return nil, fmt.Errorf("nbd: %w", err)
	}
	return disks, nil
}
