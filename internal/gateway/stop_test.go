package gateway

import (
	"context"
	"errors"
	"testing"
	"time"

	"sango/internal/api"
	v1 "sango/internal/api/gen/sango/v1"
	"sango/internal/san"
)

// A node that stops does not wait for the end of an import, and leaves nothing
// of it.
func TestStopCutsAnImportOff(t *testing.T) {
	dir := subdir(t, "d")
	n := start(t, dir)
	cl := api.NewClient(dir)
	defer cl.Close()
	stream := cl.ImportVolume(t.Context())
	spec := &v1.VolumeSpec{Name: "slow", Size: 1 << 20}
	if err := stream.Send(&v1.ImportVolumeRequest{Part: &v1.ImportVolumeRequest_Spec{Spec: spec}}); err != nil {
		t.Fatal(err)
	}
	chunk := &v1.Chunk{Data: []byte("the first piece and never another")}
	if err := stream.Send(&v1.ImportVolumeRequest{Part: &v1.ImportVolumeRequest_Chunk{Chunk: chunk}}); err != nil {
		t.Fatal(err)
	}
	for { // until it is under way
		ids, err := n.disks.store.List()
		if err != nil {
			t.Fatal(err)
		}
		if len(ids) > 0 {
			break
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := n.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
	if _, err := stream.CloseAndReceive(); !errors.Is(api.FromWire(err), san.ErrUnavailable) {
		t.Errorf("the import that was cut off: %v", err)
	}
	n = node(t, dir)
	if ids, err := n.disks.store.List(); err != nil || len(ids) > 0 {
		t.Errorf("left of the import: %v, %v", ids, err)
	}
}
