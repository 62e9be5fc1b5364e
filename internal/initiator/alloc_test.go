//go:build !race

// Under the race detector sync.Pool forgets at random.

package initiator

import "testing"

// A command in steady state allocates nothing, on either side.
func TestCommandsDoNotAllocate(t *testing.T) {
	x := start(t).login()
	b := [][]byte{make([]byte, 4096)}
	for name, c := range map[string]*Command{
		"read":  {CDB: readCDB(0, 8), In: b},
		"write": {CDB: writeCDB(0, 8), Out: b},
	} {
		one := func() {
			if err := x.Do(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		for range 100 {
			one()
		}
		// What the runtime does on the side may allocate now and then.
		if n := testing.AllocsPerRun(500, one); n >= 1 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
