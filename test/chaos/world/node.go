package world

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// mtu of the network. Large packets are cheap for the switch.
const mtu = 9000

// Node is a machine of the world: a network namespace with addresses.
type Node struct {
	Name  string
	Addrs []netip.Addr // the first one is what its processes send from

	space *os.File      // the namespace
	tun   *os.File      // its network card, as the switch sees it
	jobs  chan func()   // for the thread of the node
	done  chan struct{} // closed when that has ended
}

// NewNode makes a machine and plugs it into f.
func NewNode(f *Fabric, name string, addrs ...netip.Addr) (*Node, error) {
	n := &Node{Name: name, Addrs: addrs, jobs: make(chan func()), done: make(chan struct{})}
	ready := make(chan error, 1)
	go n.run(ready)
	if err := <-ready; err != nil {
		return nil, fmt.Errorf("node %s: %w", name, err)
	}
	f.plug(n)
	return n, nil
}

// run is the thread of the node, which is in its namespace. Processes are
// started by it, and killed by the kernel when it ends.
func (n *Node) run(ready chan<- error) {
	defer close(n.done)
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	if err := n.open(); err != nil {
		ready <- err
		return
	}
	ready <- nil
	for job := range n.jobs {
		job()
	}
}

func (n *Node) open() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("network namespace: %w", err)
	}
	space, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
	if err != nil {
		return err
	}
	n.space = space
	if n.tun, err = openTUN("net0"); err != nil {
		return err
	}
	for _, args := range []string{"link set lo up", fmt.Sprintf("link set net0 mtu %d up", mtu)} {
		err = errors.Join(err, ip(args))
	}
	for _, a := range n.Addrs {
		err = errors.Join(err, ip("addr add "+a.String()+"/16 dev net0"))
	}
	return err
}

func ip(args string) error {
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", args, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// openTUN makes a network card whose packets are read and written by this
// process, in the namespace of the thread.
func openTUN(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("/dev/net/tun: %w", err)
	}
	req, err := unix.NewIfreq(name)
	if err == nil {
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("/dev/net/tun: %w", err), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), name), nil
}

// do runs job on the thread of the node and waits for it. It must not take
// long.
func (n *Node) do(job func()) {
	done := make(chan struct{})
	n.jobs <- func() {
		defer close(done)
		job()
	}
	<-done
}

// Dial connects from the node. It has the form of net.Dialer.DialContext.
func (n *Node) Dial(ctx context.Context, network, addr string) (c net.Conn, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked
		if err = unix.Setns(int(n.space.Fd()), unix.CLONE_NEWNET); err != nil {
			err = fmt.Errorf("node %s: %w", n.Name, err)
			return
		}
		var d net.Dialer
		c, err = d.DialContext(ctx, network, addr)
	}()
	<-done
	return c, err
}

// close ends the thread, and with it the processes that are left.
func (n *Node) close() {
	close(n.jobs)
	<-n.done
	_ = n.tun.Close()   // nothing is kept in it
	_ = n.space.Close() // nor here
}
