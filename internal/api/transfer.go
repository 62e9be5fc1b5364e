package api

import (
	"context"
	"io"

	"connectrpc.com/connect"

	v1 "sango/internal/api/gen/sango/v1"
	"sango/internal/san"
)

// MaxChunk is the most data that one message of a transfer carries, in bytes.
const MaxChunk = 1 << 20

func (s volumeService) ImportVolume(ctx context.Context, stream *connect.ClientStream[v1.ImportVolumeRequest]) (*connect.Response[v1.ImportVolumeResponse], error) {
	if !stream.Receive() {
		if err := stream.Err(); err != nil {
			return nil, err
		}
		return nil, san.Errorf(san.ErrInvalid, "import: the stream is empty")
	}
	spec := stream.Msg().GetSpec()
	if spec == nil {
		return nil, san.Errorf(san.ErrInvalid, "import: the first message must describe the volume")
	}
	if spec.GetAdopt() != "" {
		return nil, san.Errorf(san.ErrInvalid, "import copies data and adopt takes it over: use one of them")
	}
	v := specVolume(spec)
	err := s.n.Volumes().Import(ctx, v, func(w io.WriterAt) error {
		var end int64
		for stream.Receive() {
			c := stream.Msg().GetChunk()
			off, n := c.GetOffset(), int64(len(c.GetData()))
			if c == nil || n == 0 || n > MaxChunk || off < end || off > v.Size-n {
				return san.Errorf(san.ErrInvalid, "import: a piece of %d bytes at %d is out of order or out of bounds", n, off)
			}
			if _, err := w.WriteAt(c.GetData(), off); err != nil {
				return err
			}
			end = off + n
		}
		return stream.Err()
	})
	if err != nil {
		return nil, err
	}
	m, err := s.describe(ctx, v.Name)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&v1.ImportVolumeResponse{Volume: m}), nil
}

func (s volumeService) ExportVolume(ctx context.Context, r *connect.Request[v1.ExportVolumeRequest], stream *connect.ServerStream[v1.ExportVolumeResponse]) error {
	begin := func(size int64) error {
		return stream.Send(&v1.ExportVolumeResponse{Part: &v1.ExportVolumeResponse_Size{Size: size}})
	}
	send := func(off int64, p []byte) error {
		return stream.Send(&v1.ExportVolumeResponse{Part: &v1.ExportVolumeResponse_Chunk{Chunk: &v1.Chunk{Offset: off, Data: p}}})
	}
	return s.n.Volumes().Export(ctx, r.Msg.GetVolume(), r.Msg.GetSnapshot(), begin, send)
}
