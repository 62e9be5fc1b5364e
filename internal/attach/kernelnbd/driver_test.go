package kernelnbd

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/genetlink/genltest"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const familyID = 0x1d

// fakeNetlink is a driver whose kernel is fn.
func fakeNetlink(fn genltest.Func) *generic {
	family := genetlink.Family{ID: familyID, Version: version, Name: familyName, Groups: []genetlink.MulticastGroup{{ID: 9, Name: groupName}}}
	return &generic{dial: func() (*genetlink.Conn, error) {
		return genltest.Dial(genltest.ServeFamily(family, fn)), nil
	}}
}

func TestConnectMessage(t *testing.T) {
	c := config{index: Any, size: 1 << 20, sockets: []uintptr{4}}
	data, err := c.encode()
	if err != nil {
		t.Fatal(err)
	}
	// No ACK is asked for: it would be a second message.
	g := fakeNetlink(genltest.CheckRequest(familyID, cmdConnect, netlink.Request,
		func(m genetlink.Message, _ netlink.Message) ([]genetlink.Message, error) {
			if !bytes.Equal(m.Data, data) || m.Header.Version != version {
				t.Errorf("got %+v", m)
			}
			return []genetlink.Message{{
				Header: genetlink.Header{Command: cmdConnect}, Data: unhex(t, "0800 0100 06000000"),
			}}, nil
		}))
	if n, err := g.connect(context.Background(), c); n != 6 || err != nil {
		t.Errorf("disk %d, %v", n, err)
	}
}

func TestOtherMessages(t *testing.T) {
	ctx := context.Background()
	status := unhex(t, statusVector)
	for name, tt := range map[string]struct {
		cmd   uint8
		flags netlink.HeaderFlags
		do    func(*generic) error
	}{
		"reconfigure": {cmdReconfigure, netlink.Request | netlink.Acknowledge, func(g *generic) error { return g.reconfigure(ctx, config{index: 3, size: 512}) }},
		"disconnect":  {cmdDisconnect, netlink.Request | netlink.Acknowledge, func(g *generic) error { return g.disconnect(ctx, 3) }},
		"status": {cmdStatus, netlink.Request, func(g *generic) error {
			for index, want := range map[int]bool{0: true, 3: false, 4: false} {
				if got, err := g.connected(ctx, index); got != want || err != nil {
					t.Errorf("disk %d: %v, %v", index, got, err)
				}
			}
			return nil
		}},
	} {
		calls := 0
		g := fakeNetlink(genltest.CheckRequest(familyID, tt.cmd, tt.flags,
			func(genetlink.Message, netlink.Message) ([]genetlink.Message, error) {
				calls++
				return []genetlink.Message{{Header: genetlink.Header{Command: tt.cmd}, Data: status}}, nil
			}))
		if err := tt.do(g); err != nil || calls == 0 {
			t.Errorf("%s: %v after %d calls", name, err, calls)
		}
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	for errno, want := range map[unix.Errno]string{
		unix.EPERM: "CAP_SYS_ADMIN", unix.EBUSY: "take another number", unix.EINVAL: "the kernel's log",
	} {
		g := fakeNetlink(func(genetlink.Message, netlink.Message) ([]genetlink.Message, error) {
			return nil, genltest.Error(int(errno))
		})
		_, err := g.connect(context.Background(), config{index: 7})
		if !errors.Is(err, errno) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "/dev/nbd7") {
			t.Errorf("%v", err)
		}
	}
	none := &generic{dial: func() (*genetlink.Conn, error) {
		return genltest.Dial(func(genetlink.Message, netlink.Message) ([]genetlink.Message, error) {
			return nil, genltest.Error(int(unix.ENOENT))
		}), nil
	}}
	if _, err := none.connect(context.Background(), config{}); !errors.Is(err, ErrNoDriver) {
		t.Errorf("without a driver: %v", err)
	}
}

func TestMissing(t *testing.T) {
	for release, want := range map[string]int{
		"4.9.0": 4, "4.12.0": 3, "5.3.0-rc1": 2, "5.14": 1, "6.1.0-44-amd64": 1, "6.12.117+deb12-amd64": 0, "7.0": 0, "strange": 4,
	} {
		if got := missing(release); len(got) != want {
			t.Errorf("%s lacks %v", release, got)
		}
	}
}

func TestOptions(t *testing.T) {
	for name, o := range map[string]Options{
		"index":       {Index: -2},
		"connections": {Connections: 65},
		"timeout":     {Timeout: 1},
		"dead":        {DeadTimeout: -1},
		"recover":     {Index: Any, Recover: true},
		"backend":     {Backend: strings.Repeat("x", 129)},
	} {
		o.fill()
		if o.check() == nil {
			t.Errorf("%s: %+v is accepted", name, o)
		}
	}
}
