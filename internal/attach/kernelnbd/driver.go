package kernelnbd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// driver is the kernel's NBD driver. Tests have another one.
type driver interface {
	// connect makes a disk and returns its number.
	connect(context.Context, config) (int, error)
	// reconfigure changes a disk, and replaces as many dead connections as there
	// are sockets; sockets that are too many it closes without a word.
	reconfigure(context.Context, config) error
	// disconnect ends a disk. Requests that it still has fail.
	disconnect(ctx context.Context, index int) error
	// connected tells whether a disk is configured.
	connected(ctx context.Context, index int) (bool, error)
	// deaths calls dead with the number of a disk for each of its connections
	// that dies, until stop is called.
	deaths(dead func(index int)) (stop func(), err error)
}

// ErrNoDriver means that the kernel has no NBD driver, or not loaded it.
var ErrNoDriver = errors.New("the kernel's NBD driver is not there: load it with `modprobe nbd`, or use a kernel that has it")

// generic speaks to the driver through generic netlink. Each call has a socket
// of its own: calls are rare, and one that was given up leaves no late answer
// to the next.
type generic struct {
	dial func() (*genetlink.Conn, error)
}

func newGeneric() *generic {
	return &generic{dial: func() (*genetlink.Conn, error) { return genetlink.Dial(nil) }}
}

// open returns a connection, which the end of ctx interrupts, and the driver's
// family.
func (g *generic) open(ctx context.Context) (*genetlink.Conn, genetlink.Family, func(), error) {
	var none genetlink.Family
	conn, err := g.dial()
	if err != nil {
		return nil, none, nil, fmt.Errorf("nbd: generic netlink: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	done := func() {
		stop()
		_ = conn.Close()
	}
	family, err := conn.GetFamily(familyName)
	if err != nil {
		done()
		if errors.Is(err, os.ErrNotExist) {
			return nil, none, nil, ErrNoDriver
		}
		return nil, none, nil, fmt.Errorf("nbd: look up the driver: %w", err)
	}
	return conn, family, done, nil
}

// execute sends one command and returns the data of its answer. An ACK is not
// asked for where there is an answer: it would come as a second message, on
// which the next call would stumble.
func (g *generic) execute(ctx context.Context, cmd uint8, name string, c config, flags netlink.HeaderFlags) ([]byte, error) {
	conn, family, done, err := g.open(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	data, err := c.encode()
	if err != nil {
		return nil, fmt.Errorf("nbd: %w", err)
	}
	answer, err := conn.Execute(genetlink.Message{
		Header: genetlink.Header{Command: cmd, Version: version}, Data: data,
	}, family.ID, netlink.Request|flags)
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, explain(name, c.index, err)
	}
	if len(answer) == 0 {
		return nil, nil
	}
	return answer[0].Data, nil
}

// explain says what an error of the driver means to a person.
func explain(name string, index int, err error) error {
	disk := "a disk"
	if index != anyIndex {
		disk = path(index)
	}
	hint := ""
	switch {
	case errors.Is(err, unix.EPERM):
		hint = ": this needs CAP_SYS_ADMIN"
	case errors.Is(err, unix.EBUSY):
		hint = ": somebody uses it already, take another number"
	case errors.Is(err, unix.EINVAL):
		hint = ": the kernel's log says why"
	}
	return fmt.Errorf("nbd: %s %s: %w%s", name, disk, err, hint)
}

func (g *generic) connect(ctx context.Context, c config) (int, error) {
	data, err := g.execute(ctx, cmdConnect, "connect", c, 0)
	if err != nil {
		return 0, err
	}
	return decodeIndex(data)
}

func (g *generic) reconfigure(ctx context.Context, c config) error {
	_, err := g.execute(ctx, cmdReconfigure, "reconfigure", c, netlink.Acknowledge)
	return err
}

func (g *generic) disconnect(ctx context.Context, index int) error {
	_, err := g.execute(ctx, cmdDisconnect, "disconnect", config{index: index}, netlink.Acknowledge)
	return err
}

func (g *generic) connected(ctx context.Context, index int) (bool, error) {
	data, err := g.execute(ctx, cmdStatus, "ask for the status of", config{index: index}, 0)
	if err != nil {
		return false, err
	}
	disks, err := decodeStatus(data)
	return disks[index], err
}

func (g *generic) deaths(dead func(index int)) (func(), error) {
	conn, family, done, err := g.open(context.Background())
	if err != nil {
		return nil, err
	}
	joined := false
	for _, group := range family.Groups {
		if group.Name == groupName {
			if err := conn.JoinGroup(group.ID); err != nil {
				done()
				return nil, fmt.Errorf("nbd: listen to the driver: %w", err)
			}
			joined = true
		}
	}
	if !joined {
		done()
		return nil, fmt.Errorf("nbd: the driver tells nobody when a connection dies: it needs Linux %s", Features[0].Since)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		listen(conn, dead)
	}()
	return func() {
		done()
		<-ended
	}, nil
}

// listen passes on what comes until the connection is closed. Messages may get
// lost (ENOBUFS): they only make things faster.
func listen(conn *genetlink.Conn, dead func(index int)) {
	for {
		messages, _, err := conn.Receive()
		if err != nil && !errors.Is(err, unix.ENOBUFS) {
			return
		}
		for _, m := range messages {
			if m.Header.Command != cmdLinkDead {
				continue
			}
			if index, err := decodeIndex(m.Data); err == nil {
				dead(index)
			}
		}
	}
}
