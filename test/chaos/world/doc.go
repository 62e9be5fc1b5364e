// Package world is what the fault tests happen in: network namespaces with a
// switch in this process between them, disks that can be slow, stuck or full,
// and processes that can be killed and stopped. All of it is the kernel's to
// clean up: namespaces, devices and mounts go with the last process that is in
// them, however the test ends, and several tests run side by side.
//
// It needs root, /dev/net/tun, ip (iproute2), mkfs.ext4 and mount.
package world
