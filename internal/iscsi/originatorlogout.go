package iscsi

import "fmt"

// LogoutSessionRequest returns the request that closes a session of one
// connection. It is immediate, so that it does not wait for the command
// window: the commands before it are done, or lost to their sender.
func LogoutSessionRequest(itt ITT, cmdSN CmdSN, exp StatSN) LogoutRequest {
	return LogoutRequest{Immediate: true, Reason: LogoutSession, ITT: itt, CmdSN: cmdSN, ExpStatSN: exp}
}

// String returns the words of RFC 7143.
func (r LogoutResult) String() string {
	switch r {
	case LogoutDone:
		return "closed"
	case LogoutNoCID:
		return "CID not found"
	case LogoutNoRecovery:
		return "connection recovery not supported"
	case LogoutCleanupFail:
		return "cleanup failed"
	}
	return fmt.Sprintf("logout result %d", uint8(r))
}

// Err returns nil when the logout of request itt was done, else why not.
func (r *LogoutResponse) Err(itt ITT) error {
	switch {
	case r.ITT != itt:
		return protocolErrorf(RejectProtocol, "a Logout Response with task tag %#x, not %#x", uint32(r.ITT), uint32(itt))
	case r.Result != LogoutDone:
		return protocolErrorf(RejectProtocol, "the target answered the logout with %v", r.Result)
	}
	return nil
}
