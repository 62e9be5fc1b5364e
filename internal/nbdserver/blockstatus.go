package nbdserver

import (
	"math"

	"sango/internal/block"
	"sango/internal/nbd"
)

// maxExtents is how many extents one reply holds at most.
const maxExtents = 1024

// blockStatus executes CmdBlockStatus.
func (c *conn) blockStatus(q *request) {
	limit := maxExtents
	if q.wire.Flags&nbd.CmdFlagReqOne != 0 {
		limit = 1
	}
	// Extents are whole blocks in 32 bits.
	n := min(int64(q.wire.Length), math.MaxUint32&^4095)
	ext, err := c.dev.Status(int64(q.wire.Offset), n, limit)
	q.status.Context = allocationID
	switch {
	case block.ClassOf(err) == block.Unsupported || err == nil && len(ext) == 0:
		// "Allocated" is always true enough.
		q.status.Extents = append(q.status.Extents, nbd.Extent{Length: uint32(n)})
	case err != nil:
		q.fail(errnoOf(err), err.Error())
		return
	}
	for _, e := range ext {
		var flags uint32
		if e.Alloc == block.Deallocated {
			flags = nbd.StateHole | nbd.StateZero
		}
		q.status.Extents = append(q.status.Extents, nbd.Extent{Length: uint32(e.Len), Flags: flags})
	}
	c.complete(q)
}
