// Command ublkprobe serves a ublk disk in the guest of the VM test, with nothing between package ublk and a volume:
//
//	ublkprobe -size 512M                       a volume in memory
//	ublkprobe -store DIR -size 512M            a layered volume in DIR, made if it is not there
//	ublkprobe -store DIR -recover -id N        goes on where a killed one was
//	ublkprobe -remove -id N                    deletes a disk that nobody serves
//
// SIGTERM stops and deletes the disk, SIGUSR2 leaves it (and takes it over at once with -rejoin), SIGUSR1 writes the counts, SIGHUP doubles the disk's size.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"sango/internal/attach/ublk"
	"sango/internal/block"
	"sango/internal/block/layer/delay"
	"sango/internal/block/layered"
	"sango/internal/block/mem"
	"sango/internal/san"
)

type options struct {
	ublk.Options
	size    string
	bs      int
	store   string
	delay   time.Duration
	ready   string
	counts  string
	remove  bool
	rejoin  bool
	roDev   bool
	timeout time.Duration
}

func main() {
	var o options
	flag.IntVar(&o.ID, "id", ublk.Any, "number of the disk")
	flag.IntVar(&o.Queues, "queues", 2, "queues")
	flag.IntVar(&o.Depth, "depth", 32, "depth of a queue")
	flag.BoolVar(&o.PlainCopy, "plain", false, "no user copy")
	flag.BoolVar(&o.Recover, "recover", false, "take over the disk")
	flag.BoolVar(&o.Lock, "lock", false, "lock the buffers into memory")
	flag.BoolVar(&o.ReadOnly, "read-only", false, "the disk is read-only")
	flag.BoolVar(&o.roDev, "read-only-volume", false, "the volume is read-only")
	flag.StringVar(&o.size, "size", "512M", "size of a new volume")
	flag.IntVar(&o.bs, "block", 512, "block size of a new volume")
	flag.StringVar(&o.store, "store", "", "directory of the layered volume; none: memory")
	flag.DurationVar(&o.delay, "delay", 0, "how long each read and write takes")
	flag.StringVar(&o.ready, "ready", "", "file that says how the disk is served, once it is")
	flag.StringVar(&o.counts, "counts", "", "file for the counts of requests")
	flag.BoolVar(&o.rejoin, "rejoin", false, "take the disk over after leaving it")
	flag.BoolVar(&o.remove, "remove", false, "delete the disk")
	flag.DurationVar(&o.timeout, "timeout", time.Minute, "for starting and stopping")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "ublkprobe:", err)
		os.Exit(1)
	}
}

func run(o options) (err error) {
	if o.remove {
		ctx, cancel := context.WithTimeout(context.Background(), o.timeout)
		defer cancel()
		return ublk.Remove(ctx, o.ID)
	}
	dev, err := open(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dev.Close()) }()
	if o.delay > 0 {
		dev = delay.New(dev, delay.Options{Latency: map[block.Op]time.Duration{block.OpRead: o.delay, block.OpWrite: o.delay}})
	}
	c := &counter{Device: dev}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGUSR2, syscall.SIGUSR1, syscall.SIGHUP)

	for {
		again, err := serve(o, c, signals)
		if !again || err != nil {
			return err
		}
		o.Recover = true
	}
}

// serve serves the disk until a signal ends that. again: it was left and is to be taken over.
func serve(o options, c *counter, signals <-chan os.Signal) (again bool, err error) {
	limited := func(f func(context.Context) error) error {
		ctx, cancel := context.WithTimeout(context.Background(), o.timeout)
		defer cancel()
		return f(ctx)
	}
	var disk *ublk.Disk
	err = limited(func(ctx context.Context) (err error) {
		disk, err = ublk.Start(ctx, c, o.Options)
		return err
	})
	if err != nil {
		return false, err
	}
	if err := write(o.ready, disk.View()); err != nil {
		return false, errors.Join(err, disk.Abandon())
	}
	ended := make(chan error, 1)
	go func() { ended <- disk.Wait() }()
	for {
		var s os.Signal
		select {
		case s = <-signals:
		case err := <-ended:
			return false, errors.Join(err, limited(disk.Stop))
		}
		switch s {
		case syscall.SIGUSR2:
			return o.rejoin, errors.Join(disk.Abandon(), <-ended)
		case syscall.SIGTERM:
			err := limited(disk.Stop)
			if errors.Is(err, ublk.ErrInUse) {
				fmt.Fprintln(os.Stderr, "ublkprobe:", err)
				continue
			}
			return false, errors.Join(err, <-ended, write(o.counts, c.counts()))
		case syscall.SIGUSR1:
			if err := write(o.counts, c.counts()); err != nil {
				return false, err
			}
		case syscall.SIGHUP:
			fmt.Fprintln(os.Stderr, "ublkprobe:", disk.Resize(context.Background(), 2*c.Info().Size))
		}
	}
}

func open(o options) (block.Device, error) {
	size, err := san.ParseSize(o.size)
	if err != nil {
		return nil, err
	}
	if o.store == "" {
		return mem.New(mem.Options{Size: size, BlockSize: o.bs, PhysicalBlock: 4096, ReadOnly: o.roDev})
	}
	s, err := layered.OpenStore(o.store, layered.Options{})
	if err != nil {
		return nil, err
	}
	ids, err := s.List()
	if err != nil {
		return nil, err
	}
	if len(ids) == 0 {
		ids = append(ids, san.NewUUID())
		if err := s.Create(layered.CreateSpec{ID: ids[0], Size: size, BlockSize: o.bs}); err != nil {
			return nil, err
		}
	}
	// Fence: whoever held the volume is dead before anything of the new process can reach it.
	return s.OpenAs(ids[0], layered.OpenOptions{Fence: true, ReadOnly: o.roDev})
}

// write puts v into a file that appears whole.
func write(name string, v any) error {
	if name == "" {
		return nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := os.WriteFile(name+".new", append(b, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

// counter counts the requests that come, by what they ask for.
type counter struct {
	block.Device
	n [len(kinds)]atomic.Int64
}

var kinds = [...]string{"read", "write", "write_fua", "flush", "discard", "zeroes", "zeroes_unmap"}

func (c *counter) Submit(r *block.Request) {
	k := 0
	switch {
	case r.Op == block.OpWrite && r.Flags&block.FUA != 0:
		k = 2
	case r.Op == block.OpWrite:
		k = 1
	case r.Op == block.OpFlush:
		k = 3
	case r.Op == block.OpDiscard:
		k = 4
	case r.Op == block.OpWriteZeroes && r.Flags&block.MayUnmap != 0:
		k = 6
	case r.Op == block.OpWriteZeroes:
		k = 5
	}
	c.n[k].Add(1)
	c.Device.Submit(r)
}

func (c *counter) counts() map[string]int64 {
	m := make(map[string]int64, len(kinds))
	for i, k := range kinds {
		m[k] = c.n[i].Load()
	}
	return m
}
