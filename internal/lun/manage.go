package lun

// Function is a task management function. The values are those of the iSCSI
// Task Management Function Request (RFC 7143 §11.5.1).
type Function uint8

// The task management functions (SAM-5 §7).
const (
	AbortTask        Function = 1
	AbortTaskSet     Function = 2
	ClearACA         Function = 3
	ClearTaskSet     Function = 4
	LogicalUnitReset Function = 5
	TargetWarmReset  Function = 6
	TargetColdReset  Function = 7
	TaskReassign     Function = 8
	QueryTask        Function = 9
	QueryTaskSet     Function = 10
	NexusReset       Function = 11
	QueryAsyncEvent  Function = 12
)

// TMF is a request for a task management function.
type TMF struct {
	Function Function
	LUN      [8]byte // as in the PDU; not looked at by target resets
	RefTag   uint32  // initiator task tag of the task meant by AbortTask and QueryTask
}

// TMFResponse is the answer to a TMF. The values are those of the iSCSI Task
// Management Function Response (RFC 7143 §11.6.1, RFC 7144 §5.1).
type TMFResponse uint8

// The answers.
const (
	TMFComplete      TMFResponse = 0   // FUNCTION COMPLETE
	TMFNoTask        TMFResponse = 1   // task does not exist
	TMFNoLUN         TMFResponse = 2   // INCORRECT LOGICAL UNIT NUMBER
	TMFAllegiant     TMFResponse = 3   // task still allegiant
	TMFNoReassign    TMFResponse = 4   // task allegiance reassignment not supported
	TMFNotSupported  TMFResponse = 5   // task management function not supported
	TMFAuthorization TMFResponse = 6   // function authorization failed
	TMFSucceeded     TMFResponse = 7   // FUNCTION SUCCEEDED: the queried task is there
	TMFRejected      TMFResponse = 255 // function rejected
)

// Manage performs f. done is called once, from any goroutine, when the tasks
// that f affects can no longer touch the medium; it must not block.
func (n *Nexus) Manage(f TMF, done func(TMFResponse)) { done(TMFNotSupported) }
