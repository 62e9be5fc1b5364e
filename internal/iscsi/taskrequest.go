package iscsi

import "fmt"

// TaskFunction is a task management function (RFC 7143 §11.5.1).
type TaskFunction uint8

// The task management functions.
const (
	AbortTask        TaskFunction = 1
	AbortTaskSet     TaskFunction = 2
	ClearACA         TaskFunction = 3
	ClearTaskSet     TaskFunction = 4
	LogicalUnitReset TaskFunction = 5
	TargetWarmReset  TaskFunction = 6
	TargetColdReset  TaskFunction = 7
	TaskReassign     TaskFunction = 8
)

// String returns the name of RFC 7143.
func (f TaskFunction) String() string {
	switch f {
	case AbortTask:
		return "ABORT TASK"
	case AbortTaskSet:
		return "ABORT TASK SET"
	case ClearACA:
		return "CLEAR ACA"
	case ClearTaskSet:
		return "CLEAR TASK SET"
	case LogicalUnitReset:
		return "LOGICAL UNIT RESET"
	case TargetWarmReset:
		return "TARGET WARM RESET"
	case TargetColdReset:
		return "TARGET COLD RESET"
	case TaskReassign:
		return "TASK REASSIGN"
	}
	return fmt.Sprintf("task management function %d", uint8(f))
}

// TaskRequest is a Task Management Function Request PDU (RFC 7143 §11.5).
type TaskRequest struct {
	Immediate bool
	Function  TaskFunction
	LUN       [8]byte
	ITT       ITT
	RefTag    ITT // the task to abort or reassign; NoITT for other functions
	CmdSN     CmdSN
	ExpStatSN StatSN
	RefCmdSN  CmdSN // the CmdSN of the task to abort
	ExpDataSN DataSN
	DataLen   int // must be 0
}

// ParseTaskRequest reads a Task Management Function Request PDU. It refuses
// the reserved task tag and a data segment. An unknown function is left to
// the caller, who answers it with TaskNotSupported.
func ParseTaskRequest(h *BHS) (TaskRequest, error) {
	if err := h.expect(OpTaskRequest); err != nil {
		return TaskRequest{}, err
	}
	r := TaskRequest{
		Immediate: h.Immediate(),
		Function:  TaskFunction(h[1] & 0x7f),
		LUN:       h.lun(),
		ITT:       h.ITT(),
		RefTag:    ITT(h.u32(20)),
		CmdSN:     h.CmdSN(),
		ExpStatSN: h.ExpStatSN(),
		RefCmdSN:  CmdSN(h.u32(32)),
		ExpDataSN: DataSN(h.u32(36)),
		DataLen:   h.DataLen(),
	}
	switch {
	case r.ITT == NoITT:
		return TaskRequest{}, protocolErrorf(RejectInvalidField, "%v has the reserved task tag", r.Function)
	case r.DataLen != 0:
		return TaskRequest{}, protocolErrorf(RejectInvalidField, "%v has a data segment of %d bytes", r.Function, r.DataLen)
	}
	return r, nil
}

// Put writes the PDU's header.
func (r *TaskRequest) Put(h *BHS) {
	h.start(OpTaskRequest, r.DataLen)
	h.flag(0, immediateBit, r.Immediate)
	h[1] = finalBit | byte(r.Function)&0x7f
	h.putLUN(r.LUN)
	h.put32(16, uint32(r.ITT))
	h.put32(20, uint32(r.RefTag))
	h.put32(24, uint32(r.CmdSN))
	h.put32(28, uint32(r.ExpStatSN))
	h.put32(32, uint32(r.RefCmdSN))
	h.put32(36, uint32(r.ExpDataSN))
}
