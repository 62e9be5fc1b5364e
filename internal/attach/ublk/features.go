package ublk

import (
	"errors"

	"sango/internal/attach/ublk/uapi"
)

// Feature is a feature of the driver, and what this package makes of it.
type Feature struct {
	Bit   uint64
	Name  string
	Since string // the first kernel that has it
	Need  Need
	Why   string
}

// Need says how a feature is used.
type Need uint8

// The uses of a feature.
const (
	Unused   Need = iota // not asked for
	Wanted               // asked for where the kernel has it
	Required             // without it there is no disk
)

// Features are the driver's features, in the order of their bits.
var Features = []Feature{
	{uapi.FeatureZeroCopy, "SUPPORT_ZERO_COPY", "6.15", Unused, "the device has to see the data"},
	{uapi.FeatureCompInTask, "URING_CMD_COMP_IN_TASK", "6.0", Unused, "newer kernels always do it"},
	{uapi.FeatureNeedGetData, "NEED_GET_DATA", "6.0", Unused, "each tag has its buffer from the start; user copy does the same without a round trip"},
	{uapi.FeatureRecovery, "USER_RECOVERY", "6.1", Required, "the disk outlives the process"},
	{uapi.FeatureReissue, "USER_RECOVERY_REISSUE", "6.1", Required, "what was under way is issued again and not failed"},
	{uapi.FeatureUnprivileged, "UNPRIVILEGED_DEV", "6.3", Unused, "such a disk has neither recovery nor user copy"},
	{uapi.FeatureIoctlEncode, "CMD_IOCTL_ENCODE", "6.4", Required, "newer kernels refuse the older opcodes"},
	{uapi.FeatureUserCopy, "USER_COPY", "6.5", Wanted, "reads are copied by whoever ends them, not all by the queue's thread"},
	{uapi.FeatureZoned, "ZONED", "6.6", Unused, "volumes have no zones"},
	{uapi.FeatureRecoveryFailIO, "USER_RECOVERY_FAIL_IO", "6.13", Unused, "requests wait for the next process"},
	{uapi.FeatureUpdateSize, "UPDATE_SIZE", "6.16", Wanted, "the disk follows the volume's size"},
	{uapi.FeatureAutoBufReg, "AUTO_BUF_REG", "6.16", Unused, "part of zero copy"},
	{uapi.FeatureQuiesce, "QUIESCE", "6.16", Unused, "being left must work without it, as after a kill"},
	{uapi.FeaturePerIODaemon, "PER_IO_DAEMON", "6.16", Unused, "one thread a queue is enough where the device does the work"},
	{uapi.FeatureBufRegOffDaemon, "BUF_REG_OFF_DAEMON", "6.16", Unused, "part of zero copy"},
	{uapi.FeatureBatchIO, "BATCH_IO", "7.0", Unused, "io_uring batches the commands already"},
}

// oldest is what a kernel has that can't tell (GET_FEATURES came with 6.5) and takes encoded commands.
const oldest = uapi.FeatureRecovery | uapi.FeatureReissue | uapi.FeatureIoctlEncode

// choose returns what to ask the driver for, of what it has. Without userCopy data is copied plainly.
func choose(has uint64, userCopy bool) (uint64, error) {
	var flags uint64
	for _, f := range Features {
		switch {
		case f.Need == Unused:
		case f.Bit == uapi.FeatureUserCopy && !userCopy:
		case has&f.Bit != 0:
			flags |= f.Bit
		case f.Need == Required:
			return 0, errors.New("the ublk driver of this kernel has no " + f.Name + ", which came with Linux " + f.Since +
				": use a newer kernel, or attach the volume as nbd")
		}
	}
	return flags, nil
}
