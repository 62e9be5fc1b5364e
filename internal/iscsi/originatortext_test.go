package iscsi

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// query runs q at x to its end and returns the number of responses.
func query(t *testing.T, q *TextQuery, x *TextExchange) (responses int, err error) {
	t.Helper()
	req, data := q.First()
	for responses = 1; responses < 10000; responses++ {
		var h BHS
		req.Put(&h)
		again, err := ParseTextRequest(&h)
		if err != nil || again != req || req.DataLen != len(data) {
			t.Fatalf("%+v with %d bytes, %v", again, len(data), err)
		}
		resp, answer, err := x.Step(again, data)
		if err != nil {
			return responses, err
		}
		resp.Put(&h)
		if resp, err = ParseTextResponse(&h); err != nil {
			t.Fatal(err)
		}
		if req, data, err = q.Step(resp, answer); err != nil || q.Done() {
			return responses, err
		}
	}
	t.Fatal("the exchange does not end")
	return 0, nil
}

func TestSendTargetsQuery(t *testing.T) {
	for _, n := range []int{0, 1, 200} {
		p := discovery()
		p.MaxSend = 512
		q := NewSendTargets(7, SendTargetsAll, p.MaxRecv)
		responses, err := query(t, q, NewTextExchange(p, testTargets(n)))
		if err != nil || n == 200 && responses < 10 {
			if n == 200 && errors.As(err, new(*ProtocolError)) && responses > maxTextPDUs {
				continue
			}
			t.Fatalf("%d targets in %d responses: %v", n, responses, err)
		}
		got, err := q.Targets()
		if err != nil || !slices.EqualFunc(got, testTargets(n)(""), func(a, b TargetRecord) bool {
			return a.Name == b.Name && slices.Equal(a.Addresses, b.Addresses)
		}) {
			t.Errorf("%d targets: %v, %v", n, got, err)
		}
	}
	q := NewSendTargets(7, "", 8192)
	if _, err := query(t, q, NewTextExchange(normal(), testTargets(3))); err != nil || show(q.Answer()) != t0 {
		t.Errorf("%s, %v", show(q.Answer()), err)
	}
	q = NewSendTargets(7, SendTargetsAll, 8192)
	if _, err := query(t, q, NewTextExchange(normal(), testTargets(3))); err != nil {
		t.Fatal(err)
	}
	if _, err := q.Targets(); err == nil || !strings.Contains(err.Error(), `answered "Reject"`) {
		t.Error(err)
	}
}

// A request longer than the target takes goes out in parts.
func TestTextQuerySplitsItsRequest(t *testing.T) {
	var keys Keys
	for i := range 60 {
		keys.add(fmt.Sprintf("X-com.example.key-%d", i), "1")
	}
	q := NewTextQuery(7, keys, 512)
	n, err := query(t, q, NewTextExchange(discovery(), testTargets(1)))
	if err != nil || n != 3 || len(q.Answer()) != 60 {
		t.Errorf("%d answers in %d responses, %v", len(q.Answer()), n, err)
	}
}

func TestTextQueryRefuses(t *testing.T) {
	big := []byte("X-a=" + strings.Repeat("b", 1<<20) + "\x00")
	for name, c := range map[string]struct {
		resp TextResponse
		data []byte
		n    int // that often
		want string
	}{
		"task tag":     {TextResponse{ITT: 8, Final: true, TTT: NoTTT}, nil, 1, "task tag"},
		"transfer tag": {TextResponse{ITT: 7, TTT: NoTTT}, nil, 1, "no transfer tag"},
		"text":         {TextResponse{ITT: 7, Final: true, TTT: NoTTT}, []byte("a"), 1, "without a NUL"},
		"long":         {TextResponse{ITT: 7, TTT: 1, Continue: true}, big, 4, "4194304"},
		"idle":         {TextResponse{ITT: 7, TTT: 1}, nil, maxIdleTexts + 1, "brought nothing"},
		"after done":   {TextResponse{ITT: 7, Final: true, TTT: NoTTT}, nil, 2, "after the end"},
	} {
		t.Run(name, func(t *testing.T) {
			q := NewSendTargets(7, SendTargetsAll, 8192)
			q.First()
			var err error
			for i := range c.n {
				if _, _, err = q.Step(c.resp, c.data); err != nil && i < c.n-1 {
					t.Fatalf("after %d: %v", i, err)
				}
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	q := NewTextQuery(7, Keys{{"X-a", strings.Repeat("b", 1000)}}, 512)
	q.First()
	if _, _, err := q.Step(TextResponse{ITT: 7, Final: true, TTT: NoTTT}, nil); err == nil {
		t.Error("an answer to half a request was taken")
	}
}

func TestLogoutMachine(t *testing.T) {
	r := LogoutSessionRequest(9, 5, 6)
	var h BHS
	r.Put(&h)
	if again, err := ParseLogoutRequest(&h); err != nil || again != r || !h.Immediate() || again.Reason != LogoutSession {
		t.Errorf("%+v, %v", again, err)
	}
	for _, c := range []struct {
		resp LogoutResponse
		want string
	}{
		{LogoutResponse{ITT: 9}, ""},
		{LogoutResponse{ITT: 8}, "task tag"},
		{LogoutResponse{ITT: 9, Result: LogoutNoCID}, "CID not found"},
		{LogoutResponse{ITT: 9, Result: LogoutNoRecovery}, "recovery not supported"},
		{LogoutResponse{ITT: 9, Result: LogoutCleanupFail}, "cleanup failed"},
		{LogoutResponse{ITT: 9, Result: 77}, "logout result 77"},
	} {
		if err := c.resp.Err(9); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c.resp, err)
		}
	}
	if LogoutDone.String() != "closed" {
		t.Error(LogoutDone)
	}
}
