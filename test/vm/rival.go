package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	client "sango/internal/initiator"
	"sango/internal/san"
	"sango/internal/scsi"
	"sango/internal/scsi/pr"
)

// rivalKey is what the rival registers with.
const rivalKey = 0xb0b

// rival is another host, outside of the guest, which wants the volume at LUN 1 for itself. Verbs: "reserve" registers and
// reserves it (type 5, what cluster software uses), "write" writes a block and tells "done" or "conflict".
func (t *together) rival(ctx context.Context, portal int, verb string) (_ string, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	s, err := client.Login(ctx, client.Config{
		Initiator: san.InitiatorPort{Name: "iqn.2026-11.example:rival", ISID: san.ISID{0x80, 0, 0, 0, 0, byte(portal)}},
		Target:    clusterTarget, Portal: t.Listen[portal],
	})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, s.Logout(context.WithoutCancel(ctx))) }()
	switch verb {
	case "reserve":
		if _, err := persist(ctx, s, pr.RegisterAndIgnore, 0, pr.Out{ActionKey: rivalKey}); err != nil {
			return "", err
		}
		return persist(ctx, s, pr.Reserve, 5, pr.Out{Key: rivalKey})
	case "write":
		return ask(ctx, s, func(c *client.Command) {
			c.CDB = scsi.CDB{byte(scsi.OpWrite10), 8: 1}
			c.Out = [][]byte{make([]byte, 512)}
		})
	}
	return "", fmt.Errorf("a rival does not %s", verb)
}

// persist sends a PERSISTENT RESERVE OUT.
func persist(ctx context.Context, s *client.Session, sa scsi.ServiceAction, kind byte, out pr.Out) (string, error) {
	list := out.Append(nil, sa)
	return ask(ctx, s, func(c *client.Command) {
		c.CDB = scsi.CDB{byte(scsi.OpPersistReserveOut), byte(sa), kind}
		binary.BigEndian.PutUint32(c.CDB[5:], uint32(len(list)))
		c.Out = [][]byte{list}
	})
}

// ask sends a command to LUN 1 until it is neither a unit attention nor a time of transition.
func ask(ctx context.Context, s *client.Session, fill func(c *client.Command)) (string, error) {
	for {
		c := &client.Command{LUN: san.LUN(1).Field(), Attr: scsi.Simple}
		fill(c)
		if err := s.Do(ctx, c); err != nil {
			return "", err
		}
		switch c.Status {
		case scsi.Good:
			return "done", nil
		case scsi.ReservationConflict:
			return "conflict", nil
		}
		sense, err := scsi.ParseSense(c.Sense)
		if err != nil || sense.Key != scsi.UnitAttention && sense.Key != scsi.NotReady {
			return "", fmt.Errorf("status %v, sense %xh %v", c.Status, uint8(sense.Key), sense.ASC)
		}
	}
}
