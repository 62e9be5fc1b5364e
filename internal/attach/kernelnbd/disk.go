package kernelnbd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"sango/internal/block"
	"sango/internal/nbdserver"
)

// exportName is that of the one export of a disk's server.
const exportName = "disk"

// retry is how long a connection that ended waits for the driver to say that it
// is dead; without such word it is tried then. Long enough for a disconnect to
// be over, which looks the same from here until then.
const retry = time.Second

// Disk is a kernel disk, /dev/nbdN.
type Disk struct {
	o        Options
	dev      block.Device
	index    atomic.Int64 // set by begin
	server   *nbdserver.Server
	deaths   chan struct{} // a token for each dead connection
	ctx      context.Context
	cancel   context.CancelFunc
	serving  sync.WaitGroup
	replaced atomic.Uint64
	done     chan struct{}

	mu       sync.Mutex // guards what follows
	conns    map[net.Conn]struct{}
	stopping bool // Stop speaks to the driver
	ended    bool
	err      error
}

// Start makes a kernel disk of dev, or takes one over (Options.Recover). dev
// must keep the order of requests that overlap; see the package's comment. It
// stays the caller's, who closes it when Wait has returned. ctx is for the start
// alone.
func Start(ctx context.Context, dev block.Device, o Options) (*Disk, error) {
	o.fill()
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("nbd: %w", err)
	}
	info := dev.Info()
	if page := os.Getpagesize(); info.BlockSize > page {
		return nil, fmt.Errorf("nbd: blocks of %d bytes are larger than a page of memory (%d): the driver does not take them", info.BlockSize, page)
	}
	if info.Size == 0 {
		return nil, errors.New("nbd: the volume has no size yet: resize it first")
	}
	d := &Disk{
		o: o, dev: dev, deaths: make(chan struct{}, o.Connections),
		server: nbdserver.New(nbdserver.Options{Logger: o.Logger}),
		done:   make(chan struct{}), conns: map[net.Conn]struct{}{},
	}
	d.index.Store(int64(o.Index))
	if err := d.server.Add(exportName, dev, nbdserver.ExportOptions{ReadOnly: o.ReadOnly}); err != nil {
		return nil, err
	}
	// Before anything can die.
	stop, err := o.driver.deaths(d.death)
	if err != nil {
		return nil, err
	}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	own, err := d.begin(ctx, uint64(info.Size), uint64(info.BlockSize))
	if err != nil {
		d.cancel()
		stop()
		return nil, err
	}
	for _, c := range own {
		d.conns[c] = struct{}{} // all of them before the first one can end
	}
	for _, c := range own {
		d.serving.Go(func() { d.serve(c) })
	}
	go func() {
		d.serving.Wait()
		d.cancel()
		stop()
		_ = d.server.Close(context.Background()) // no connection is left to wait for
		close(d.done)
	}()
	return d, nil
}

// begin tells the driver of the disk and returns the server's ends of its
// connections.
func (d *Disk) begin(ctx context.Context, size, blockSize uint64) (own []net.Conn, err error) {
	export, err := d.server.Export(exportName)
	if err != nil {
		return nil, err
	}
	own, kernels, err := pairs(d.o.Connections)
	if err != nil {
		return nil, err
	}
	defer closeAll(kernels)
	defer func() {
		if err != nil {
			closeAll(own)
		}
	}()
	c := config{
		index: d.o.Index, size: size, backend: d.o.Backend,
		timeout: uint64(d.o.Timeout / time.Second), deadTimeout: uint64(d.o.DeadTimeout / time.Second),
	}
	for _, f := range kernels {
		c.sockets = append(c.sockets, f.Fd())
	}
	if d.o.Recover {
		if err := d.recoverable(ctx); err != nil {
			return nil, err
		}
		return own, d.o.driver.reconfigure(ctx, c)
	}
	before := nodes()
	c.blockSize, c.flags = blockSize, uint64(export.Flags)&serverFlags
	index, err := d.o.driver.connect(ctx, c)
	if err != nil {
		return nil, err
	}
	d.index.Store(int64(index))
	if !before[index] {
		// The node was made for this disk and goes with it. Those that the driver
		// makes when it is loaded stay: other programs count on them.
		err := d.o.driver.reconfigure(ctx, config{index: index, client: clientDestroy, backend: d.o.Backend})
		if err != nil {
			return nil, errors.Join(err, d.o.driver.disconnect(ctx, index))
		}
	}
	return own, nil
}

// recoverable says why the disk cannot be taken over.
func (d *Disk) recoverable(ctx context.Context) error {
	node := path(d.o.Index)
	connected, err := d.o.driver.connected(ctx, d.o.Index)
	switch {
	case err != nil:
		return err
	case !connected:
		return fmt.Errorf("nbd: %s is not connected, there is nothing to recover: start it anew", node)
	}
	if was := backendOf(d.o.Index); was != d.o.Backend && exists(d.o.Index) && !older(release(), "5.14") {
		return fmt.Errorf("nbd: %s belongs to %q, not to %q: another program uses it", node, was, d.o.Backend)
	}
	return nil
}

// death is called when a connection of any disk has died.
func (d *Disk) death(index int) {
	if index != d.ID() {
		return
	}
	select {
	case d.deaths <- struct{}{}:
	default:
	}
}

// serve serves one connection after the other, until the disk ends.
func (d *Disk) serve(c net.Conn) {
	for c != nil {
		err := d.server.ServeConn(c, exportName)
		d.mu.Lock()
		delete(d.conns, c)
		d.mu.Unlock()
		if d.ctx.Err() != nil {
			return
		}
		if err != nil {
			d.o.Logger.Warn("a connection of a kernel disk has ended", "disk", d.Path(), "err", err)
		}
		c = d.replace()
	}
}

// replace gives the driver another connection for one that died. It returns nil
// when the disk has ended.
func (d *Disk) replace() net.Conn {
	for warned := false; ; {
		select {
		case <-d.ctx.Done():
			return nil
		case <-d.deaths:
		case <-time.After(retry):
		}
		connected, err := d.o.driver.connected(d.ctx, d.ID())
		if d.isStopping() {
			continue // Stop says whether the disk ends
		}
		if err == nil && !connected {
			d.end(fmt.Errorf("nbd: %s was disconnected by somebody else", d.Path()))
			return nil
		}
		var c net.Conn
		if err == nil {
			c, err = d.reconnect()
		}
		if err == nil {
			return c // nil too, when the disk has ended meanwhile
		}
		if !warned && d.ctx.Err() == nil {
			d.o.Logger.Warn("a connection of a kernel disk cannot be replaced yet", "disk", d.Path(), "err", err)
			warned = true
		}
	}
}

func (d *Disk) reconnect() (net.Conn, error) {
	c, kernels, err := pair()
	if err != nil {
		return nil, err
	}
	defer kernels.Close()
	d.mu.Lock()
	if d.ended {
		d.mu.Unlock()
		return nil, c.Close()
	}
	d.conns[c] = struct{}{}
	d.mu.Unlock()
	err = d.o.driver.reconfigure(d.ctx, config{index: d.ID(), backend: d.o.Backend, sockets: []uintptr{kernels.Fd()}})
	if err != nil {
		d.mu.Lock()
		delete(d.conns, c)
		d.mu.Unlock()
		_ = c.Close() // never used
		return nil, err
	}
	d.replaced.Add(1)
	return c, nil
}

func (d *Disk) isStopping() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stopping
}

func (d *Disk) setStopping(to bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopping = to
}

// end lets all connections end, without a word to the driver. It returns false
// when that was done before.
func (d *Disk) end(err error) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		return false
	}
	d.ended, d.err = true, err
	d.cancel()
	for c := range d.conns {
		_ = c.Close() // wakes its server
	}
	return true
}

// Path is the disk's node, /dev/nbdN.
func (d *Disk) Path() string { return path(d.ID()) }

// ID is the N of /dev/nbdN.
func (d *Disk) ID() int { return int(d.index.Load()) }

// Replaced is how many connections the driver was given for dead ones so far.
func (d *Disk) Replaced() uint64 { return d.replaced.Load() }

// Connected asks the driver whether it has the disk.
func (d *Disk) Connected(ctx context.Context) (bool, error) {
	return d.o.driver.connected(ctx, d.ID())
}

// Wait returns when the disk has ended and the device has ended all its
// requests: nil after Stop and Abandon, else the reason.
func (d *Disk) Wait() error {
	<-d.done
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

// Resize tells the kernel another size, in bytes. The device must have it
// already when it becomes larger, and still when it becomes smaller.
func (d *Disk) Resize(size int64) error {
	if bs := int64(d.dev.Info().BlockSize); size <= 0 || size%bs != 0 {
		return fmt.Errorf("nbd: the size of a disk is a number of blocks of %d bytes, not %d bytes", bs, size)
	}
	err := d.o.driver.reconfigure(d.ctx, config{index: d.ID(), backend: d.o.Backend, size: uint64(size)})
	if err != nil {
		return err
	}
	_, err = d.server.Resized(exportName)
	return err
}

// Stop writes the disk's dirty pages, disconnects it and waits until all has
// ended. Whoever uses the disk then gets I/O errors: unmount it first. When it
// fails before the disk is disconnected, the disk goes on.
func (d *Disk) Stop(ctx context.Context) error {
	d.mu.Lock()
	ended := d.ended
	d.mu.Unlock()
	if !ended {
		if err := syncNode(ctx, d.Path()); err != nil {
			return err
		}
		d.setStopping(true)
		if err := d.o.driver.disconnect(ctx, d.ID()); err != nil {
			d.setStopping(false)
			return err
		}
		d.end(nil)
	}
	select {
	case <-d.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("nbd: %s is disconnected, but the device has requests under way: %w", d.Path(), ctx.Err())
	}
}

// Abandon leaves the disk to a process that will recover it, as a kill would:
// its requests wait. Wait returns when the device has ended those under way.
func (d *Disk) Abandon() { d.end(nil) }
