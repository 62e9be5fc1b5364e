package multipath

import (
	"encoding/json"
	"testing"
)

// What View tells can be read back by programs.
func TestPathStateIsText(t *testing.T) {
	for s := PathDown; s <= PathDraining; s++ {
		b, err := json.Marshal(s)
		var back PathState
		if err == nil {
			err = json.Unmarshal(b, &back)
		}
		if err != nil || back != s {
			t.Errorf("%v: %s came back as %v, %v", s, b, back, err)
		}
	}
	var s PathState
	if err := json.Unmarshal([]byte(`"sideways"`), &s); err == nil {
		t.Errorf("an unknown state is %v", s)
	}
}

// Programs that read numbers as floats would round the group.
func TestGroupNameIsText(t *testing.T) {
	for g, want := range map[GroupName]string{1: `"0000000000000001"`, 1<<64 - 1: `"ffffffffffffffff"`} {
		b, err := json.Marshal(g)
		if err != nil || string(b) != want {
			t.Errorf("%d is %s, %v", uint64(g), b, err)
		}
		var back GroupName
		if err := json.Unmarshal(b, &back); err != nil || back != g {
			t.Errorf("%s came back as %d, %v", b, uint64(back), err)
		}
	}
	for _, bad := range []string{`"1"`, `1`, `""`, `"000000000000000g"`, `"00000000000000001"`} {
		var g GroupName
		if err := json.Unmarshal([]byte(bad), &g); err == nil {
			t.Errorf("%s was taken as %d", bad, uint64(g))
		}
	}
}
