package uapi

// The files of the driver.
const (
	ControlPath = "/dev/ublk-control"
	CharPath    = "/dev/ublkc%d" // where the server of a device takes its requests
	BlockPath   = "/dev/ublkb%d" // the disk
)

// Command is an opcode of the driver, encoded as an ioctl (UBLK_F_CMD_IOCTL_ENCODE, Linux 6.4).
type Command uint32

const (
	iocWrite = 1
	iocRead  = 2
	ctrlSize = 32 // struct ublksrv_ctrl_cmd
	ioSize   = 16 // struct ublksrv_io_cmd
)

// ioc is _IOC(dir, 'u', nr, size) as x86, arm64, riscv and s390x have it.
func ioc(dir, nr, size uint32) Command {
	return Command(dir<<30 | size<<16 | 'u'<<8 | nr)
}

// The control commands, sent to ControlPath.
var (
	CmdGetQueueAffinity = ioc(iocRead, 0x01, ctrlSize)
	CmdGetDevInfo       = ioc(iocRead, 0x02, ctrlSize)
	CmdAddDev           = ioc(iocRead|iocWrite, 0x04, ctrlSize)
	CmdDelDev           = ioc(iocRead|iocWrite, 0x05, ctrlSize)
	CmdStartDev         = ioc(iocRead|iocWrite, 0x06, ctrlSize)
	CmdStopDev          = ioc(iocRead|iocWrite, 0x07, ctrlSize)
	CmdSetParams        = ioc(iocRead|iocWrite, 0x08, ctrlSize)
	CmdGetParams        = ioc(iocRead, 0x09, ctrlSize)
	CmdStartRecovery    = ioc(iocRead|iocWrite, 0x10, ctrlSize)
	CmdEndRecovery      = ioc(iocRead|iocWrite, 0x11, ctrlSize)
	CmdGetFeatures      = ioc(iocRead, 0x13, ctrlSize)          // Linux 6.5
	CmdUpdateSize       = ioc(iocRead|iocWrite, 0x15, ctrlSize) // Linux 6.16
)

// The I/O commands, sent to the CharPath of a device.
var (
	IOFetch          = ioc(iocRead|iocWrite, 0x20, ioSize)
	IOCommitAndFetch = ioc(iocRead|iocWrite, 0x21, ioSize)
)

// The features of the driver (UBLK_F_*).
const (
	FeatureZeroCopy        uint64 = 1 << 0
	FeatureCompInTask      uint64 = 1 << 1
	FeatureNeedGetData     uint64 = 1 << 2
	FeatureRecovery        uint64 = 1 << 3
	FeatureReissue         uint64 = 1 << 4
	FeatureUnprivileged    uint64 = 1 << 5
	FeatureIoctlEncode     uint64 = 1 << 6
	FeatureUserCopy        uint64 = 1 << 7
	FeatureZoned           uint64 = 1 << 8
	FeatureRecoveryFailIO  uint64 = 1 << 9
	FeatureUpdateSize      uint64 = 1 << 10
	FeatureAutoBufReg      uint64 = 1 << 11
	FeatureQuiesce         uint64 = 1 << 12
	FeaturePerIODaemon     uint64 = 1 << 13
	FeatureBufRegOffDaemon uint64 = 1 << 14
	FeatureBatchIO         uint64 = 1 << 15
)

// Limits of the driver.
const (
	MaxQueueDepth = 4096
	MaxQueues     = 4096
	MaxIOBytes    = 32 << 20
	AnyID         = ^uint32(0) // CmdAddDev: the driver chooses
	NoQueue       = ^uint16(0) // Ctrl.QueueID of commands that concern no queue
	SectorShift   = 9          // all sectors are of 512 bytes, whatever the block size
)

// State is where a device is in its life (UBLK_S_DEV_*).
type State uint16

// The states of a device.
const (
	StateDead     State = iota // added and not started, or stopped
	StateLive                  // served
	StateQuiesced              // its server is gone; requests wait for the next one
	StateFailIO                // its server is gone; requests fail
)

// Ctrl is struct ublksrv_ctrl_cmd, in the command area of a 128-byte SQE.
type Ctrl struct {
	DevID      uint32
	QueueID    uint16
	Len        uint16 // of what Addr points to
	Addr       uint64
	Data       uint64
	DevPathLen uint16
	_          uint16
	_          uint32
}

// DevInfo is struct ublksrv_ctrl_dev_info.
type DevInfo struct {
	Queues     uint16
	Depth      uint16
	State      State
	_          uint16
	MaxIOBytes uint32
	DevID      uint32
	PID        int32 // of the server
	_          uint32
	Flags      uint64 // Feature…
	UserFlags  uint64 // for servers; the driver only keeps them
	OwnerUID   uint32
	OwnerGID   uint32
	_          uint64
	_          uint64
}

// Op is what a request of the disk asks for (UBLK_IO_OP_*).
type Op uint8

// The operations.
const (
	OpRead        Op = 0
	OpWrite       Op = 1
	OpFlush       Op = 2
	OpDiscard     Op = 3
	OpWriteSame   Op = 4 // never sent
	OpWriteZeroes Op = 5
)

// The flags of a request (UBLK_IO_F_*).
const (
	FlagFUA     uint32 = 1 << 13
	FlagNoUnmap uint32 = 1 << 15
)

// Desc is struct ublksrv_io_desc: a request, in memory that the driver shares with the server, one for each tag of a
// queue.
type Desc struct {
	OpFlags uint32
	Sectors uint32
	Start   uint64 // sector
	Addr    uint64
}

// Op returns the operation.
func (d *Desc) Op() Op { return Op(d.OpFlags) }

// IO is struct ublksrv_io_cmd, in the command area of an SQE of any size.
type IO struct {
	Queue  uint16
	Tag    uint16
	Result int32  // bytes, or a negative errno
	Addr   uint64 // of the tag's buffer; 0 with FeatureUserCopy
}

// Attributes of ParamBasic.
const (
	AttrReadOnly      uint32 = 1 << 0
	AttrRotational    uint32 = 1 << 1
	AttrVolatileCache uint32 = 1 << 2
	AttrFUA           uint32 = 1 << 3
)

// Params.Types.
const (
	ParamTypeBasic   uint32 = 1 << 0
	ParamTypeDiscard uint32 = 1 << 1
)

// ParamBasic is struct ublk_param_basic.
type ParamBasic struct {
	Attrs         uint32
	LogicalShift  uint8
	PhysicalShift uint8
	IOOptShift    uint8
	IOMinShift    uint8
	MaxSectors    uint32
	ChunkSectors  uint32
	DevSectors    uint64
	VirtBoundary  uint64
}

// ParamDiscard is struct ublk_param_discard.
type ParamDiscard struct {
	Alignment      uint32
	Granularity    uint32
	MaxSectors     uint32
	MaxZeroSectors uint32
	MaxSegments    uint16
	_              uint16
}

// Params is the beginning of struct ublk_params: what a disk without zones needs. The driver takes the length that
// Len says.
type Params struct {
	Len     uint32
	Types   uint32
	Basic   ParamBasic
	Discard ParamDiscard
	_       uint32 // the C structure is a multiple of 8 bytes
}

// descStride is how far the descriptors of the queues are apart in the driver's file.
const descStride = MaxQueueDepth * 24

// CopyOffset is the place in the CharPath of the data of a request, for pread and pwrite with FeatureUserCopy.
func CopyOffset(queue, tag uint16) int64 {
	return 0x80000000 + int64(queue)<<41 + int64(tag)<<25
}
