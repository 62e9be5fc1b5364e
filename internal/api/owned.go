package api

import (
	"context"
	"net/http"
	"time"

	"connectrpc.com/connect"

	v1 "sango/internal/api/gen/sango/v1"
	"sango/internal/api/gen/sango/v1/sangov1connect"
	"sango/internal/meta"
	"sango/internal/pause"
	"sango/internal/san"
)

// ownedService is volumeService where several gateways may serve together: a
// call that needs the bytes of a volume runs at the gateway that owns it.
type ownedService struct{ volumeService }

// client is the way to another gateway.
type client = sangov1connect.VolumeServiceClient

// place is where a call about a volume is to be answered: by another gateway, or
// by this one (here).
type place struct {
	Member
	here   bool
	volume san.UUID
}

// where returns the place of a volume. It waits where there is none at this
// moment, until p.wait has passed since began.
func (p *peers) where(ctx context.Context, volume string, h http.Header, began time.Time) (at place, err error) {
	c := p.n.Cluster()
	if c == nil {
		return place{here: true}, nil
	}
	if err := p.n.Meta().Update(ctx, func(tx *meta.Tx) error {
		v, err := tx.VolumeNamed(volume)
		if err == nil {
			at.volume = v.ID
		}
		return err
	}); err != nil {
		return at, err
	}
	waiting, cancel := context.WithDeadline(ctx, began.Add(p.wait))
	defer cancel()
	for look := ownerLook; ; look = min(2*look, p.wait/8) {
		at.Member, err = c.Owner(waiting, at.volume)
		switch {
		case err != nil && waiting.Err() == nil:
			return at, err
		case err != nil:
		case at.Gateway == "":
			if p.unopened && p.failed(waiting, at.volume) {
				at.here = true
				return at, nil
			}
		case c.Here(at.Gateway):
			at.here = true
			return at, nil
		case h.Get(passedOn) != "":
			return at, Moved(volume)
		default:
			return at, nil
		}
		if !pause.For(waiting, look) {
			return at, san.Errorf(san.ErrUnavailable, "no gateway has volume %s at the moment; 'sango status' tells why; try again", volume)
		}
	}
}

// failed reports whether nobody has a volume, since it could not be opened.
func (p *peers) failed(ctx context.Context, v san.UUID) (yes bool) {
	err := p.n.Meta().Update(ctx, func(tx *meta.Tx) error {
		o, err := tx.Owner(v)
		yes = err == nil && o.State == meta.OwnerNone && o.Failed != ""
		return err
	})
	return yes && err == nil
}

// run has f run at the place of a volume, and once more where that turns out to
// be another.
func (p *peers) run(ctx context.Context, volume string, h http.Header, f func(at place) error) error {
	began := time.Now()
	for look := ownerLook; ; look = min(2*look, p.wait/8) {
		at, err := p.where(ctx, volume, h, began)
		if err != nil {
			return err
		}
		if err = f(at); !moved(err) || h.Get(passedOn) != "" || time.Since(began) > p.wait || !pause.For(ctx, look) {
			return err
		}
	}
}

// atOwner answers a call here, or has the owner of the volume answer it.
func atOwner[Q, A any](ctx context.Context, s ownedService, volume string, r *connect.Request[Q],
	here func(volumeService, context.Context, *connect.Request[Q]) (*connect.Response[A], error),
	there func(client, context.Context, *connect.Request[Q]) (*connect.Response[A], error),
) (answer *connect.Response[A], err error) {
	err = s.peers.run(ctx, volume, r.Header(), func(at place) (err error) {
		if at.here {
			answer, err = here(s.volumeService, ctx, r)
			return err
		}
		ctx, done := s.peers.during(ctx, at.Member)
		defer done()
		a, err := there(s.peers.volumes(at.Gateway), ctx, connect.NewRequest(r.Msg))
		if err != nil {
			return failure(ctx, at.Member, err)
		}
		answer = connect.NewResponse(a.Msg)
		return nil
	})
	return answer, err
}

// streamAtOwner is atOwner for a call that is answered by a stream.
func streamAtOwner[Q, A any](ctx context.Context, s ownedService, volume string, r *connect.Request[Q], to *connect.ServerStream[A],
	here func(volumeService, context.Context, *connect.Request[Q], *connect.ServerStream[A]) error,
	there func(client, context.Context, *connect.Request[Q]) (*connect.ServerStreamForClient[A], error),
) error {
	return s.peers.run(ctx, volume, r.Header(), func(at place) error {
		if at.here {
			return here(s.volumeService, ctx, r, to)
		}
		ctx, done := s.peers.during(ctx, at.Member)
		defer done()
		from, err := there(s.peers.volumes(at.Gateway), ctx, connect.NewRequest(r.Msg))
		if err != nil {
			return failure(ctx, at.Member, err)
		}
		defer from.Close()
		for from.Receive() {
			if err := to.Send(from.Msg()); err != nil {
				return err
			}
		}
		return failure(ctx, at.Member, from.Err())
	})
}

func (s ownedService) ResizeVolume(ctx context.Context, r *connect.Request[v1.ResizeVolumeRequest]) (*connect.Response[v1.ResizeVolumeResponse], error) {
	return atOwner(ctx, s, r.Msg.GetName(), r, volumeService.ResizeVolume, client.ResizeVolume)
}

// DeleteVolume deletes what no gateway can open, too: its bytes may be lost.
func (s ownedService) DeleteVolume(ctx context.Context, r *connect.Request[v1.DeleteVolumeRequest]) (*connect.Response[v1.DeleteVolumeResponse], error) {
	p := *s.peers
	p.unopened = true
	s.peers = &p
	return atOwner(ctx, s, r.Msg.GetName(), r, volumeService.DeleteVolume, client.DeleteVolume)
}

func (s ownedService) CreateSnapshot(ctx context.Context, r *connect.Request[v1.CreateSnapshotRequest]) (*connect.Response[v1.CreateSnapshotResponse], error) {
	return atOwner(ctx, s, r.Msg.GetVolume(), r, volumeService.CreateSnapshot, client.CreateSnapshot)
}

func (s ownedService) DeleteSnapshot(ctx context.Context, r *connect.Request[v1.DeleteSnapshotRequest], to *connect.ServerStream[v1.DeleteSnapshotResponse]) error {
	return streamAtOwner(ctx, s, r.Msg.GetVolume(), r, to, volumeService.DeleteSnapshot, client.DeleteSnapshot)
}

func (s ownedService) CloneVolume(ctx context.Context, r *connect.Request[v1.CloneVolumeRequest]) (*connect.Response[v1.CloneVolumeResponse], error) {
	return atOwner(ctx, s, r.Msg.GetVolume(), r, volumeService.CloneVolume, client.CloneVolume)
}

func (s ownedService) RollbackVolume(ctx context.Context, r *connect.Request[v1.RollbackVolumeRequest]) (*connect.Response[v1.RollbackVolumeResponse], error) {
	return atOwner(ctx, s, r.Msg.GetVolume(), r, volumeService.RollbackVolume, client.RollbackVolume)
}

func (s ownedService) ExportVolume(ctx context.Context, r *connect.Request[v1.ExportVolumeRequest], to *connect.ServerStream[v1.ExportVolumeResponse]) error {
	return streamAtOwner(ctx, s, r.Msg.GetVolume(), r, to, volumeService.ExportVolume, client.ExportVolume)
}
