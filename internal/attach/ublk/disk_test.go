package ublk

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sango/internal/attach/ublk/uapi"
	"sango/internal/block"
)

func TestChoose(t *testing.T) {
	const all = ^uint64(0)
	base := uapi.FeatureRecovery | uapi.FeatureReissue | uapi.FeatureIoctlEncode
	for name, c := range map[string]struct {
		has      uint64
		userCopy bool
		want     uint64
		err      string
	}{
		"everything":    {all, true, base | uapi.FeatureUserCopy | uapi.FeatureUpdateSize, ""},
		"plain copy":    {all, false, base | uapi.FeatureUpdateSize, ""},
		"oldest":        {oldest, true, base, ""},
		"Linux 6.12":    {0x1ff, true, base | uapi.FeatureUserCopy, ""},
		"no recovery":   {all &^ uapi.FeatureReissue, true, 0, "USER_RECOVERY_REISSUE, which came with Linux 6.1"},
		"older opcodes": {uapi.FeatureRecovery | uapi.FeatureReissue, true, 0, "CMD_IOCTL_ENCODE, which came with Linux 6.4"},
	} {
		got, err := choose(c.has, c.userCopy)
		if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %#x, %v", name, got, err)
		}
	}
}

func TestFeaturesAreInOrder(t *testing.T) {
	for i, f := range Features {
		if f.Bit != 1<<i || f.Name == "" || f.Since == "" || f.Why == "" {
			t.Errorf("%d: %+v", i, f)
		}
	}
}

func TestOptions(t *testing.T) {
	good := Options{ID: Any}
	good.fill()
	if err := good.check(); err != nil {
		t.Error(err)
	}
	if got, want := (Options{Queues: 2, Depth: 8, MaxIO: 1 << 20}).Memory(), int64(16<<20); got != want {
		t.Errorf("%d bytes, want %d", got, want)
	}
	for _, o := range []Options{
		{ID: -2},
		{ID: 1 << 20},
		{ID: Any, Recover: true},
		{Queues: -1},
		{Queues: 5000},
		{Depth: 5000},
		{Depth: -1},
		{MaxIO: 1000},
		{MaxIO: 64 << 20},
		{MaxDiscard: 512},
		{MaxDiscard: 1 << 50},
		{Workers: -1},
		{Patience: -1},
	} {
		o.fill()
		if err := o.check(); err == nil {
			t.Errorf("taken: %+v", o)
		}
	}
}

func TestStartSaysWhatIsMissing(t *testing.T) {
	_, err := openControl(filepath.Join(t.TempDir(), "none"))
	if !errors.Is(err, ErrNoDriver) || !strings.Contains(err.Error(), "modprobe ublk_drv") {
		t.Error(err)
	}
	if err := checkDriver(filepath.Join(t.TempDir(), "none")); !errors.Is(err, ErrNoDriver) {
		t.Error(err)
	}
	if err := checkDriver(t.TempDir()); err != nil {
		t.Error(err)
	}
	if _, err := Start(t.Context(), nil, Options{Depth: -1}); err == nil || !strings.Contains(err.Error(), "deep") {
		t.Error(err)
	}
}

func volume(change func(*block.Info)) block.Info {
	i := block.Info{Size: 1 << 30, BlockSize: 512, PhysicalBlock: 4096, Caps: block.Caps{
		Discard: block.Native, WriteZeroes: block.Native, FUA: block.Native, WriteBack: true, Granularity: 65536,
	}}
	if change != nil {
		change(&i)
	}
	return i
}

func TestParams(t *testing.T) {
	opt := Options{}
	opt.fill()
	p := params(volume(nil), &opt)
	want := uapi.Params{
		Len: 64, Types: 3,
		Basic: uapi.ParamBasic{
			Attrs: uapi.AttrVolatileCache | uapi.AttrFUA, LogicalShift: 9, PhysicalShift: 12, IOOptShift: 19, IOMinShift: 12,
			MaxSectors: 1024, DevSectors: 1 << 21,
		},
		Discard: uapi.ParamDiscard{Granularity: 65536, MaxSectors: 1 << 21, MaxZeroSectors: 1 << 21, MaxSegments: 1},
	}
	if p != want {
		t.Errorf("%+v", p)
	}
	for name, c := range map[string]struct {
		change func(*block.Info)
		check  func(uapi.Params) bool
	}{
		"write through": {func(i *block.Info) { i.Caps.WriteBack = false }, func(p uapi.Params) bool { return p.Basic.Attrs == 0 }},
		"no FUA":        {func(i *block.Info) { i.Caps.FUA = block.None }, func(p uapi.Params) bool { return p.Basic.Attrs == uapi.AttrVolatileCache }},
		"read-only": {func(i *block.Info) { i.Caps.ReadOnly = true }, func(p uapi.Params) bool {
			return p.Basic.Attrs&uapi.AttrReadOnly != 0 && p.Types == uapi.ParamTypeBasic
		}},
		"slow discard": {func(i *block.Info) { i.Caps.Discard = block.Emulated }, func(p uapi.Params) bool {
			return p.Discard.MaxSectors == 0 && p.Discard.MaxZeroSectors > 0 && p.Discard.Granularity > 0
		}},
		"neither": {func(i *block.Info) { i.Caps.Discard, i.Caps.WriteZeroes = block.None, block.None }, func(p uapi.Params) bool {
			return p.Types == uapi.ParamTypeBasic
		}},
		"large blocks": {func(i *block.Info) { i.BlockSize = 4096 }, func(p uapi.Params) bool { return p.Basic.LogicalShift == 12 }},
		"no granularity": {func(i *block.Info) { i.Caps.Granularity = 0 }, func(p uapi.Params) bool {
			return p.Discard.Granularity == 4096
		}},
		"odd granularity": {func(i *block.Info) { i.Caps.Granularity = 3 << 20 }, func(p uapi.Params) bool {
			return p.Discard.MaxSectors%(3<<11) == 0 && p.Discard.MaxSectors > 0
		}},
	} {
		if p := params(volume(c.change), &opt); !c.check(p) {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

func TestSame(t *testing.T) {
	opt := Options{}
	opt.fill()
	p := params(volume(nil), &opt)
	through := params(volume(func(i *block.Info) { i.Caps.WriteBack = false }), &opt)
	for name, c := range map[string]struct {
		p      uapi.Params
		change func(*block.Info)
		want   string
	}{
		"same":         {p, nil, ""},
		"grown":        {p, func(i *block.Info) { i.Size *= 2 }, ""},
		"shrunk":       {p, func(i *block.Info) { i.Size /= 2 }, "another volume"},
		"other blocks": {p, func(i *block.Info) { i.BlockSize = 4096 }, "another volume"},
		"read-only":    {p, func(i *block.Info) { i.Caps.ReadOnly = true }, "read-only now"},
		"no FUA":       {p, func(i *block.Info) { i.Caps.FUA = block.None }, "FUA"},
		"never set up": {uapi.Params{}, nil, "never set up"},
		"volatile now": {through, nil, "flushes would be missing"},
	} {
		err := same(volume(c.change), &c.p)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAlive(t *testing.T) {
	if !alive(os.Getpid()) {
		t.Error("this process is dead")
	}
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if !alive(cmd.Process.Pid) {
		t.Error("a child is dead")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	if alive(cmd.Process.Pid) {
		t.Error("a child outlives its end")
	}
	if err := served(3, 77); !errors.Is(err, ErrServed) || !strings.Contains(err.Error(), "process id 77") {
		t.Error(err)
	}
}
