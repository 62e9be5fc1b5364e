package api

import (
	"context"
	"errors"

	"connectrpc.com/connect"

	v1 "sango/internal/api/gen/sango/v1"
	"sango/internal/meta"
	"sango/internal/san"
)

// peerService implements sango.v1.PeerService.
type peerService struct{ n Node }

// Describe implements sango.v1.PeerService.
func (s peerService) Describe(ctx context.Context, r *connect.Request[v1.DescribeRequest]) (*connect.Response[v1.DescribeResponse], error) {
	resp := &v1.DescribeResponse{}
	volumes, err := s.volumes(ctx, r.Msg.GetVolumes())
	if err != nil {
		return nil, err
	}
	for _, v := range volumes {
		u, err := s.n.Volumes().Usage(v)
		if err != nil {
			u.Problem = err.Error()
		}
		resp.Usage = append(resp.Usage, usageMessage(v.ID, u))
	}
	if r.Msg.GetSessions() {
		for _, sess := range s.n.Sessions() {
			resp.Sessions = append(resp.Sessions, sessionMessage(sess))
		}
	}
	if c := s.n.Cluster(); c != nil && r.Msg.GetTroubles() {
		for id, err := range c.Troubles() {
			resp.Troubles = append(resp.Troubles, &v1.VolumeTrouble{Id: id[:], Problem: err.Error()})
		}
	}
	return connect.NewResponse(resp), nil
}

// volumes returns the records of those that are still there.
func (s peerService) volumes(ctx context.Context, ids [][]byte) (found []*san.Volume, err error) {
	want := make(map[san.UUID]bool, len(ids))
	for _, b := range ids {
		if len(b) != len(san.UUID{}) {
			return nil, san.Errorf(san.ErrInvalid, "a volume's id has %d bytes, not %d", len(b), len(san.UUID{}))
		}
		want[san.UUID(b)] = true
	}
	err = s.n.Meta().Update(ctx, func(tx *meta.Tx) error {
		found = found[:0]
		if len(want) > oneByOne {
			all, err := tx.Volumes()
			for _, v := range all {
				if want[v.ID] {
					found = append(found, v)
				}
			}
			return err
		}
		for id := range want {
			v, err := tx.Volume(id)
			if err != nil && !errors.Is(err, san.ErrNotFound) {
				return err
			}
			if err == nil {
				found = append(found, v)
			}
		}
		return nil
	})
	return found, err
}

// Sync implements sango.v1.PeerService.
func (s peerService) Sync(ctx context.Context, r *connect.Request[v1.SyncRequest]) (*connect.Response[v1.SyncResponse], error) {
	if err := s.n.Sync(ctx, r.Msg.GetRevision()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&v1.SyncResponse{}), nil
}
