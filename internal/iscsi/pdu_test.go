package iscsi

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

// header reads a BHS from hex, blanks ignored.
func header(t testing.TB, s string) *BHS {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil || len(b) != BHSLen {
		t.Fatalf("vector of %d bytes: %v", len(b), err)
	}
	h := BHS(b)
	return &h
}

// vector checks that wire reads as want and want writes as wire.
func vector[T comparable](t *testing.T, wire string, want T, parse func(*BHS) (T, error), put func(*T, *BHS)) {
	t.Helper()
	h := header(t, wire)
	got, err := parse(h)
	if err != nil {
		t.Fatalf("parse: %v", err)
	}
	if got != want {
		t.Errorf("parsed\n%+v, want\n%+v", got, want)
	}
	out := BHS{}
	for i := range out {
		out[i] = 0xa5 // Put has to overwrite everything
	}
	put(&want, &out)
	if out != *h {
		t.Errorf("wrote\n%x, want\n%x", out, *h)
	}
	if n := testing.AllocsPerRun(10, func() {
		put(&want, &out)
		_, _ = parse(&out)
	}); n != 0 {
		t.Errorf("%v allocations for a round trip", n)
	}
	wrong := *h
	wrong[0] ^= 0x07
	if _, err := parse(&wrong); err == nil {
		t.Errorf("a PDU of another opcode was taken")
	}
}

// refused checks that parse answers the header with a Reject of reason.
func refused[T any](t *testing.T, wire string, reason RejectReason, parse func(*BHS) (T, error)) {
	t.Helper()
	_, err := parse(header(t, wire))
	var p *ProtocolError
	if !errors.As(err, &p) || p.Reason != reason {
		t.Errorf("got %v, want a protocol error with %v", err, reason)
	}
	if p != nil && !strings.Contains(p.Error(), p.Text) {
		t.Errorf("the message %q lacks the text", p.Error())
	}
}

// pdus drives every PDU type from its opcode.
var pdus = map[Opcode]func(t *testing.T, h *BHS){
	OpNopOut:         cycle(ParseNopOut, (*NopOut).Put),
	OpSCSICommand:    cycle(ParseSCSICommand, (*SCSICommand).Put),
	OpTaskRequest:    cycle(ParseTaskRequest, (*TaskRequest).Put),
	OpLoginRequest:   cycle(ParseLoginRequest, (*LoginRequest).Put),
	OpTextRequest:    cycle(ParseTextRequest, (*TextRequest).Put),
	OpDataOut:        cycle(ParseDataOut, (*DataOut).Put),
	OpLogoutRequest:  cycle(ParseLogoutRequest, (*LogoutRequest).Put),
	OpSNACK:          cycle(ParseSNACK, (*SNACK).Put),
	OpNopIn:          cycle(ParseNopIn, (*NopIn).Put),
	OpSCSIResponse:   cycle(ParseSCSIResponse, (*SCSIResponse).Put),
	OpTaskResponse:   cycle(ParseTaskResponse, (*TaskResponse).Put),
	OpLoginResponse:  cycle(ParseLoginResponse, (*LoginResponse).Put),
	OpTextResponse:   cycle(ParseTextResponse, (*TextResponse).Put),
	OpDataIn:         cycle(ParseDataIn, (*DataIn).Put),
	OpLogoutResponse: cycle(ParseLogoutResponse, (*LogoutResponse).Put),
	OpR2T:            cycle(ParseR2T, (*R2T).Put),
	OpAsync:          cycle(ParseAsync, (*Async).Put),
	OpReject:         cycle(ParseReject, (*Reject).Put),
}

// cycle parses, writes and parses again: whatever is accepted has to survive,
// and to be written the same way twice.
func cycle[T comparable](parse func(*BHS) (T, error), put func(*T, *BHS)) func(*testing.T, *BHS) {
	return func(t *testing.T, h *BHS) {
		v, err := parse(h)
		if err != nil {
			var p *ProtocolError
			if !errors.As(err, &p) {
				t.Fatalf("%T is not a protocol error", err)
			}
			return
		}
		var once, twice BHS
		put(&v, &once)
		again, err := parse(&once)
		if err != nil {
			t.Fatalf("%+v was written as %x, which is refused: %v", v, once, err)
		}
		if again != v {
			t.Fatalf("%+v came back as %+v", v, again)
		}
		if put(&again, &twice); once != twice {
			t.Fatalf("written as %x, then as %x", once, twice)
		}
	}
}

// Every byte value at every place of a header: all parsers are total.
func TestEveryByteOfEveryHeader(t *testing.T) {
	for op, run := range pdus {
		for i := 1; i < BHSLen; i++ {
			for v := range 256 {
				h := BHS{0: byte(op), 1: finalBit}
				h[i] = byte(v)
				run(t, &h)
			}
		}
	}
}

func FuzzPDU(f *testing.F) {
	for op := range pdus {
		h := BHS{0: byte(op), 1: finalBit}
		h[47] = 1
		f.Add(h[:])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < BHSLen {
			return
		}
		h := BHS(b[:BHSLen])
		if run := pdus[h.Opcode()]; run != nil {
			run(t, &h)
		}
	})
}
