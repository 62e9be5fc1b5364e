package kernelnbd

// What the kernel calls things: <linux/nbd-netlink.h> and the flags of
// <linux/nbd.h> that go through it. All of the ABI is in this file.

const (
	familyName = "nbd"
	groupName  = "nbd_mc_group" // LINK_DEAD goes to it
	version    = 1
)

// The commands (NBD_CMD_*).
const (
	cmdConnect     = 1
	cmdDisconnect  = 2
	cmdReconfigure = 3
	cmdLinkDead    = 4 // from the kernel: a connection of disk attrIndex died
	cmdStatus      = 5
)

// The attributes (NBD_ATTR_*).
const (
	attrIndex       = 1  // u32; left out of CONNECT: any
	attrSize        = 2  // u64, bytes
	attrBlockSize   = 3  // u64, bytes: a power of two from 512 to a page
	attrTimeout     = 4  // u64, seconds
	attrServerFlags = 5  // u64, transmission flags of the protocol
	attrClientFlags = 6  // u64, clientDestroy …
	attrSockets     = 7  // nested: sockItem { sockFD }
	attrDeadTimeout = 8  // u64, seconds
	attrDeviceList  = 9  // nested: deviceItem { deviceIndex, deviceConnected }
	attrBackend     = 10 // string; since Linux 5.14
)

// Inside attrSockets and attrDeviceList.
const (
	sockItem = 1
	sockFD   = 1 // u32

	deviceItem      = 1
	deviceIndex     = 1 // u32
	deviceConnected = 2 // u8
)

// Client flags (NBD_CFLAG_*).
const (
	clientDestroy = 1 << 0 // the disk's node goes when it is disconnected
)

// serverFlags are the transmission flags that the driver knows. The others mean
// extensions that it does not use.
const serverFlags = 1<<0 | // HAS_FLAGS
	1<<1 | // READ_ONLY
	1<<2 | // SEND_FLUSH
	1<<3 | // SEND_FUA
	1<<4 | // ROTATIONAL
	1<<5 | // SEND_TRIM
	1<<6 | // SEND_WRITE_ZEROES, from Linux 6.12; ignored before
	1<<8 // CAN_MULTI_CONN
