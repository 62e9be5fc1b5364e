package main

import (
	"encoding/binary"
	"fmt"

	"sango/internal/iscsi/iscsitest"
	"sango/internal/san"
	"sango/internal/scsi"
	"sango/internal/scsi/pr"
)

// reserved is a volume that nobody writes to: one nexus has it to itself, by a persistent reservation with APTPL, through
// every kill.
const (
	reservedName = "reserved"
	reservedLUN  = san.LUN(3)
)

// The initiator ports of the reservation, apart from those of the writers.
const (
	holderISID   = 0xf0
	strangerISID = 0xf1
)

// takeReservation registers a new key and reserves the volume.
func takeReservation(portal, target string, key pr.Key) error {
	c, err := connect(portal, target, holderISID, reservedLUN)
	if err != nil {
		return err
	}
	defer c.Close()
	for _, q := range []struct {
		action scsi.ServiceAction
		out    pr.Out
	}{
		{pr.RegisterAndIgnore, pr.Out{ActionKey: key, APTPL: true}},
		{pr.Reserve, pr.Out{Key: key}},
	} {
		k := iscsitest.Command{LUN: reservedLUN.Field(), Out: q.out.Append(nil, q.action)}
		k.CDB = [16]byte{0x5f, byte(q.action), byte(pr.ExclusiveAccess)}
		binary.BigEndian.PutUint32(k.CDB[5:], uint32(len(k.Out)))
		r, err := c.Do(k)
		if err == nil {
			err = r.Good()
		}
		if err != nil {
			return fmt.Errorf("PERSISTENT RESERVE OUT %xh: %w", q.action, err)
		}
	}
	return nil
}

// verifyReservation looks whether the reservation with key is in force.
func verifyReservation(portal, target string, key pr.Key) error {
	for isid, want := range map[byte]scsi.Status{holderISID: scsi.Good, strangerISID: scsi.ReservationConflict} {
		c, err := connect(portal, target, isid, reservedLUN)
		if err != nil {
			return err
		}
		defer c.Close()
		read := iscsitest.Command{LUN: reservedLUN.Field(), In: 512}
		read.CDB = [16]byte{0x28, 8: 1}
		r, err := c.Do(read)
		if err != nil {
			return err
		}
		if scsi.Status(r.Status) != want {
			return fmt.Errorf("READ of initiator port %02xh: status %v, want %v", isid, scsi.Status(r.Status), want)
		}
		in := iscsitest.Command{LUN: reservedLUN.Field(), In: 512}
		in.CDB = [16]byte{0x5e, byte(pr.ReadKeys), 7: 2}
		if r, err = c.Do(in); err != nil {
			return err
		}
		_, keys, err := pr.ParseKeys(r.Data)
		if err != nil {
			return err
		}
		if len(keys) != 1 || keys[0] != key {
			return fmt.Errorf("registered keys %x, want %x alone", keys, key)
		}
	}
	return nil
}
