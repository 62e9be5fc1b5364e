package iscsi

// TaskResult is the response to a task management function (RFC 7143
// §11.6.1).
type TaskResult uint8

// The task management results.
const (
	TaskComplete          TaskResult = 0
	TaskNoSuchTask        TaskResult = 1
	TaskNoSuchLUN         TaskResult = 2
	TaskStillAllegiant    TaskResult = 3
	TaskNoReassign        TaskResult = 4 // task allegiance reassignment not supported
	TaskNotSupported      TaskResult = 5 // task management function not supported
	TaskAuthorizationFail TaskResult = 6
	TaskRejected          TaskResult = 255
)

// TaskResponse is a Task Management Function Response PDU (RFC 7143 §11.6).
type TaskResponse struct {
	Result   TaskResult
	ITT      ITT
	StatSN   StatSN
	ExpCmdSN CmdSN
	MaxCmdSN CmdSN
}

// ParseTaskResponse reads a Task Management Function Response PDU.
func ParseTaskResponse(h *BHS) (TaskResponse, error) {
	if err := h.expect(OpTaskResponse); err != nil {
		return TaskResponse{}, err
	}
	return TaskResponse{
		Result:   TaskResult(h[2]),
		ITT:      h.ITT(),
		StatSN:   StatSN(h.u32(24)),
		ExpCmdSN: CmdSN(h.u32(28)),
		MaxCmdSN: CmdSN(h.u32(32)),
	}, nil
}

// Put writes the PDU's header.
func (r *TaskResponse) Put(h *BHS) {
	h.start(OpTaskResponse, 0)
	h[1] = finalBit
	h[2] = byte(r.Result)
	h.put32(16, uint32(r.ITT))
	h.put32(24, uint32(r.StatSN))
	h.put32(28, uint32(r.ExpCmdSN))
	h.put32(32, uint32(r.MaxCmdSN))
}
