package turns

import "golang.org/x/sys/unix"

// renew has the kernel report anew that a TCP connection has something to read,
// and returns true where that is certain: a goroutine that waits for it, without
// an attempt to read before, misses nothing. Setting the low-water mark to what
// it is already does that (tcp_set_rcvlowat), for bytes and the end of the
// stream. It does not for a reset, which was reported once, and that may be
// forgotten by now: who gets false reads.
func renew(fd uintptr) bool {
	if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, 1) != nil {
		return false
	}
	p := [1]unix.PollFd{{Fd: int32(fd)}}
	n, err := unix.Poll(p[:], 0) // errors and hang-ups are always told
	return n == 0 && err == nil
}
