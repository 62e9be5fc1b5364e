// Package uapi is the kernel's interface for ublk: the structures and commands of <linux/ublk_cmd.h>, and as much of
// io_uring (<linux/io_uring.h>) as carries them, by raw system calls. It is the one place of package ublk with unsafe;
// its tests pin the size and the offsets of everything that the kernel reads or writes. All fields are in the machine's
// byte order.
//
// Memory that the kernel is told addresses of is never Go's: it comes from Map and is given back with Unmap.
package uapi
