package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

var nbdLoads = []load{
	{pattern: "randread", request: 4 << 10, depth: 32},
	{pattern: "randwrite", request: 4 << 10, depth: 32},
	{pattern: "randread", request: 64 << 10, depth: 16},
	{pattern: "randwrite", request: 64 << 10, depth: 16},
}

// nbdServer is an export in memory, at a unix socket.
type nbdServer struct {
	name   string
	socket string
	server *process
}

// nbdNames are the servers in the order of nbdServers: ours is the first.
var nbdNames = []string{"sango", "nbdkit", "qemu-nbd"}

// nbdGroup measures NBD servers whose data is in memory.
func (p *perf) nbdGroup(ctx context.Context, dir string) error {
	if len(p.wanted(p.nbdCases(make([]nbdServer, len(nbdNames))))) == 0 {
		return nil
	}
	size := strconv.FormatInt(p.size, 10)
	tmpfs, err := os.MkdirTemp("/dev/shm", "perf")
	if err != nil {
		return fmt.Errorf("qemu-nbd needs a directory in memory: %w", err)
	}
	defer os.RemoveAll(tmpfs)
	disk := filepath.Join(tmpfs, "disk")
	if err := os.WriteFile(disk, nil, 0o600); err != nil {
		return err
	}
	if err := os.Truncate(disk, p.size); err != nil {
		return err
	}
	socket := func(i int) string { return filepath.Join(dir, fmt.Sprintf("%d.sock", i)) }
	commands := [][]string{
		{p.sango, "attach", "mem:" + size, "--as", "socket", "--socket", socket(0), "--host-dir", filepath.Join(dir, "host")},
		{"nbdkit", "-f", "-U", socket(1), "memory", size},
		{"qemu-nbd", "--persistent", "--format=raw", "--socket=" + socket(2), disk},
	}
	var servers []nbdServer
	for i, c := range commands {
		s, err := startProcess(dir, c[0], c[1:]...)
		if err != nil {
			return err
		}
		defer s.end(syscall.SIGTERM)
		if err := s.await(ctx, func() error { _, err := os.Stat(socket(i)); return err }); err != nil {
			return err
		}
		// All of the memory is there before anything is measured.
		if err := fillNBD(ctx, socket(i), p.size); err != nil {
			return err
		}
		servers = append(servers, nbdServer{name: nbdNames[i], socket: socket(i), server: s})
	}
	return p.runCases(ctx, p.wanted(p.nbdCases(servers)))
}

func (p *perf) nbdCases(servers []nbdServer) []*benchCase {
	var cases []*benchCase
	for _, l := range nbdLoads {
		c := &benchCase{id: "nbd/" + l.id() + "/fio", title: l.String(), client: "fio", main: l.metric()}
		for i, s := range servers {
			c.contenders = append(c.contenders, contender{name: nbdNames[i], server: s.server, run: fioNBD(s.socket, l, p.size)})
			if i > 0 {
				c.claims = append(c.claims, versus(0, i, l.metric(), 1, 0), versus(0, i, p99, 0, 0), versus(0, i, serverCPU, 0, 0))
			}
		}
		cases = append(cases, c)
	}
	return cases
}
