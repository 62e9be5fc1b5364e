package api

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"time"

	"connectrpc.com/connect"

	v1 "sango/internal/api/gen/sango/v1"
	"sango/internal/api/gen/sango/v1/sangov1connect"
	"sango/internal/meta"
	"sango/internal/pause"
	"sango/internal/san"
)

// clusterService implements sango.v1.ClusterService.
type clusterService struct{ n Base }

func (s clusterService) GetCluster(ctx context.Context, _ *connect.Request[v1.GetClusterRequest]) (*connect.Response[v1.GetClusterResponse], error) {
	members, err := s.n.Meta().Members(ctx)
	if err != nil {
		return nil, err
	}
	schema, newest, err := s.n.Meta().Schema(ctx)
	if err != nil {
		return nil, err
	}
	resp := &v1.GetClusterResponse{Form: s.n.Meta().Form(), Schema: int32(schema), NewestSchema: int32(newest)}
	if resp.Revision, err = s.n.Meta().Current(ctx); err != nil {
		return nil, err
	}
	if err := s.n.Meta().Update(ctx, func(tx *meta.Tx) error {
		c, err := tx.Claimed()
		if c != nil {
			resp.Gateway = c.Gateway
		}
		return err
	}); err != nil {
		return nil, err
	}
	for _, m := range members {
		resp.Members = append(resp.Members, &v1.Member{
			Id: fmt.Sprintf("%x", m.ID), Name: m.Name, Peer: m.Peer, Client: m.Client, State: m.State, Self: m.Self,
		})
	}
	return connect.NewResponse(resp), nil
}

func (s clusterService) AddMember(ctx context.Context, r *connect.Request[v1.AddMemberRequest]) (*connect.Response[v1.AddMemberResponse], error) {
	members, err := s.n.Meta().AddMember(ctx, r.Msg.GetName(), r.Msg.GetPeer())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&v1.AddMemberResponse{Members: members}), nil
}

func (s clusterService) RemoveMember(ctx context.Context, r *connect.Request[v1.RemoveMemberRequest]) (*connect.Response[v1.RemoveMemberResponse], error) {
	return connect.NewResponse(&v1.RemoveMemberResponse{}), s.n.Meta().RemoveMember(ctx, r.Msg.GetName())
}

func (s clusterService) ReleaseGateway(ctx context.Context, r *connect.Request[v1.ReleaseGatewayRequest]) (*connect.Response[v1.ReleaseGatewayResponse], error) {
	err := s.n.Meta().Update(ctx, func(tx *meta.Tx) error { return tx.Release(r.Msg.GetName()) })
	return connect.NewResponse(&v1.ReleaseGatewayResponse{}), err
}

// Backup implements sango.v1.ClusterService.
func (s clusterService) Backup(ctx context.Context, _ *connect.Request[v1.BackupRequest], stream *connect.ServerStream[v1.BackupResponse]) error {
	w := bufio.NewWriterSize(sender{stream}, MaxChunk)
	if err := s.n.Meta().Backup(ctx, w); err != nil {
		return err
	}
	return w.Flush()
}

// sender is an io.Writer to a stream.
type sender struct {
	stream *connect.ServerStream[v1.BackupResponse]
}

func (s sender) Write(p []byte) (int, error) {
	for n := 0; n < len(p); n += MaxChunk {
		if err := s.stream.Send(&v1.BackupResponse{Data: p[n:min(n+MaxChunk, len(p))]}); err != nil {
			return n, err
		}
	}
	return len(p), nil
}

// moveTime bounds the wait for a volume to be moved.
const moveTime = 30 * time.Second

func (s clusterService) MoveVolume(ctx context.Context, r *connect.Request[v1.MoveVolumeRequest]) (*connect.Response[v1.MoveVolumeResponse], error) {
	c, err := together(s.n)
	if err != nil {
		return nil, err
	}
	if err := san.CheckName("gateway", r.Msg.GetGateway()); err != nil {
		return nil, err
	}
	v, err := s.movable(ctx, r.Msg.GetVolume(), r.Msg.GetGateway())
	if err != nil {
		return nil, err
	}
	moving, cancel := context.WithTimeout(ctx, moveTime)
	defer cancel()
	if err := c.Move(moving, v.ID, r.Msg.GetGateway()); err != nil {
		return nil, err
	}
	resp := &v1.MoveVolumeResponse{}
	err = s.n.Meta().Update(ctx, func(tx *meta.Tx) error {
		now, err := tx.Incarnations()
		if err != nil {
			return err
		}
		o, err := tx.Owner(v.ID)
		resp.Ownership = ownershipMessage(v.Name, o, now)
		return err
	})
	return connect.NewResponse(resp), err
}

// lostTime bounds the wait for a volume whose owner is dead while something may
// shut that out.
const lostTime = 5 * time.Second

// movable returns a volume that can be moved to a gateway, as far as can be told:
// that one takes part, and the volume is not that of a dead one which may write
// to it still.
func (s clusterService) movable(ctx context.Context, name, to string) (v *san.Volume, err error) {
	for end := time.Now().Add(lostTime); ; {
		var owner string
		sure := false // that nothing but a person ends it
		if err := s.n.Meta().Update(ctx, func(tx *meta.Tx) error {
			owner, sure = "", false
			if v, err = tx.VolumeNamed(name); err != nil {
				return err
			}
			now, err := tx.Incarnations()
			if err != nil {
				return err
			}
			if _, err := tx.Gateway(to); err == nil && now[to] == nil {
				return san.Errorf(san.ErrRefused, "gateway %s has no part in the cluster yet: try again when 'sango gateway list' says that it serves", to)
			}
			o, err := tx.Owner(v.ID)
			if err != nil || o.State != meta.OwnerActive || alive(now, o.Gateway, o.Incarnation) {
				return err
			}
			st, err := tx.State()
			if err != nil {
				return err
			}
			owner, sure = o.Gateway, fencingOf(v) == san.FenceNone && st.Harmless[o.Gateway] < o.Incarnation
			return nil
		}); err != nil || owner == "" {
			return v, err
		}
		if sure || time.Now().After(end) || !pause.For(ctx, ownerLook) {
			return nil, san.Errorf(san.ErrRefused, "volume %s can't be moved: its owner, gateway %s, is dead, and it is not certain that it can't write any more; 'sango status' tells why. If it is off, say so with 'sango gateway confirm-dead %s'", name, owner, owner)
		}
	}
}

// NewWitnessServer returns a server for a node that keeps metadata and serves
// no volumes.
func NewWitnessServer(n Base) *Server {
	opt := handlerOptions()
	mux := http.NewServeMux()
	mux.Handle(sangov1connect.NewClusterServiceHandler(clusterService{n}, opt))
	mux.Handle(sangov1connect.NewGatewayServiceHandler(gatewayService{n: n}, opt))
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"code":"failed_precondition","message":"this node is a witness: it keeps metadata and serves no volumes; run the command on a gateway"}`)
	})
	return newServer(mux)
}
