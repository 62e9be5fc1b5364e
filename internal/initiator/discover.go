package initiator

import (
	"context"
	"fmt"

	"sango/internal/iscsi"
)

// textITT is the tag of the requests of a discovery session after the login.
const textITT iscsi.ITT = 1

// maxTextPDUs bounds the responses to SendTargets: pings in between as well.
const maxTextPDUs = 4096

// Discover asks cfg.Portal for its targets by SendTargets: all that this
// initiator may see, or cfg.Target alone where that is not empty. CHAP is used
// as for a login.
func Discover(ctx context.Context, cfg Config) ([]iscsi.TargetRecord, error) {
	target := cfg.Target
	if err := cfg.check(true); err != nil {
		return nil, err
	}
	cfg.Target = ""
	if target == "" {
		target = iscsi.SendTargetsAll
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.LoginTimeout)
	defer cancel()
	l, o, err := cfg.login(ctx, true)
	if err != nil {
		return nil, err
	}
	release := closeAtEnd(ctx, l.conn)
	records, err := l.sendTargets(o, target)
	if !release() {
		err = timedOut(ctx, err)
	}
	if err != nil {
		closeAbortively(l.conn)
		return nil, fmt.Errorf("portal %s: discovery: %w", cfg.Portal, err)
	}
	_ = l.conn.Close()
	return records, nil
}

// sendTargets runs the exchange and logs out.
func (l *link) sendTargets(o *iscsi.Originator, target string) ([]iscsi.TargetRecord, error) {
	p := o.Outcome()
	q := iscsi.NewSendTargets(textITT, target, p.MaxSend)
	req, text := q.First()
	cmdSN, statSN := o.CmdSN(), o.ExpStatSN()
	for range maxTextPDUs {
		req.CmdSN, req.ExpStatSN = cmdSN, statSN
		var h iscsi.BHS
		req.Put(&h)
		if !req.Immediate {
			cmdSN++
		}
		data, err := l.exchange(&h, text)
		if err != nil {
			return nil, err
		}
		if data, err = l.textResponse(data, cmdSN, statSN); err != nil {
			return nil, err
		}
		resp, err := iscsi.ParseTextResponse(&l.h)
		if err != nil {
			return nil, err
		}
		statSN = resp.StatSN + 1
		if req, text, err = q.Step(resp, data); err != nil {
			return nil, err
		}
		if q.Done() {
			l.sayGoodbye(cmdSN, statSN)
			return q.Targets()
		}
	}
	return nil, peerErrorf("its answer to SendTargets does not end")
}

// textResponse answers pings until a PDU of another kind comes, which is to be
// a Text Response. data is that of the PDU at hand.
func (l *link) textResponse(data []byte, cmdSN iscsi.CmdSN, statSN iscsi.StatSN) ([]byte, error) {
	for range maxTextPDUs {
		switch l.h.Opcode() {
		case iscsi.OpNopIn:
			n, err := iscsi.ParseNopIn(&l.h)
			if err != nil {
				return nil, err
			}
			if n.TTT == iscsi.NoTTT {
				if err := l.next(); err != nil {
					return nil, err
				}
				if data, err = l.readInto(make([]byte, l.unread)); err != nil {
					return nil, err
				}
				continue
			}
			var h iscsi.BHS
			pong := iscsi.NopOut{Immediate: true, LUN: n.LUN, ITT: iscsi.NoITT, TTT: n.TTT, CmdSN: cmdSN, ExpStatSN: statSN}
			pong.Put(&h)
			if data, err = l.exchange(&h, nil); err != nil {
				return nil, err
			}
		case iscsi.OpReject:
			r, err := iscsi.ParseReject(&l.h)
			if err != nil {
				return nil, err
			}
			return nil, peerErrorf("it rejected SendTargets: %v", r.Reason)
		default:
			return data, nil
		}
	}
	return nil, peerErrorf("it pings and does not answer")
}

// sayGoodbye logs out, for the target's sake: the answer is here already.
func (l *link) sayGoodbye(cmdSN iscsi.CmdSN, statSN iscsi.StatSN) {
	var h iscsi.BHS
	r := iscsi.LogoutRequest{Immediate: true, Reason: iscsi.LogoutSession, ITT: textITT + 1, CmdSN: cmdSN, ExpStatSN: statSN}
	r.Put(&h)
	_, _ = l.exchange(&h, nil)
}
