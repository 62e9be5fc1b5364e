// Package ublk makes a kernel disk, /dev/ublkbN, of a block.Device: the driver ublk_drv hands every request of the disk
// to this process by io_uring, and takes the answer back.
//
// Each queue of the disk has one goroutine that keeps a thread of its own, for the driver wants all commands of a
// queue from one thread. It fetches requests, submits them to the device and commits what has ended. Requests end on
// any goroutine, in any order; the one that finds the queue asleep wakes it through an eventfd in its ring, and all
// that has ended by then is committed with one system call. A device that never blocks its caller (Caps.Async) gets
// requests from the queue's goroutine. Any other one is asked with NoWait there, and what would block goes to workers:
// a slow device never holds up a queue.
//
// # How data gets here and back
//
// With UBLK_F_USER_COPY (Linux 6.5) it is copied by pread and pwrite of /dev/ublkcN, a read's data by the goroutine that
// ends it: large reads are copied side by side, and not by the queue's thread while other requests wait there. That
// costs a system call a request more than plain copying, in which the driver copies before a request is handed out and
// after it is committed, all on the queue's thread. Where the kernel has no user copy, plain copy is used. Zero copy
// (Linux 6.15) is of no use: it lets io_uring operations move the request's pages between files and sockets without
// the server ever seeing them, but a device behind block.Device reads and writes its data (iSCSI frames it in PDUs and
// digests it).
//
// Features says which features of the driver are used, since which kernel they are there, and why.
//
// # Memory
//
// Each tag of each queue has a buffer of the longest transfer: Queues × Depth × MaxIO bytes, which Options.Memory
// computes; 64 MiB by default with two processors. It lies outside of Go's heap and takes real memory as far as it has
// been used, unless Options.Lock locks it; it is unmapped when the disk ends.
//
// A disk can hold memory that must be written before memory is free. What serves it must therefore not wait for that:
// the threads of the queues say so to the kernel (prctl PR_SET_IO_FLUSHER, which is a thread's and is inherited by
// threads that it makes and by what it executes). For the threads of the device, and to lock the program itself into
// memory, the caller has to see; Lock locks the buffers.
//
// # Death and recovery
//
// When the process dies, the disk stays, and its requests wait. A new process that calls Start with Recover and the ID
// goes on serving it. Requests that were under way are issued again, so that a write may be done twice. That is safe
// only if the first one can't land after the second, or after a newer one of the same blocks: whoever calls Start with
// Recover has to make sure before that nothing that an earlier process sent can reach the medium any more (it fences
// the earlier instances at the target). Start itself issues nothing before the disk is taken over.
//
// # What is not passed on
//
// A ublk disk is no SCSI disk: SG_IO, persistent reservations (the ioctls of <linux/pr.h>) and BLKRESETZONE and the
// like fail with ENOTTY or EOPNOTSUPP in the kernel, before anything reaches this package.
package ublk
