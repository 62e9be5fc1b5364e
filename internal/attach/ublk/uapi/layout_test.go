package uapi

import (
	"testing"
	"unsafe"
)

// The numbers are those that a C compiler gives for <linux/ublk_cmd.h> and <linux/io_uring.h> on 64-bit machines.
func TestLayouts(t *testing.T) {
	var (
		ctrl    Ctrl
		info    DevInfo
		desc    Desc
		io      IO
		basic   ParamBasic
		discard ParamDiscard
		par     Params
		ring    ringParams
		sq      sqOffsets
		cq      cqOffsets
		s       sqe
		c       cqe
		pr      probe
		op      probeOp
		pinned  = func(name string, got, want uintptr) { t.Helper(); check(t, name, got, want) }
	)
	pinned("ctrl_cmd", unsafe.Sizeof(ctrl), 32)
	pinned("ctrl_cmd.dev_id", unsafe.Offsetof(ctrl.DevID), 0)
	pinned("ctrl_cmd.queue_id", unsafe.Offsetof(ctrl.QueueID), 4)
	pinned("ctrl_cmd.len", unsafe.Offsetof(ctrl.Len), 6)
	pinned("ctrl_cmd.addr", unsafe.Offsetof(ctrl.Addr), 8)
	pinned("ctrl_cmd.data", unsafe.Offsetof(ctrl.Data), 16)
	pinned("ctrl_cmd.dev_path_len", unsafe.Offsetof(ctrl.DevPathLen), 24)

	pinned("dev_info", unsafe.Sizeof(info), 64)
	pinned("dev_info.nr_hw_queues", unsafe.Offsetof(info.Queues), 0)
	pinned("dev_info.queue_depth", unsafe.Offsetof(info.Depth), 2)
	pinned("dev_info.state", unsafe.Offsetof(info.State), 4)
	pinned("dev_info.max_io_buf_bytes", unsafe.Offsetof(info.MaxIOBytes), 8)
	pinned("dev_info.dev_id", unsafe.Offsetof(info.DevID), 12)
	pinned("dev_info.ublksrv_pid", unsafe.Offsetof(info.PID), 16)
	pinned("dev_info.flags", unsafe.Offsetof(info.Flags), 24)
	pinned("dev_info.ublksrv_flags", unsafe.Offsetof(info.UserFlags), 32)
	pinned("dev_info.owner_uid", unsafe.Offsetof(info.OwnerUID), 40)
	pinned("dev_info.owner_gid", unsafe.Offsetof(info.OwnerGID), 44)

	pinned("io_desc", unsafe.Sizeof(desc), 24)
	pinned("io_desc.op_flags", unsafe.Offsetof(desc.OpFlags), 0)
	pinned("io_desc.nr_sectors", unsafe.Offsetof(desc.Sectors), 4)
	pinned("io_desc.start_sector", unsafe.Offsetof(desc.Start), 8)
	pinned("io_desc.addr", unsafe.Offsetof(desc.Addr), 16)

	pinned("io_cmd", unsafe.Sizeof(io), 16)
	pinned("io_cmd.q_id", unsafe.Offsetof(io.Queue), 0)
	pinned("io_cmd.tag", unsafe.Offsetof(io.Tag), 2)
	pinned("io_cmd.result", unsafe.Offsetof(io.Result), 4)
	pinned("io_cmd.addr", unsafe.Offsetof(io.Addr), 8)

	pinned("param_basic", unsafe.Sizeof(basic), 32)
	pinned("param_basic.attrs", unsafe.Offsetof(basic.Attrs), 0)
	pinned("param_basic.logical_bs_shift", unsafe.Offsetof(basic.LogicalShift), 4)
	pinned("param_basic.physical_bs_shift", unsafe.Offsetof(basic.PhysicalShift), 5)
	pinned("param_basic.io_opt_shift", unsafe.Offsetof(basic.IOOptShift), 6)
	pinned("param_basic.io_min_shift", unsafe.Offsetof(basic.IOMinShift), 7)
	pinned("param_basic.max_sectors", unsafe.Offsetof(basic.MaxSectors), 8)
	pinned("param_basic.chunk_sectors", unsafe.Offsetof(basic.ChunkSectors), 12)
	pinned("param_basic.dev_sectors", unsafe.Offsetof(basic.DevSectors), 16)
	pinned("param_basic.virt_boundary_mask", unsafe.Offsetof(basic.VirtBoundary), 24)

	pinned("param_discard", unsafe.Sizeof(discard), 20)
	pinned("param_discard.discard_alignment", unsafe.Offsetof(discard.Alignment), 0)
	pinned("param_discard.discard_granularity", unsafe.Offsetof(discard.Granularity), 4)
	pinned("param_discard.max_discard_sectors", unsafe.Offsetof(discard.MaxSectors), 8)
	pinned("param_discard.max_write_zeroes_sectors", unsafe.Offsetof(discard.MaxZeroSectors), 12)
	pinned("param_discard.max_discard_segments", unsafe.Offsetof(discard.MaxSegments), 16)

	pinned("params", unsafe.Sizeof(par), 64)
	pinned("params.len", unsafe.Offsetof(par.Len), 0)
	pinned("params.types", unsafe.Offsetof(par.Types), 4)
	pinned("params.basic", unsafe.Offsetof(par.Basic), 8)
	pinned("params.discard", unsafe.Offsetof(par.Discard), 40)

	pinned("io_uring_params", unsafe.Sizeof(ring), 120)
	pinned("io_uring_params.sq_entries", unsafe.Offsetof(ring.sqEntries), 0)
	pinned("io_uring_params.cq_entries", unsafe.Offsetof(ring.cqEntries), 4)
	pinned("io_uring_params.flags", unsafe.Offsetof(ring.flags), 8)
	pinned("io_uring_params.features", unsafe.Offsetof(ring.features), 20)
	pinned("io_uring_params.wq_fd", unsafe.Offsetof(ring.wqFD), 24)
	pinned("io_uring_params.sq_off", unsafe.Offsetof(ring.sqOff), 40)
	pinned("io_uring_params.cq_off", unsafe.Offsetof(ring.cqOff), 80)
	pinned("io_sqring_offsets", unsafe.Sizeof(sq), 40)
	pinned("io_sqring_offsets.array", unsafe.Offsetof(sq.array), 24)
	pinned("io_cqring_offsets", unsafe.Sizeof(cq), 40)
	pinned("io_cqring_offsets.cqes", unsafe.Offsetof(cq.cqes), 20)

	pinned("io_uring_sqe", unsafe.Sizeof(s), 64)
	pinned("io_uring_sqe.opcode", unsafe.Offsetof(s.opcode), 0)
	pinned("io_uring_sqe.flags", unsafe.Offsetof(s.flags), 1)
	pinned("io_uring_sqe.fd", unsafe.Offsetof(s.fd), 4)
	pinned("io_uring_sqe.off", unsafe.Offsetof(s.off), 8)
	pinned("io_uring_sqe.addr", unsafe.Offsetof(s.addr), 16)
	pinned("io_uring_sqe.len", unsafe.Offsetof(s.len), 24)
	pinned("io_uring_sqe.user_data", unsafe.Offsetof(s.userData), 32)
	pinned("io_uring_sqe.buf_index", unsafe.Offsetof(s.bufIndex), 40)
	pinned("io_uring_sqe.cmd", unsafe.Offsetof(s.cmd), 48)
	pinned("io_uring_cqe", unsafe.Sizeof(c), 16)
	pinned("io_uring_cqe.res", unsafe.Offsetof(c.res), 8)
	pinned("io_uring_probe", unsafe.Sizeof(pr), 16+256*8)
	pinned("io_uring_probe.ops", unsafe.Offsetof(pr.ops), 16)
	pinned("io_uring_probe_op", unsafe.Sizeof(op), 8)
	pinned("io_uring_probe_op.flags", unsafe.Offsetof(op.flags), 2)
}

func check(t *testing.T, name string, got, want uintptr) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %d, want %d", name, got, want)
	}
}

// The opcodes as C's _IOR and _IOWR make them.
func TestCommands(t *testing.T) {
	for _, c := range []struct {
		name      string
		got, want Command
	}{
		{"GET_QUEUE_AFFINITY", CmdGetQueueAffinity, 0x80207501},
		{"GET_DEV_INFO", CmdGetDevInfo, 0x80207502},
		{"ADD_DEV", CmdAddDev, 0xc0207504},
		{"DEL_DEV", CmdDelDev, 0xc0207505},
		{"START_DEV", CmdStartDev, 0xc0207506},
		{"STOP_DEV", CmdStopDev, 0xc0207507},
		{"SET_PARAMS", CmdSetParams, 0xc0207508},
		{"GET_PARAMS", CmdGetParams, 0x80207509},
		{"START_USER_RECOVERY", CmdStartRecovery, 0xc0207510},
		{"END_USER_RECOVERY", CmdEndRecovery, 0xc0207511},
		{"GET_FEATURES", CmdGetFeatures, 0x80207513},
		{"UPDATE_SIZE", CmdUpdateSize, 0xc0207515},
		{"FETCH_REQ", IOFetch, 0xc0107520},
		{"COMMIT_AND_FETCH_REQ", IOCommitAndFetch, 0xc0107521},
	} {
		if c.got != c.want {
			t.Errorf("%s: %#x, want %#x", c.name, uint32(c.got), uint32(c.want))
		}
	}
}

func TestCopyOffset(t *testing.T) {
	for _, c := range []struct {
		queue, tag uint16
		want       int64
	}{
		{0, 0, 0x8000_0000},
		{0, 1, 0x8200_0000},
		{1, 0, 0x200_8000_0000},
		{3, 4095, 0x80000000 + 3<<41 + 4095<<25},
	} {
		if got := CopyOffset(c.queue, c.tag); got != c.want {
			t.Errorf("queue %d, tag %d: %#x, want %#x", c.queue, c.tag, got, c.want)
		}
	}
}

func TestDescOp(t *testing.T) {
	d := Desc{OpFlags: uint32(OpWriteZeroes) | FlagFUA | FlagNoUnmap}
	if d.Op() != OpWriteZeroes {
		t.Errorf("%d", d.Op())
	}
}
