package iscsi

import (
	"errors"
	"fmt"
	"testing"
)

func testTargets(n int) func(string) []TargetRecord {
	var all []TargetRecord
	for i := range n {
		all = append(all, TargetRecord{Name: fmt.Sprintf("iqn.t%d", i), Addresses: []TargetAddress{{"10.0.0.1:3260", 1}, {"[fd00::1]:3261", 2}}})
	}
	return func(name string) []TargetRecord {
		if name == "" {
			return all
		}
		for i := range all {
			if all[i].Name == name {
				return all[i : i+1]
			}
		}
		return nil
	}
}

const (
	t0 = "TargetName=iqn.t0 TargetAddress=10.0.0.1:3260,1 TargetAddress=[fd00::1]:3261,2"
	t1 = "TargetName=iqn.t1 TargetAddress=10.0.0.1:3260,1 TargetAddress=[fd00::1]:3261,2"
)

func discovery() *Params {
	p := DefaultParams()
	p.Discovery = true
	return &p
}

func normal() *Params {
	p := DefaultParams()
	p.TargetName = "iqn.t0"
	return &p
}

// ask runs an exchange of one request, with as many empty ones as the answer
// takes.
func ask(t *testing.T, x *TextExchange, text string) string {
	t.Helper()
	r := TextRequest{Final: true, ITT: 7, TTT: NoTTT}
	data := pairs(text).Append(nil)
	var all []byte
	for {
		resp, out, err := x.Step(r, data)
		if err != nil {
			t.Fatal(err)
		}
		var h BHS
		resp.Put(&h)
		if again, err := ParseTextResponse(&h); err != nil || again != resp {
			t.Fatalf("%+v, %v", again, err)
		}
		all = append(all, out...)
		if resp.Final {
			break
		}
		r.TTT, data = resp.TTT, nil
	}
	keys, err := ParseText(all)
	if err != nil {
		t.Fatal(err)
	}
	return show(keys)
}

func TestSendTargets(t *testing.T) {
	for _, c := range []struct {
		params *Params
		value  string
		want   string
	}{
		{discovery(), "All", t0 + " " + t1},
		{discovery(), "iqn.t1", t1},
		{discovery(), "iqn.none", ""},
		{discovery(), "", "SendTargets=Reject"},
		{discovery(), "a,b", "SendTargets=Reject"},
		{normal(), "", t0},
		{normal(), "iqn.t0", t0},
		{normal(), "iqn.t1", "SendTargets=Reject"},
		{normal(), "All", "SendTargets=Reject"},
	} {
		x := NewTextExchange(c.params, testTargets(2))
		if got := ask(t, x, "SendTargets="+c.value); got != c.want {
			t.Errorf("SendTargets=%s, discovery %v: %q, want %q", c.value, c.params.Discovery, got, c.want)
		}
		if got := ask(t, x, "SendTargets="+c.value); got != c.want {
			t.Errorf("asked again: %q", got)
		}
	}
}

func TestLongAnswerInParts(t *testing.T) {
	p := discovery()
	p.MaxSend = 512
	x := NewTextExchange(p, testTargets(100))
	records, err := ParseTargets(pairs(ask(t, x, "SendTargets=All")))
	if err != nil || len(records) != 100 || len(records[99].Addresses) != 2 {
		t.Errorf("%d targets, %v", len(records), err)
	}
}

func TestRequestInParts(t *testing.T) {
	whole := pairs("SendTargets=iqn.t1").Append(nil)
	for cut := range whole {
		x := NewTextExchange(discovery(), testTargets(2))
		resp, out, err := x.Step(TextRequest{Continue: true, ITT: 7, TTT: NoTTT}, whole[:cut])
		if err != nil || resp.Final || resp.TTT == NoTTT || len(out) != 0 {
			t.Fatalf("cut at %d: %+v, %v", cut, resp, err)
		}
		resp, out, err = x.Step(TextRequest{Final: true, ITT: 7, TTT: resp.TTT}, whole[cut:])
		if keys, _ := ParseText(out); err != nil || !resp.Final || show(keys) != t1 {
			t.Fatalf("cut at %d: %+v, %q, %v", cut, resp, out, err)
		}
	}
}

// Parameters change when the exchange ends, not before, and not when it
// breaks off.
func TestParametersChangeAtTheEnd(t *testing.T) {
	p := normal()
	x := NewTextExchange(p, testTargets(1))
	resp, _, err := x.Step(TextRequest{ITT: 7, TTT: NoTTT}, pairs("MaxRecvDataSegmentLength=65536").Append(nil))
	if err != nil || resp.Final || p.MaxSend != 8192 {
		t.Fatalf("%+v, %d, %v", resp, p.MaxSend, err)
	}
	if _, _, err = x.Step(TextRequest{Final: true, ITT: 7, TTT: resp.TTT}, pairs("MaxRecvDataSegmentLength=512").Append(nil)); err == nil {
		t.Fatal("a key was taken twice")
	}
	if p.MaxSend != 8192 {
		t.Fatalf("%d after a failed exchange", p.MaxSend)
	}
	if got := ask(t, x, "MaxRecvDataSegmentLength=65536 MaxBurstLength=512 AuthMethod=None X-a=1"); got != "AuthMethod=Reject MaxBurstLength=Reject X-a=NotUnderstood" || p.MaxSend != 65536 {
		t.Errorf("%s, %d", got, p.MaxSend)
	}
}

func TestTextExchangeErrors(t *testing.T) {
	first := TextRequest{ITT: 7, TTT: NoTTT}
	for name, run := range map[string]func(x *TextExchange) error{
		"goes on from nothing": func(x *TextExchange) error {
			_, _, err := x.Step(TextRequest{Final: true, ITT: 7, TTT: 1}, nil)
			return err
		},
		"another transfer tag": func(x *TextExchange) error {
			resp, _, _ := x.Step(first, nil)
			_, _, err := x.Step(TextRequest{Final: true, ITT: 7, TTT: resp.TTT + 1}, nil)
			return err
		},
		"another task tag": func(x *TextExchange) error {
			resp, _, _ := x.Step(first, nil)
			_, _, err := x.Step(TextRequest{Final: true, ITT: 8, TTT: resp.TTT}, nil)
			return err
		},
		"SendTargets twice": func(x *TextExchange) error {
			_, _, err := x.Step(first, pairs("SendTargets=All SendTargets=All").Append(nil))
			return err
		},
		"no text": func(x *TextExchange) error {
			_, _, err := x.Step(first, []byte("SendTargets=All"))
			return err
		},
		"too much text": func(x *TextExchange) error {
			_, _, err := x.Step(first, make([]byte, maxTextRequest+1))
			return err
		},
		"too many requests": func(x *TextExchange) error {
			r := first
			for range maxTextPDUs {
				resp, _, err := x.Step(r, nil)
				if err != nil {
					t.Fatal(err)
				}
				r.TTT = resp.TTT
			}
			_, _, err := x.Step(r, nil)
			return err
		},
		"text in the middle of the answer": func(x *TextExchange) error {
			x.params.MaxSend = 16
			resp, _, _ := x.Step(first, pairs("SendTargets=All").Append(nil))
			_, _, err := x.Step(TextRequest{ITT: 7, TTT: resp.TTT}, pairs("SendTargets=All").Append(nil))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			x := NewTextExchange(discovery(), testTargets(2))
			err := run(x)
			var p *ProtocolError
			if !errors.As(err, &p) {
				t.Fatal(err)
			}
			x.params.MaxSend = 8192
			if got := ask(t, x, "SendTargets=iqn.t0"); got != t0 {
				t.Errorf("after the error: %q", got)
			}
		})
	}
}

func TestNewExchangeEndsTheOld(t *testing.T) {
	x := NewTextExchange(discovery(), testTargets(2))
	old, _, _ := x.Step(TextRequest{ITT: 7, TTT: NoTTT}, nil)
	if got := ask(t, x, "SendTargets=iqn.t1"); got != t1 {
		t.Error(got)
	}
	if _, _, err := x.Step(TextRequest{ITT: 7, TTT: old.TTT}, nil); err == nil {
		t.Error("the old exchange goes on")
	}
}

func FuzzTextExchange(f *testing.F) {
	f.Add([]byte("\x80SendTargets=All\x00"), true)
	f.Add([]byte("\x40SendTar\xff\xa0gets=\x00MaxRecvDataSegmentLength=512\x00"), false)
	f.Fuzz(func(t *testing.T, b []byte, disc bool) {
		p := normal()
		p.Discovery = disc
		p.MaxSend = 512
		x := NewTextExchange(p, testTargets(3))
		ttt := NoTTT
		for len(b) > 0 {
			n := 1
			for n < len(b) && b[n] != 0xff {
				n++
			}
			chunk := b[:n]
			b = b[min(n+1, len(b)):]
			r := TextRequest{Final: chunk[0]&0x80 != 0, Continue: chunk[0]&0x40 != 0, ITT: 7, TTT: NoTTT}
			if chunk[0]&0x20 != 0 {
				r.TTT = ttt
			}
			limit := p.MaxSend
			resp, out, err := x.Step(r, chunk[1:])
			if err != nil {
				continue
			}
			ttt = resp.TTT
			if len(out) > limit || resp.DataLen != len(out) || resp.Final && resp.Continue || resp.Final != (resp.TTT == NoTTT) {
				t.Fatalf("%+v with %d bytes", resp, len(out))
			}
			if p.MaxSend < minSegment || p.MaxSend > maxSegment {
				t.Fatalf("%+v", p)
			}
		}
	})
}
