package meta

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"

	"sango/internal/san"
)

// next hands out the id after the last one of a counter, from 1 to limit. Ids
// are never reused, also not those whose owner is gone.
func (tx *Tx) next(counter string, limit uint64) (uint64, error) {
	var last uint64
	if _, err := tx.get("counters/"+counter, &last); err != nil {
		return 0, err
	}
	if last >= limit {
		return 0, san.Errorf(san.ErrRefused, "all %d ids of the kind %q have been used, and they are never used again; a new store starts afresh", limit, counter)
	}
	return last + 1, tx.put("counters/"+counter, last+1)
}

// newNAA draws a locally assigned NAA designator (type 3: 4 bits 0011 and 60
// bits of our own, SPC-4 §7.8.6.6.4) that no volume has, and reserves it for
// id.
func (tx *Tx) newNAA(id san.UUID) (uint64, error) {
	for {
		var b [8]byte
		rand.Read(b[:]) // never fails: crypto/rand aborts the process instead
		naa := binary.BigEndian.Uint64(b[:])&(1<<60-1) | 3<<60
		taken, err := tx.has(naaKey(naa))
		if err != nil {
			return 0, err
		}
		if !taken {
			return naa, tx.put(naaKey(naa), id)
		}
	}
}

func naaKey(naa uint64) string { return fmt.Sprintf("naa/%016x", naa) }
