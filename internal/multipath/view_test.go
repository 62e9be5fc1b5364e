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
