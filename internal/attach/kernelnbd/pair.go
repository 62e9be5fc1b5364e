package kernelnbd

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// sendBuffer is how many bytes a socket takes until somebody reads them: a
// request of usual size in one piece.
const sendBuffer = 2 << 20

// pair returns two ends of a connection: one for the server, one whose
// descriptor goes to the kernel. The kernel takes a reference of its own: the
// caller closes the file afterwards.
func pair() (net.Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("nbd: socket pair: %w", err)
	}
	for _, fd := range fds {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sendBuffer) != nil {
			// Without the right to pass the system's limit it takes what it gets.
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer)
		}
	}
	own, kernels := os.NewFile(uintptr(fds[0]), "nbd server"), os.NewFile(uintptr(fds[1]), "nbd client")
	conn, err := net.FileConn(own)
	_ = own.Close() // FileConn has its own
	if err != nil {
		_ = kernels.Close()
		return nil, nil, fmt.Errorf("nbd: socket pair: %w", err)
	}
	return conn, kernels, nil
}

// pairs returns n pairs.
func pairs(n int) (own []net.Conn, kernels []*os.File, err error) {
	for range n {
		c, f, err := pair()
		if err != nil {
			closeAll(own)
			closeAll(kernels)
			return nil, nil, err
		}
		own, kernels = append(own, c), append(kernels, f)
	}
	return own, kernels, nil
}

func closeAll[C interface{ Close() error }](list []C) {
	for _, c := range list {
		_ = c.Close() // sockets: nothing is lost by an error
	}
}
