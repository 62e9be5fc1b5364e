package gateway

import (
	"bytes"
	"context"
	"testing"
	"time"

	"sango/internal/cluster"
	"sango/internal/cluster/model"
	"sango/internal/iscsi/iscsitest"
	"sango/internal/san"
	"sango/internal/scsi"
	xcopy "sango/internal/scsi/copy"
)

// EXTENDED COPY works between any two volumes, through any gateway, whoever owns
// them.
func TestCopyBetweenOwners(t *testing.T) {
	const size, blocks = 512, 8192
	n := startGang(t, subdir(t, "d"), 2)
	t.Cleanup(func() { stop(t, n) })
	v := []*san.Volume{mappedBy(t, n, "a", 8<<20, san.DriverLayered), mappedBy(t, n, "b", 8<<20, san.DriverLayered)}
	allServed(t, n)
	if first := ownerOf(t, n, v[0].ID); ownerOf(t, n, v[1].ID) == first {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := cluster.MoveVolume(ctx, n.member.store, v[1].ID, model.GatewayID(n.gateways()[1-first].cfg.Name)); err != nil {
			t.Fatal(err)
		}
		allServed(t, n)
	}
	for g := range 2 {
		c := at(t, n, g, byte(g))
		moved(t, c, 0)
		moved(t, c, 1)
		for from := range 2 {
			for through := range 2 {
				data := bytes.Repeat([]byte{byte(8*g + 4*from + 2*through + 1)}, blocks*size)
				for at := 0; at < blocks; at += 64 {
					if err := c.WriteBlocks(lunField(from), uint64(at), data[at*size:][:64*size], size); err != nil {
						t.Fatal(err)
					}
				}
				list := (&xcopy.List{
					Targets:  []xcopy.Target{{Designator: scsi.NAADesignator(v[from].NAA), BlockLength: size}, {Designator: scsi.NAADesignator(v[1-from].NAA), BlockLength: size}},
					Segments: []xcopy.Segment{{Source: 0, Destination: 1, Blocks: blocks}},
				}).Append(nil)
				r, err := c.Do(iscsitest.Command{LUN: lunField(through), CDB: [16]byte{0: 0x83, 12: byte(len(list) >> 8), 13: byte(len(list))}, Out: list})
				if err != nil || r.Status != uint8(scsi.Good) {
					t.Errorf("through gateway %d, from unit %d, by unit %d: status %v, sense %x, %v", g, from, through, r.Status, r.Sense, err)
					continue
				}
				for at := 0; at < blocks; at += 64 {
					got, err := c.Read(lunField(1-from), uint64(at), 64, size)
					if err != nil || !bytes.Equal(got, data[:64*size]) {
						t.Fatalf("through gateway %d, from unit %d: it is no copy at block %d: %v", g, from, at, err)
					}
				}
			}
		}
	}
}
