package iscsi

// maxTextAnswer is the text that the answer of one TextQuery may hold, in
// bytes: some ten thousand targets.
const maxTextAnswer = 4 << 20

// maxIdleTexts is the number of responses of one TextQuery that may bring
// nothing.
const maxIdleTexts = 64

// TextQuery is the initiator's side of one text exchange in full feature phase
// (RFC 7143 §6.2 and §11.10) as a machine, for SendTargets above all: a
// response goes in, a request comes out. It is not safe for concurrent use.
type TextQuery struct {
	itt     ITT
	maxSend int
	join    Joiner
	out     Splitter
	text    int
	idle    int
	answer  Keys
	done    bool
}

// NewTextQuery starts an exchange that sends keys, in data segments of maxSend
// bytes at most (Params.MaxSend).
func NewTextQuery(itt ITT, keys Keys, maxSend int) *TextQuery {
	q := &TextQuery{itt: itt, maxSend: maxSend, join: Joiner{Max: maxTextAnswer}}
	q.out.Set(keys.Append(nil))
	return q
}

// NewSendTargets starts the exchange that asks for a target's addresses
// (RFC 7143 appendix C): of one by name, of all with SendTargetsAll, in a
// normal session of its own with "". ParseTargets reads the Answer.
func NewSendTargets(itt ITT, target string, maxSend int) *TextQuery {
	return NewTextQuery(itt, Keys{{KeySendTargets, target}}, maxSend)
}

// First returns the first request with its data segment, DataLen set. The
// caller fills in Immediate, CmdSN and ExpStatSN.
func (q *TextQuery) First() (TextRequest, []byte) { return q.emit(NoTTT, [8]byte{}) }

// Step takes a Text Response with its data segment and returns the next
// request with its data segment. After Done there is none. An error ends the
// exchange; the target forgets it with the next one.
func (q *TextQuery) Step(r TextResponse, data []byte) (TextRequest, []byte, error) {
	if err := q.take(&r, data); err != nil || q.done {
		return TextRequest{}, nil, err
	}
	req, seg := q.emit(r.TTT, r.LUN)
	return req, seg, nil
}

func (q *TextQuery) emit(ttt TTT, lun [8]byte) (TextRequest, []byte) {
	seg, more := q.out.Next(q.maxSend)
	return TextRequest{Final: !more, Continue: more, LUN: lun, ITT: q.itt, TTT: ttt, DataLen: len(seg)}, seg
}

func (q *TextQuery) take(r *TextResponse, data []byte) error {
	q.text += len(data)
	if len(data) == 0 {
		q.idle++
	}
	switch {
	case q.done:
		return protocolErrorf(RejectProtocol, "a Text Response after the end of the exchange")
	case r.ITT != q.itt:
		return protocolErrorf(RejectProtocol, "a Text Response with task tag %#x, not %#x", uint32(r.ITT), uint32(q.itt))
	case q.idle > maxIdleTexts:
		return protocolErrorf(RejectLongOperation, "%d Text Responses brought nothing", maxIdleTexts)
	case q.text > maxTextAnswer:
		return protocolErrorf(RejectLongOperation, "the answer has more than %d bytes of text", maxTextAnswer)
	case !r.Final && r.TTT == NoTTT:
		return protocolErrorf(RejectProtocol, "a Text Response that is not final has no transfer tag")
	case q.out.Pending():
		if len(data) > 0 || r.Final || r.Continue {
			return protocolErrorf(RejectProtocol, "the target answered before the request was complete")
		}
		return nil
	}
	text, complete, err := q.join.Add(data, r.Continue)
	if err != nil || !complete {
		return err
	}
	keys, err := ParseText(text)
	if err != nil {
		return err
	}
	// A text may end before the exchange does: the next one goes on.
	q.answer = append(q.answer, keys...)
	q.done = r.Final
	return nil
}

// Done reports whether the answer is complete.
func (q *TextQuery) Done() bool { return q.done }

// Answer returns the keys that the target answered; valid after Done.
func (q *TextQuery) Answer() Keys { return q.answer }

// Targets returns the answer to SendTargets; valid after Done.
func (q *TextQuery) Targets() ([]TargetRecord, error) {
	if v, ok := q.answer.Get(KeySendTargets); ok {
		return nil, protocolErrorf(RejectProtocol, "the target answered %q to SendTargets", clip(v))
	}
	return ParseTargets(q.answer)
}
