package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"sango/internal/api"
	v1 "sango/internal/api/gen/sango/v1"
	"sango/internal/san"
)

// piece is the unit in which zeros are left out of transfers, in bytes.
const piece = 64 << 10

var zeros [api.MaxChunk]byte

type volumeImportOptions struct {
	volumeFlags
	output output
}

func (a *app) volumeImportCommand() *cobra.Command {
	o := &volumeImportOptions{}
	c := o.output.add(command("import NAME FILE", "Make a volume from a raw image", `
Make a volume with the contents of a raw file or block device; '-' reads the
standard input, and needs --size. A size above that of the file leaves room.`, cobra.ExactArgs(2), func(ctx context.Context, args []string) error {
		return o.run(ctx, a, args[0], args[1])
	}))
	o.volumeFlags.add(c)
	return c
}

func (o *volumeImportOptions) run(ctx context.Context, a *app, name, path string) error {
	src, length := a.in, int64(-1)
	if path != "-" {
		f, err := os.Open(path)
		if errors.Is(err, os.ErrNotExist) {
			return san.Errorf(san.ErrNotFound, "there is no file %s", path)
		} else if err != nil {
			return err
		}
		defer f.Close()
		// The end of a block device can be sought, but not looked up.
		if length, err = f.Seek(0, io.SeekEnd); err == nil {
			_, err = f.Seek(0, io.SeekStart)
		}
		if err != nil {
			return fmt.Errorf("the size of %s can't be told: %w; pipe it in with '-' and --size", path, err)
		}
		src = f
	}
	block := int64(max(o.block, 1))
	bytes := (length + block - 1) / block * block
	if o.size != "" {
		var err error
		if bytes, err = san.ParseSize(o.size); err != nil {
			return err
		}
		if bytes < length {
			return usage("%s has %s and does not fit into %s", path, size(length), size(bytes))
		}
	} else if length < 0 {
		return usage("how large is volume %s to be? the standard input needs --size", name)
	}
	spec, err := o.spec(name, bytes)
	if err != nil {
		return err
	}
	cl, err := a.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // a transfer that is left half done is dropped by the node
	stream := cl.ImportVolume(ctx)
	err = stream.Send(&v1.ImportVolumeRequest{Part: &v1.ImportVolumeRequest_Spec{Spec: spec}})
	if err == nil {
		p := a.progress(o.output, "importing "+name, max(length, bytes))
		err = sendPieces(src, bytes, func(off int64, b []byte) error {
			return stream.Send(&v1.ImportVolumeRequest{Part: &v1.ImportVolumeRequest_Chunk{Chunk: &v1.Chunk{Offset: off, Data: b}}})
		}, p.set)
		p.end()
	}
	if err != nil && !errors.Is(err, io.EOF) { // EOF: the node has answered early; its error comes below
		return api.FromWire(err)
	}
	resp, err := stream.CloseAndReceive()
	if err != nil {
		return api.FromWire(err)
	}
	a.say(o.output, "volume %s imported, %s", name, size(resp.Msg.GetVolume().GetSize()))
	return a.object(o.output, viewVolume(resp.Msg.GetVolume()))
}

// errTooLong is returned by sendPieces for a source that does not end.
var errTooLong = san.Errorf(san.ErrInvalid, "the input is longer than the volume; give a larger --size")

// sendPieces reads src to its end, at most limit bytes of it, and sends what
// is not zero, in ascending order.
func sendPieces(src io.Reader, limit int64, send func(off int64, b []byte) error, told func(done, total int64)) error {
	buf := make([]byte, api.MaxChunk)
	for off := int64(0); ; {
		n, err := io.ReadFull(src, buf)
		if off+int64(n) > limit {
			return errTooLong
		}
		for from := 0; from < n; {
			end := min(from+piece, n)
			if bytes.Equal(buf[from:end], zeros[:end-from]) {
				from = end
				continue
			}
			for end < n && !bytes.Equal(buf[end:min(end+piece, n)], zeros[:min(piece, n-end)]) {
				end = min(end+piece, n)
			}
			if err := send(off+int64(from), buf[from:end]); err != nil {
				return err
			}
			from = end
		}
		off += int64(n)
		told(off, limit)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			told(limit, limit)
			return nil
		case err != nil:
			return err
		}
	}
}

type volumeExportOptions struct {
	force  bool
	output output
}

func (a *app) volumeExportCommand() *cobra.Command {
	o := &volumeExportOptions{}
	c := o.output.add(command("export VOLUME[@SNAPSHOT] FILE", "Write a volume or snapshot to a raw image", `
Write a volume, as it is at this moment, or a snapshot to a raw file, which
becomes sparse; '-' writes to the standard output.`, cobra.ExactArgs(2), func(ctx context.Context, args []string) error {
		return o.run(ctx, a, args[0], args[1])
	}))
	c.Flags().BoolVar(&o.force, "force", false, "overwrite a file or device that exists")
	return c
}

func (o *volumeExportOptions) run(ctx context.Context, a *app, from, path string) (err error) {
	volume, snapshot := from, ""
	if i := bytes.IndexByte([]byte(from), '@'); i >= 0 {
		if volume, snapshot, err = splitSnapshot(from); err != nil {
			return err
		}
	}
	if path == "-" && o.output != outputTable {
		return usage("the data goes to the standard output: -o %s has no place there", o.output)
	}
	cl, err := a.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := cl.ExportVolume(ctx, connect.NewRequest(&v1.ExportVolumeRequest{Volume: volume, Snapshot: snapshot}))
	if err != nil {
		return api.FromWire(err)
	}
	defer stream.Close()
	if !stream.Receive() { // errors come before the file is touched
		return api.FromWire(stream.Err())
	}
	total := stream.Msg().GetSize()
	dst := &sink{w: a.out}
	if path != "-" {
		if dst, err = openSink(path, total, o.force); err != nil {
			return err
		}
		defer func() {
			if cerr := dst.close(err == nil); err == nil {
				err = cerr
			}
		}()
	}
	p := a.progress(o.output, "exporting "+from, total)
	defer p.end()
	for stream.Receive() {
		c := stream.Msg().GetChunk()
		if err := dst.put(c.GetOffset(), c.GetData()); err != nil {
			return err
		}
		p.set(dst.at, total)
	}
	if err := stream.Err(); err != nil {
		return api.FromWire(err)
	}
	if err := dst.gap(total); err != nil {
		return err
	}
	p.end()
	if path == "-" {
		return nil
	}
	a.say(o.output, "%s exported to %s, %s", from, path, size(total))
	return a.object(o.output, map[string]any{"source": from, "file": path, "size": total})
}
