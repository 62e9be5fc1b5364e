package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"sango/internal/initiator"
	"sango/internal/san"
	"sango/internal/scsi"
	"sango/test/harness"
)

// capture makes a pcap file of a session's PDUs, as TCP segments to and from port 3260.
type capture struct {
	mu   sync.Mutex // guards what follows
	b    bytes.Buffer
	next [2]uint32 // sequence number of the target, of the initiator
	pdus int
}

// maxPiece is how much of a PDU goes into one packet.
const maxPiece = 32 << 10

func newCapture() *capture {
	c := &capture{next: [2]uint32{1, 1}}
	for _, v := range []any{uint32(0xa1b2c3d4), uint16(2), uint16(4), uint32(0), uint32(0), uint32(1 << 17), uint32(101)} { // 101: raw IP
		_ = binary.Write(&c.b, binary.BigEndian, v)
	}
	return c
}

func (c *capture) add(t initiator.Traced) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pdus++
	for p := t.PDU; len(p) > 0; {
		n := min(len(p), maxPiece)
		c.packet(t.Sent, p[:n])
		p = p[n:]
	}
}

// packet adds one packet with IPv4 and TCP headers.
func (c *capture) packet(sent bool, p []byte) {
	from, to := netip.MustParseAddrPort("192.0.2.1:3260"), netip.MustParseAddrPort("192.0.2.2:40000")
	own, other := 0, 1
	if sent {
		from, to, own, other = to, from, 1, 0
	}
	h := make([]byte, 40)
	be := binary.BigEndian
	h[0], h[8], h[9] = 0x45, 64, 6
	be.PutUint16(h[2:], uint16(40+len(p)))
	copy(h[12:], from.Addr().AsSlice())
	copy(h[16:], to.Addr().AsSlice())
	be.PutUint16(h[20:], from.Port())
	be.PutUint16(h[22:], to.Port())
	be.PutUint32(h[24:], c.next[own])
	be.PutUint32(h[28:], c.next[other])
	h[32], h[33] = 0x50, 0x18
	be.PutUint16(h[34:], 0xffff)
	c.next[own] += uint32(len(p))
	now := time.Now()
	for _, v := range []uint32{uint32(now.Unix()), uint32(now.Nanosecond() / 1000), uint32(40 + len(p)), uint32(40 + len(p))} {
		_ = binary.Write(&c.b, be, v)
	}
	c.b.Write(h)
	c.b.Write(p)
}

// traced captures a session with everything in it and has tshark look for what is malformed.
func (c *client) traced(file string) error {
	k := newCapture()
	cfg := c.config(mutualTarget)
	cfg.CHAP = &san.CHAP{User: user, Secret: secret, MutualUser: mutualUser, MutualSecret: mutualSecret}
	cfg.Algorithms = algorithms
	cfg.Trace = k.add
	err := c.with(cfg, func(s *initiator.Session) error {
		r := &initiator.Command{LUN: disk, Attr: scsi.Simple, CDB: rw(0x28, diskSize/blockSize, 4096), In: [][]byte{make([]byte, 4096)}}
		if err := errors.Join(c.load(s), s.Do(c.ctx, r)); err != nil {
			return err
		}
		_, err := s.Manage(c.ctx, 5, disk)
		return err
	})
	if err != nil {
		return err
	}
	if err := os.WriteFile(file, k.b.Bytes(), 0o600); err != nil {
		return err
	}
	out, err := harness.Run(c.ctx, 2*time.Minute, "tshark", "-r", file, "-Y", "iscsi", "-T", "fields", "-e", "iscsi.opcode", "-e", "_ws.malformed", "-e", "_ws.expert.message")
	if err != nil {
		return err
	}
	seen := map[string]int{}
	total := 0
	for line := range strings.Lines(out) {
		f := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if len(f) != 3 { // a remark of tshark's about its user
			continue
		}
		if f[1] != "" {
			return fmt.Errorf("malformed: %s", line)
		}
		for op := range strings.SplitSeq(f[0], ",") {
			seen[op]++
			total++
		}
	}
	for _, op := range []string{"0x00", "0x01", "0x02", "0x03", "0x05", "0x06", "0x20", "0x21", "0x22", "0x23", "0x25", "0x26", "0x31"} {
		if seen[op] == 0 {
			return fmt.Errorf("no PDU of opcode %s among %v", op, seen)
		}
	}
	if total != k.pdus {
		return fmt.Errorf("tshark sees %d PDUs of %d", total, k.pdus)
	}
	fmt.Printf("     %d PDUs\n", total)
	return nil
}
