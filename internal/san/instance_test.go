package san

import (
	"encoding/hex"
	"testing"
)

func TestInstance(t *testing.T) {
	i := Instance{Group: 0x0102030405060708, Run: 0x1112131415161718, Login: 0x21222324}
	const want = "0102030405060708111213141516171821222324"
	if got := i.String(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	b, _ := hex.DecodeString(want)
	if got, err := ParseInstance(b); err != nil || got != i {
		t.Errorf("parsed %+v, %v", got, err)
	}
	for n := range b {
		if _, err := ParseInstance(b[:n]); err == nil {
			t.Errorf("%d bytes were taken", n)
		}
	}
	if i.IsZero() || !(Instance{}).IsZero() {
		t.Error("IsZero is wrong")
	}
}
