package iscsi

// maxTextPDUs is the number of requests that one text exchange may take.
const maxTextPDUs = 64

// maxTextRequest is the text that one request of it, over all its PDUs, may
// bring, in bytes.
const maxTextRequest = 16 << 10

// TextExchange answers the Text Requests of a connection in full feature phase
// (RFC 7143 §6.2 and §11.10): SendTargets and what little may be negotiated
// again. One exchange runs at a time; a request that starts one ends any that
// was left over. It is not safe for concurrent use.
type TextExchange struct {
	params  *Params
	targets func(name string) []TargetRecord

	active bool
	itt    ITT
	ttt    TTT
	pdus   int
	neg    *Negotiation
	join   Joiner
	out    Splitter
}

// NewTextExchange serves the connection whose parameters in force are p; they
// change with the last response of an exchange. targets returns what the
// initiator may see: the target of that name, or all for "".
func NewTextExchange(p *Params, targets func(name string) []TargetRecord) *TextExchange {
	return &TextExchange{params: p, targets: targets, join: Joiner{Max: maxTextRequest}}
}

// Step takes a Text Request with its data segment and returns the response
// with its data segment, DataLen set. The caller fills in StatSN, ExpCmdSN and
// MaxCmdSN. A *ProtocolError is answered with a Reject; the exchange is over
// then and parameters stay as they were (RFC 7143 §7.12).
func (x *TextExchange) Step(r TextRequest, data []byte) (TextResponse, []byte, error) {
	resp := TextResponse{ITT: r.ITT, TTT: NoTTT, LUN: r.LUN}
	text, err := x.step(&r, data, &resp)
	if err != nil {
		x.Reset()
		return TextResponse{}, nil, err
	}
	resp.DataLen = len(text)
	return resp, text, nil
}

// Reset forgets an exchange under way.
func (x *TextExchange) Reset() {
	x.active, x.neg, x.pdus = false, nil, 0
	x.join.Reset()
	x.out.Set(nil)
}

func (x *TextExchange) step(r *TextRequest, data []byte, resp *TextResponse) ([]byte, error) {
	if r.TTT == NoTTT {
		x.Reset()
		x.active, x.itt = true, r.ITT
		if x.ttt++; x.ttt == NoTTT {
			x.ttt = 0
		}
		x.neg = Renegotiate(*x.params)
	} else if !x.active || r.TTT != x.ttt || r.ITT != x.itt {
		return nil, protocolErrorf(RejectProtocol, "a Text Request with transfer tag %#x goes on from nothing", uint32(r.TTT))
	}
	if x.pdus++; x.pdus > maxTextPDUs {
		return nil, protocolErrorf(RejectLongOperation, "more than %d Text Requests in one exchange", maxTextPDUs)
	}
	if x.out.Pending() {
		if len(data) > 0 || r.Continue {
			return nil, protocolErrorf(RejectProtocol, "text while the response is not complete")
		}
		return x.emit(r, resp), nil
	}
	text, complete, err := x.join.Add(data, r.Continue)
	if err != nil {
		return nil, err
	}
	if !complete {
		resp.TTT = x.ttt
		return nil, nil
	}
	keys, err := ParseText(text)
	if err != nil {
		return nil, err
	}
	answers, err := x.answer(keys)
	if err != nil {
		return nil, err
	}
	x.out.Set(answers.Append(nil))
	return x.emit(r, resp), nil
}

// answer takes one complete text.
func (x *TextExchange) answer(keys Keys) (Keys, error) {
	var out, rest Keys
	for _, p := range keys {
		switch {
		case p.Key == KeySendTargets:
			if x.neg.seen[p.Key] {
				return nil, protocolErrorf(RejectProtocol, "key %s came a second time", p.Key)
			}
			x.neg.seen[p.Key] = true
			out = append(out, x.sendTargets(p.Value)...)
		case p.Key == KeyAuthMethod || isCHAPKey(p.Key):
			out.add(p.Key, ValueReject) // of the login phase only
		default:
			rest = append(rest, p)
		}
	}
	answers, err := x.neg.Answer(rest, PhaseFull)
	return append(out, answers...), err
}

// emit hands out the next part of the text at hand. The exchange ends with a
// part that is the last and answers a final request.
func (x *TextExchange) emit(r *TextRequest, resp *TextResponse) []byte {
	seg, more := x.out.Next(x.params.MaxSend)
	resp.Continue = more
	if more || !r.Final {
		resp.TTT = x.ttt
		return seg
	}
	resp.Final = true
	*x.params = x.neg.Outcome()
	x.Reset()
	return seg
}
