// Package kernelnbd makes a kernel disk, /dev/nbdN, of a block.Device: the
// kernel's NBD driver is the client, and a server in this process serves it
// over socket pairs, several of them. The driver is told through generic
// netlink; its ioctls would need a thread that stands in the kernel as long as
// the disk lives.
//
// It is the way for kernels without ublk_drv. ublk has less to copy and less to
// wait for after a death, so it is to be preferred where there is both.
//
// # Connections that die
//
// A connection dies when either side fails, or when a request takes longer than
// Options.Timeout: then the driver gives that connection up and sends its
// requests again through another one. Each one is replaced, and the disk goes
// on. When none is left its requests wait for Options.DeadTimeout; then they
// fail, and so does all that comes after.
//
// So a device that stands still for longer than Timeout gets requests twice
// while it holds the first of them. That is harmless only if it keeps the
// order of requests that overlap (layer/sched does): else a write that stood
// still could land after a newer one of the same blocks, whose submitter
// waited for the repeated one only. Start must be given such a device. A trim
// that takes longer than Timeout each time would never end; layer/sched answers
// the repeated one together with the first.
//
// # Death and recovery
//
// The driver has no notion of a server that comes back, only of sockets that
// are replaced. That is enough:
//
//   - When the process is killed, all sockets close. The disk stays; requests
//     that come wait. Those under way wait for Timeout and are sent again.
//   - A new process calls Start with Recover, the number of the disk and the
//     same backend identifier within DeadTimeout, and the disk goes on. It takes
//     up to Timeout until requests that were under way are sent again.
//   - Requests are sent twice by this. As with ublk, whoever calls Start with
//     Recover must have fenced all that the dead process sent.
//   - What the disk is (number of connections, block size, flags) stays as it was
//     at its first start. The size is set anew.
//   - Without recovery in time all requests fail with an I/O error; the disk is
//     of no use any more until it is disconnected.
//   - The backend identifier (Linux 5.14) keeps another process from taking over
//     the disk by mistake. Older kernels don't know it: there it is up to
//     the caller to know that the number is that of its disk.
//
// The caller keeps number, backend identifier and number of connections where
// they outlive the process.
//
// # What is passed on
//
// Reads, writes, flushes, FUA, discard, and write-zeroes where the kernel has
// it (Linux 6.12). SG_IO and the ioctls for persistent reservations fail in the
// kernel with EINVAL: an NBD disk is no SCSI disk.
package kernelnbd
