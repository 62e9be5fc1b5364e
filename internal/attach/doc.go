// Package attach makes a disk or a socket of a volume and keeps it: an
// attachment. Run is the life of one, in the process that serves it:
//
//	source ──► scheduler ──► counters ──► frontend
//	iscsi: multipath            ublk: /dev/ublkbN
//	volume: its files           nbd: /dev/nbdN
//	mem: memory                 socket: NBD on a unix socket
//
// # The host directory
//
// All attachments of a host share a directory, which holds for each of them,
// by its name:
//
//	NAME.lock   its lock says that a process serves the attachment, and which
//	NAME.json   what must outlive the process: see State
//	NAME.sock   what it does and how it is told to end: HTTP, see Status
//
// and initiatorname, the iSCSI name of the host, made once. Whoever may use the
// directory may detach disks: it belongs to root alone.
//
// # Death
//
// An orderly end (ctx of Run, POST /detach) leaves nothing: no disk, no state.
// When the process is killed, its disk and its state stay, and requests to the
// disk wait. The next Run of the same name has everything the dead process sent
// fenced at the target (docs/fence.md) before it issues anything, takes the disk
// over, and goes on. For this the run counter of the state is raised and on
// stable storage before a run sends anything.
//
// The order of these steps is what keeps a write from landing late: lock, state,
// paths with the fence, disk.
package attach
