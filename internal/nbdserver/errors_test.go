package nbdserver

import (
	"errors"
	"testing"

	"sango/internal/block"
	"sango/internal/block/layer/fault"
	"sango/internal/block/mem"
	"sango/internal/nbd"
)

func TestRequestsThatAreRefused(t *testing.T) {
	w := serve(t, Options{MaxRequest: 64 << 10})
	const size = 1 << 20
	w.add("", block.Check(memory(t, mem.Options{Size: size}), t), ExportOptions{})
	for name, c := range map[string]*client{"structured": w.connect(""), "simple": w.simple("")} {
		t.Run(name, func(t *testing.T) {
			c.t = t
			buf := make([]byte, 128<<10)
			c.fails(nbd.EINVAL, nbd.CmdRead, 0, size, 512, nil)
			c.fails(nbd.EINVAL, nbd.CmdRead, 0, 1<<63, 512, nil)
			c.fails(nbd.EINVAL, nbd.CmdRead, 0, ^uint64(511), 512, nil)
			c.fails(nbd.EINVAL, nbd.CmdTrim, 0, size-512, 1024, nil)
			c.fails(nbd.EINVAL, nbd.CmdCache, 0, size-512, 1024, nil)
			c.fails(nbd.ENOSPC, nbd.CmdWrite, 0, size, 512, buf[:512])
			c.fails(nbd.ENOSPC, nbd.CmdWriteZeroes, 0, size-512, 1024, nil)
			c.fails(nbd.EINVAL, nbd.CmdRead, 0, 1, 512, nil)
			c.fails(nbd.EINVAL, nbd.CmdRead, 0, 0, 511, nil)
			c.fails(nbd.EINVAL, nbd.CmdWrite, 0, 100, 512, buf[:512])
			c.fails(nbd.EINVAL, nbd.CmdWrite, 0, 0, 100, buf[:100])
			c.fails(nbd.EINVAL, nbd.CmdWriteZeroes, 0, 0, 100, nil)
			c.fails(nbd.EINVAL, nbd.CmdTrim, 0, 0, 100, nil)
			c.fails(nbd.EINVAL, nbd.CmdRead, 0, 0, 128<<10, nil)
			c.fails(nbd.EINVAL, nbd.CmdWrite, 0, 0, 128<<10, buf)
			c.fails(nbd.EINVAL, nbd.CmdFlush, 0, 0, 512, nil)
			c.fails(nbd.EINVAL, nbd.CmdFlush, 0, 512, 0, nil)
			c.fails(nbd.EINVAL, nbd.CmdResize, 0, 0, 0, nil)
			c.fails(nbd.EINVAL, 99, 0, 0, 0, nil)
			c.fails(nbd.EINVAL, nbd.CmdRead, nbd.CmdFlagNoHole, 0, 512, nil)
			c.fails(nbd.EINVAL, nbd.CmdWrite, nbd.CmdFlagDF, 0, 512, buf[:512])
			c.fails(nbd.EINVAL, nbd.CmdTrim, nbd.CmdFlagFastZero, 0, 512, nil)
			c.fails(nbd.EINVAL, nbd.CmdFlush, 1<<15, 0, 0, nil)
			c.fails(nbd.EINVAL, nbd.CmdBlockStatus, 0, 0, 0, nil)
			// FUA may come with anything.
			for _, cmd := range []nbd.Cmd{nbd.CmdRead, nbd.CmdTrim, nbd.CmdWriteZeroes, nbd.CmdCache} {
				c.ok(cmd, nbd.CmdFlagFUA, 0, 512, nil)
			}
			c.ok(nbd.CmdFlush, nbd.CmdFlagFUA, 0, 0, nil)
			c.ok(nbd.CmdWriteZeroes, nbd.CmdFlagFastZero, 0, 0, nil)
		})
	}
}

func TestReadOnlyExports(t *testing.T) {
	w := serve(t, Options{})
	w.add("asked", memory(t, mem.Options{}), ExportOptions{ReadOnly: true})
	w.add("device", memory(t, mem.Options{ReadOnly: true}), ExportOptions{})
	for _, name := range []string{"asked", "device"} {
		c := w.connect(name)
		if c.info.Flags&nbd.FlagReadOnly == 0 {
			t.Errorf("%s: flags %#x", name, c.info.Flags)
		}
		c.fails(nbd.EPERM, nbd.CmdWrite, 0, 0, 512, make([]byte, 512))
		c.fails(nbd.EPERM, nbd.CmdTrim, 0, 0, 512, nil)
		c.fails(nbd.EPERM, nbd.CmdWriteZeroes, 0, 0, 512, nil)
		c.ok(nbd.CmdRead, 0, 0, 512, nil)
		c.ok(nbd.CmdFlush, 0, 0, 0, nil)
	}
}

func TestErrorsOfTheDevice(t *testing.T) {
	for class, want := range map[block.Class]nbd.Errno{
		block.Medium: nbd.EIO, block.NoSpace: nbd.ENOSPC, block.ReadOnly: nbd.EPERM, block.Invalid: nbd.EINVAL,
		block.Unsupported: nbd.ENOTSUP, block.Fenced: nbd.EIO, block.Closed: nbd.ESHUTDOWN, block.Failed: nbd.EIO, block.Busy: nbd.EIO,
	} {
		w := serve(t, Options{})
		d := fault.New(memory(t, mem.Options{}), 1, fault.Rule{Class: class})
		w.add("", d, ExportOptions{})
		c := w.connect("")
		c.fails(want, nbd.CmdRead, 0, 0, 512, nil)
		c.fails(want, nbd.CmdWrite, 0, 0, 512, make([]byte, 512))
		c.fails(want, nbd.CmdFlush, 0, 0, 0, nil)
		_ = c.nc.Close()
		w.close()
	}
	if errnoOf(errors.New("x")) != nbd.EIO {
		t.Error("an error without class")
	}
}

func TestStatusThatFails(t *testing.T) {
	w := serve(t, Options{})
	d := fault.New(memory(t, mem.Options{}), 1, fault.Rule{Ops: fault.StatusCalls, Class: block.Medium, Times: 1},
		fault.Rule{Ops: fault.StatusCalls, Class: block.Unsupported})
	w.add("", d, ExportOptions{})
	c := w.connect("")
	c.fails(nbd.EIO, nbd.CmdBlockStatus, 0, 0, 4096, nil)
	if s := c.ok(nbd.CmdBlockStatus, 0, 0, 4096, nil).status; len(s.Extents) != 1 || s.Extents[0] != (nbd.Extent{Length: 4096}) {
		t.Errorf("a device without Status: %+v", s)
	}
}

func TestBlocksOf4096(t *testing.T) {
	w := serve(t, Options{})
	w.add("", memory(t, mem.Options{BlockSize: 4096}), ExportOptions{})
	c := w.connect("")
	if c.block.MinBlock != 4096 || c.block.Preferred != 4096 {
		t.Errorf("%+v", c.block)
	}
	c.fails(nbd.EINVAL, nbd.CmdRead, 0, 512, 4096, nil)
	c.fails(nbd.EINVAL, nbd.CmdWrite, 0, 0, 512, make([]byte, 512))
	c.ok(nbd.CmdWrite, 0, 4096, 4096, pattern(4096, 9))
}

func TestResize(t *testing.T) {
	w := serve(t, Options{})
	d := memory(t, mem.Options{Size: 1 << 20})
	w.add("", d, ExportOptions{})
	c := w.connect("")
	c.fails(nbd.ENOSPC, nbd.CmdWrite, 0, 1<<20, 512, make([]byte, 512))
	if err := d.Resize(2 << 20); err != nil {
		t.Fatal(err)
	}
	if stale, err := w.s.Resized(""); stale != 1 || err != nil {
		t.Errorf("%d connections know the old size, %v", stale, err)
	}
	c.ok(nbd.CmdWrite, 0, 1<<20, 512, make([]byte, 512))
	if again := w.connect(""); again.info.Size != 2<<20 {
		t.Errorf("the size after connecting again is %d", again.info.Size)
	}
	if _, err := w.s.Resized("nope"); err == nil {
		t.Error("an export that does not exist was resized")
	}
}
