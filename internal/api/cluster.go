package api

import (
	"bufio"
	"context"
	"fmt"
	"net/http"

	"connectrpc.com/connect"

	v1 "sango/internal/api/gen/sango/v1"
	"sango/internal/api/gen/sango/v1/sangov1connect"
	"sango/internal/meta"
)

// clusterService implements sango.v1.ClusterService.
type clusterService struct{ store *meta.Store }

func (s clusterService) GetCluster(ctx context.Context, _ *connect.Request[v1.GetClusterRequest]) (*connect.Response[v1.GetClusterResponse], error) {
	members, err := s.store.Members(ctx)
	if err != nil {
		return nil, err
	}
	schema, newest, err := s.store.Schema(ctx)
	if err != nil {
		return nil, err
	}
	resp := &v1.GetClusterResponse{Form: s.store.Form(), Schema: int32(schema), NewestSchema: int32(newest)}
	if resp.Revision, err = s.store.Current(ctx); err != nil {
		return nil, err
	}
	if err := s.store.Update(ctx, func(tx *meta.Tx) error {
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
	members, err := s.store.AddMember(ctx, r.Msg.GetName(), r.Msg.GetPeer())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&v1.AddMemberResponse{Members: members}), nil
}

func (s clusterService) RemoveMember(ctx context.Context, r *connect.Request[v1.RemoveMemberRequest]) (*connect.Response[v1.RemoveMemberResponse], error) {
	return connect.NewResponse(&v1.RemoveMemberResponse{}), s.store.RemoveMember(ctx, r.Msg.GetName())
}

func (s clusterService) ReleaseGateway(ctx context.Context, r *connect.Request[v1.ReleaseGatewayRequest]) (*connect.Response[v1.ReleaseGatewayResponse], error) {
	err := s.store.Update(ctx, func(tx *meta.Tx) error { return tx.Release(r.Msg.GetName()) })
	return connect.NewResponse(&v1.ReleaseGatewayResponse{}), err
}

// Backup implements sango.v1.ClusterService.
func (s clusterService) Backup(ctx context.Context, _ *connect.Request[v1.BackupRequest], stream *connect.ServerStream[v1.BackupResponse]) error {
	w := bufio.NewWriterSize(sender{stream}, MaxChunk)
	if err := s.store.Backup(ctx, w); err != nil {
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

// NewWitnessServer returns a server for a node that keeps metadata and serves
// no volumes.
func NewWitnessServer(store *meta.Store) *Server {
	mux := http.NewServeMux()
	mux.Handle(sangov1connect.NewClusterServiceHandler(clusterService{store}, handlerOptions()))
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"code":"failed_precondition","message":"this node is a witness: it keeps metadata and serves no volumes; run the command on a gateway"}`)
	})
	return newServer(mux)
}
