package multipath

import (
	"context"
	"errors"

	"sango/internal/block"
)

// Open finds the paths of the volume that cfg names and returns when one of
// them serves. ctx bounds that only.
func Open(ctx context.Context, cfg Config) (*Device, error) {
	return nil, errors.New("multipath: no path")
}

// Device is a volume over all of its paths. It implements block.Device.
type Device struct{}

var _ block.Device = (*Device)(nil)

// Info implements block.Device.
func (d *Device) Info() block.Info { return block.Info{} }

// Submit implements block.Device.
func (d *Device) Submit(r *block.Request) {}

// Status implements block.Device: GET LBA STATUS where the target has it, else
// everything counts as mapped.
func (d *Device) Status(off, n int64, limit int) ([]block.Extent, error) { return nil, nil }

// Close implements block.Device: it waits for the requests in flight, flushes,
// and logs all paths out.
func (d *Device) Close() error { return nil }

// Abandon drops everything at once without a flush: requests in flight end
// with block.Closed and the connections are reset.
func (d *Device) Abandon() {}

// View returns a snapshot.
func (d *Device) View() View { return View{} }

// Watch returns a channel that gets a token when View has changed; tokens
// don't add up. All callers share the one channel.
func (d *Device) Watch() <-chan struct{} { return nil }

// Optimize asks the target, by SET TARGET PORT GROUPS, to make the port group
// active/optimized.
func (d *Device) Optimize(ctx context.Context, group uint16) error { return nil }

// Identity returns what names the volume.
func (d *Device) Identity() Identity { return Identity{} }

// Limits returns the limits of one command.
func (d *Device) Limits() Limits { return Limits{} }
