package api

import (
	"context"
	"errors"
	"time"

	v1 "sango/internal/api/gen/sango/v1"
	"sango/internal/meta"
	"sango/internal/san"
)

// askTime bounds the wait for the metadata where the node can tell what it knew
// last in its place.
const askTime = 4 * time.Second

// orRemember calls ask, which asks the metadata; where that does not answer, and
// the node is of a cluster, it calls recall with what the node was told last, and
// returns why.
func (s gatewayService) orRemember(ctx context.Context, ask func(context.Context) error, recall func(*meta.Snapshot, *meta.State)) (old string, err error) {
	c := s.n.Cluster()
	if c == nil {
		return "", ask(ctx)
	}
	asking, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	if err = ask(asking); !errors.Is(err, san.ErrUnavailable) || ctx.Err() != nil {
		return "", err
	}
	snap, now := c.Remembered(ctx)
	if snap == nil {
		return "", err
	}
	recall(snap, now)
	return err.Error(), nil
}

// rememberNode is describeNode from memory.
func rememberNode(snap *meta.Snapshot, st Status, jobs map[san.UUID]Job, resp *v1.GetStatusResponse) {
	resp.Volumes, resp.Targets, resp.Hosts = int32(len(snap.Volumes)), int32(len(snap.Targets)), int32(len(snap.Hosts))
	resp.Luns, resp.Jobs = 0, nil
	for _, t := range snap.Targets {
		resp.Luns += int32(len(t.LUNs))
	}
	if g := snap.Gateways[st.Gateway]; g != nil {
		resp.Gateway = gatewayMessage(g, st)
	}
	for id, j := range jobs {
		if v := snap.Volumes[id]; v != nil {
			resp.Jobs = append(resp.Jobs, &v1.VolumeJob{Volume: v.Name, Job: jobMessage(j)})
		}
	}
}
