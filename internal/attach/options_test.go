package attach

import (
	"errors"
	"strings"
	"testing"

	"sango/internal/san"
)

// What a frontend can't do is refused, not ignored.
func TestOptionsOfFrontends(t *testing.T) {
	for _, c := range []struct {
		as            string
		queues, depth int
		want          string // in the error; "": none
	}{
		{AsUblk, 2, 64, ""},
		{AsNBD, 2, 0, ""},
		{AsNBD, 0, 64, "--depth"},
		{AsSocket, 0, 64, ""},
		{AsSocket, 2, 0, "--queues"},
		{AsUblk, 65, 0, "queues"},
		{AsSocket, 0, 4097, "depth"},
	} {
		o := quiet(testDir(t), "mem:16M")
		if o.As = c.as; c.as == AsSocket {
			o.SocketPath = "s"
		}
		o.Queues, o.Depth = c.queues, c.depth
		err := o.Check()
		if c.want == "" && err != nil || c.want != "" && (!errors.Is(err, san.ErrInvalid) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s, %d queues of %d: %v", c.as, c.queues, c.depth, err)
		}
	}
}

// A target would take any word for a name, and admit nobody under it.
func TestInitiatorOfOptions(t *testing.T) {
	for name, good := range map[string]bool{
		"": true, "iqn.2026-11.com.example:host": true, "eui.0123456789abcdef": true, "naa.0123456789abcdef": true,
		"foo": false, "iqn.x": false, "iqn.2026-11.com.example:Host": false,
	} {
		o := quiet(testDir(t), "mem:16M")
		o.Initiator = name
		if err := o.Check(); good && err != nil || !good && !errors.Is(err, san.ErrInvalid) {
			t.Errorf("initiator %q: %v", name, err)
		}
	}
}
