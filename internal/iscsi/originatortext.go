package iscsi

// TextQuery is the initiator's side of one text exchange in full feature phase
// (RFC 7143 §6.2 and §11.10) as a machine, for SendTargets above all. It is
// not safe for concurrent use.
type TextQuery struct {
	itt     ITT
	maxSend int
	join    Joiner
	out     Splitter
	answer  Keys
	done    bool
}

// NewTextQuery starts an exchange that sends keys, in data segments of maxSend
// bytes at most (Params.MaxSend).
func NewTextQuery(itt ITT, keys Keys, maxSend int) *TextQuery {
	return &TextQuery{itt: itt, maxSend: maxSend}
}

// NewSendTargets starts the exchange that asks for a target's addresses
// (RFC 7143 appendix C): of one by name, of all with SendTargetsAll, in a
// normal session of its own with "". ParseTargets reads the Answer.
func NewSendTargets(itt ITT, target string, maxSend int) *TextQuery {
	return NewTextQuery(itt, Keys{{KeySendTargets, target}}, maxSend)
}

// First returns the first request with its data segment, DataLen set. The
// caller fills in CmdSN, ExpStatSN and Immediate.
func (q *TextQuery) First() (TextRequest, []byte) { return TextRequest{}, nil }

// Step takes a Text Response with its data segment and returns the next
// request with its data segment. After Done there is none. An error ends the
// exchange.
func (q *TextQuery) Step(r TextResponse, data []byte) (TextRequest, []byte, error) {
	return TextRequest{}, nil, nil
}

// Done reports whether the answer is complete.
func (q *TextQuery) Done() bool { return q.done }

// Answer returns the keys that the target answered; valid after Done.
func (q *TextQuery) Answer() Keys { return q.answer }
