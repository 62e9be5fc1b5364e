package target

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"sango/internal/iscsi"
	"sango/internal/iscsi/iscsitest"
)

const hostileNames = "InitiatorName=" + hostName + "2\x00TargetName=" + targetName + "\x00"

// Each malformed login is refused with its own status, and the connection is
// closed.
func TestHostileLogins(t *testing.T) {
	s := besiege(t)
	for name, a := range map[string]struct {
		change func(*iscsi.LoginRequest)
		text   string
		status iscsi.LoginStatus
	}{
		"no names":             {text: "", status: iscsi.LoginMissingParameter},
		"no target":            {text: "InitiatorName=a\x00", status: iscsi.LoginMissingParameter},
		"unknown target":       {text: "InitiatorName=a\x00TargetName=b\x00", status: iscsi.LoginNotFound},
		"stranger":             {text: "InitiatorName=a\x00TargetName=" + targetName + "\x00", status: iscsi.LoginForbidden},
		"session type":         {text: hostileNames + "SessionType=x\x00", status: iscsi.LoginBadSessionType},
		"no NUL":               {text: "InitiatorName=a", status: iscsi.LoginInitiatorError},
		"no equals sign":       {text: hostileNames + "MaxBurstLength\x00", status: iscsi.LoginInitiatorError},
		"empty key":            {text: hostileNames + "=1\x00", status: iscsi.LoginInitiatorError},
		"long key":             {text: hostileNames + strings.Repeat("K", 64) + "=1\x00", status: iscsi.LoginInitiatorError},
		"binary":               {text: "\xff\xfe\xfd\x00\x01\x02\x00", status: iscsi.LoginInitiatorError},
		"key twice":            {text: hostileNames + "MaxBurstLength=512\x00MaxBurstLength=512\x00", status: iscsi.LoginInitiatorError},
		"long name":            {text: "InitiatorName=" + strings.Repeat("a", 224) + "\x00TargetName=b\x00", status: iscsi.LoginInitiatorError},
		"reserved value":       {text: hostileNames + "MaxBurstLength=Irrelevant\x00", status: iscsi.LoginInitiatorError},
		"a thousand keys":      {text: hostileNames + manyKeys(1000), status: iscsi.LoginOutOfResources},
		"AuthMethod":           {text: hostileNames + "AuthMethod=CHAP\x00", status: iscsi.LoginInitiatorError},
		"segment length":       {text: hostileNames + "MaxRecvDataSegmentLength=0\x00", status: iscsi.LoginInitiatorError},
		"version":              {change: func(r *iscsi.LoginRequest) { r.VersionMin = 9 }, text: hostileNames, status: iscsi.LoginBadVersion},
		"stage 2":              {change: func(r *iscsi.LoginRequest) { r.Current = 2 }, text: hostileNames, status: iscsi.LoginInitiatorError},
		"stage 3":              {change: func(r *iscsi.LoginRequest) { r.Current = iscsi.FullFeature }, text: hostileNames, status: iscsi.LoginInitiatorError},
		"backwards":            {change: func(r *iscsi.LoginRequest) { r.Next = iscsi.Security }, text: hostileNames, status: iscsi.LoginInitiatorError},
		"T and C":              {change: func(r *iscsi.LoginRequest) { r.Continue = true }, text: hostileNames, status: iscsi.LoginInitiatorError},
		"session that is not":  {change: func(r *iscsi.LoginRequest) { r.TSIH = 0xfff0 }, text: hostileNames, status: iscsi.LoginNoSession},
		"discovery with TSIH":  {change: func(r *iscsi.LoginRequest) { r.TSIH = 1 }, text: "InitiatorName=a\x00SessionType=Discovery\x00", status: iscsi.LoginCantInclude},
		"CHAP out of nowhere":  {change: func(r *iscsi.LoginRequest) { r.Current, r.Next = 0, 1 }, text: hostileNames + "CHAP_R=0x00\x00CHAP_N=a\x00", status: iscsi.LoginInitiatorError},
		"only CHAP on offer":   {change: func(r *iscsi.LoginRequest) { r.Current, r.Next = 0, 1 }, text: hostileNames + "AuthMethod=CHAP\x00", status: iscsi.LoginAuthFailed},
		"operational too soon": {change: func(r *iscsi.LoginRequest) { r.Current, r.Next = 0, 1 }, text: hostileNames + "InitialR2T=No\x00", status: iscsi.LoginInitiatorError},
	} {
		t.Run(name, func(t *testing.T) {
			c := s.dial()
			r := iscsi.LoginRequest{Transit: true, Current: iscsi.Operational, Next: iscsi.FullFeature, ISID: isid(9), ITT: 1}
			if a.change != nil {
				a.change(&r)
			}
			_, _, err := sendLogin(c, r, []byte(a.text))
			var e *iscsitest.LoginError
			if !errors.As(err, &e) || e.Status != a.status {
				t.Errorf("got %v, want %v", err, a.status)
			}
			wantClosed(t, c)
		})
	}
	s.settle(1)
	s.good.progress()
}

func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "X-%d=\x00", i)
	}
	return b.String()
}

// sendLogin sends text with the C bit where it is longer than one PDU may be.
func sendLogin(c *iscsitest.Conn, r iscsi.LoginRequest, text []byte) (iscsi.LoginResponse, []byte, error) {
	for len(text) > iscsi.LoginSegment {
		part := r
		part.Transit, part.Continue, part.Next = false, true, 0
		if resp, data, err := c.LoginRaw(part, text[:iscsi.LoginSegment]); err != nil {
			return resp, data, err
		}
		text = text[iscsi.LoginSegment:]
	}
	return c.LoginRaw(r, text)
}

// Text without end is refused at a bound, be it one key or many.
func TestHostileLoginTextWithoutEnd(t *testing.T) {
	s := besiege(t)
	for _, unit := range []string{"A", "X-a=1\x00", "\x00"} {
		c := s.dial()
		r := iscsi.LoginRequest{Continue: true, Current: iscsi.Operational, ISID: isid(9), ITT: 1}
		text := bytes.Repeat([]byte(unit), iscsi.LoginSegment)[:iscsi.LoginSegment]
		var err error
		for n := 0; err == nil; n++ {
			if n > 64 {
				t.Fatalf("%d bytes of %q were taken", n*len(text), unit)
			}
			_, _, err = c.LoginRaw(r, text)
		}
		var e *iscsitest.LoginError
		if !errors.As(err, &e) || e.Status != iscsi.LoginOutOfResources {
			t.Errorf("%q: %v", unit, err)
		}
		wantClosed(t, c)
	}
	// Requests without end that say nothing.
	c := s.dial()
	r := iscsi.LoginRequest{Current: iscsi.Operational, ISID: isid(9), ITT: 1}
	_, _, err := c.LoginRaw(r, []byte(hostileNames))
	for n := 0; err == nil; n++ {
		if n > 1000 {
			t.Fatal("1000 empty requests were taken")
		}
		_, _, err = c.LoginRaw(r, nil)
	}
	wantClosed(t, c)
	s.settle(1)
	s.good.progress()
}

// What is no login at all ends the connection, and nothing is executed.
func TestHostileFirstBytes(t *testing.T) {
	s := besiege(t)
	cmd := iscsi.SCSICommand{Final: true, Read: true, ITT: 1, ExpectedLen: 512, CDB: [16]byte{0x28}}
	nop := iscsi.NopOut{ITT: 1, TTT: iscsi.NoTTT}
	var long, many, both iscsi.BHS
	(&iscsi.LoginRequest{Transit: true, Current: iscsi.Operational, Next: iscsi.FullFeature, DataLen: iscsi.LoginSegment + 1}).Put(&long)
	(&iscsi.LoginRequest{Transit: true, Current: iscsi.Operational, Next: iscsi.FullFeature, DataLen: iscsi.MaxDataSegment}).Put(&many)
	(&iscsi.LoginRequest{Transit: true, Current: iscsi.Operational, Next: iscsi.FullFeature, DataLen: iscsi.MaxDataSegment}).Put(&both)
	both[4] = 0xff
	put := func(p interface{ Put(*iscsi.BHS) }) []byte {
		var h iscsi.BHS
		p.Put(&h)
		return h[:]
	}
	for name, b := range map[string][]byte{
		"HTTP":              []byte("GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: something or other\r\n\r\n"),
		"TLS":               append([]byte{0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3}, make([]byte, 600)...),
		"zeros":             make([]byte, 4096),
		"ones":              bytes.Repeat([]byte{0xff}, 4096),
		"command":           put(&cmd),
		"ping":              put(&nop),
		"one byte too many": append(long[:], make([]byte, iscsi.LoginSegment+4)...),
		"longest":           append(many[:], make([]byte, 64<<10)...),
		"longest with AHS":  append(both[:], make([]byte, 64<<10)...),
	} {
		t.Run(name, func(t *testing.T) {
			c := s.dial()
			if err := c.SendRaw(b); err != nil && !gone(err) {
				t.Fatal(err)
			}
			closeWrite(t, c)
			wantClosed(t, c, iscsi.OpLoginResponse)
		})
	}
	s.settle(1)
	s.good.progress()
}
