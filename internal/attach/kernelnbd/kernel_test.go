package kernelnbd

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// kernel is a driver that behaves as that of Linux does towards one disk. Its
// block layer is the test, which sends requests through a connection and waits.
type kernel struct {
	t *testing.T

	mu    sync.Mutex // guards what follows
	cfg   config
	up    bool
	socks []*os.File // nil: dead
	dead  func(int)
	taken chan struct{} // a token for each socket that replaced a dead one
}

func newKernel(t *testing.T) *kernel {
	k := &kernel{t: t, taken: make(chan struct{}, 64)}
	t.Cleanup(func() { k.disconnectAll(false) })
	return k
}

const fakeIndex = 1 << 19 // no such node exists

// own gets a reference of its own, as sockfd_lookup does.
func (k *kernel) own(fd uintptr) *os.File {
	n, err := unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		k.t.Error(err)
	}
	return os.NewFile(uintptr(n), "kernel")
}

func (k *kernel) connect(_ context.Context, c config) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.up {
		return 0, unix.EBUSY
	}
	for _, fd := range c.sockets {
		k.socks = append(k.socks, k.own(fd))
	}
	if c.index == anyIndex {
		c.index = fakeIndex
	}
	k.cfg, k.up = c, true
	return c.index, nil
}

func (k *kernel) reconfigure(_ context.Context, c config) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.up || c.index != k.cfg.index || k.cfg.backend != c.backend {
		return unix.EINVAL
	}
	if c.size != 0 {
		k.cfg.size = c.size
	}
	k.cfg.client |= c.client
	for _, fd := range c.sockets {
		s := k.own(fd)
		for i := range k.socks {
			if k.socks[i] == nil {
				k.socks[i], s = s, nil
				k.taken <- struct{}{}
				break
			}
		}
		if s != nil {
			_ = s.Close()
			return nil // no more are dead
		}
	}
	return nil
}

func (k *kernel) disconnect(context.Context, int) error {
	k.disconnectAll(true)
	return nil
}

func (k *kernel) disconnectAll(farewell bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, s := range k.socks {
		if s == nil {
			continue
		}
		if farewell {
			_, _ = s.Write(request(2, 0, 0)) // the server may be gone
		}
		_ = s.Close()
		k.socks[i] = nil
	}
	k.up, k.socks = false, nil
}

func (k *kernel) connected(context.Context, int) (bool, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.up, nil
}

func (k *kernel) deaths(dead func(int)) (func(), error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.dead = dead
	return func() {}, nil
}

// kill lets connection i die on the kernel's side.
func (k *kernel) kill(i int) {
	k.mu.Lock()
	_ = k.socks[i].Close()
	k.socks[i] = nil
	dead, index := k.dead, k.cfg.index
	k.mu.Unlock()
	dead(index)
}

// buried waits until the server has closed connection i, and marks it dead.
func (k *kernel) buried(i int) {
	k.mu.Lock()
	s := k.socks[i]
	k.mu.Unlock()
	_, _ = io.Copy(io.Discard, s)
	k.kill(i)
}

func request(cmd uint16, off int64, n int) []byte {
	b := binary.BigEndian.AppendUint32(nil, 0x25609513)
	b = binary.BigEndian.AppendUint16(b, 0)
	b = binary.BigEndian.AppendUint16(b, cmd)
	b = binary.BigEndian.AppendUint64(b, 77)
	b = binary.BigEndian.AppendUint64(b, uint64(off))
	return binary.BigEndian.AppendUint32(b, uint32(n))
}

// do sends a request through connection i and waits for its end.
func (k *kernel) do(i int, cmd uint16, off int64, data []byte) error {
	k.mu.Lock()
	s := k.socks[i]
	k.mu.Unlock()
	b := request(cmd, off, len(data))
	if cmd == 1 {
		b = append(b, data...)
	}
	if _, err := s.Write(b); err != nil {
		return err
	}
	var reply [16]byte
	if _, err := io.ReadFull(s, reply[:]); err != nil {
		return err
	}
	if binary.BigEndian.Uint32(reply[:]) != 0x67446698 || binary.BigEndian.Uint64(reply[8:]) != 77 {
		return fmt.Errorf("reply %x", reply)
	}
	if e := binary.BigEndian.Uint32(reply[4:]); e != 0 {
		return unix.Errno(e)
	}
	if cmd == 0 {
		if _, err := io.ReadFull(s, data); err != nil {
			return errors.Join(errors.New("no data"), err)
		}
	}
	return nil
}
